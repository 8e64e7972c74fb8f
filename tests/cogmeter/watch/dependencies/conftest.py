"""A loopback server in the place of another service, and the surface that watches requests to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import discord
import pytest
from aiohttp import web
from discord.ext import commands

from cogmeter.watch.dependencies import host_request
from cogmeter.watch.dependencies.http import HttpClients


class Service:
    """A service on 127.0.0.1: ``/status/500``, ``/slow`` (headers after 50 ms), ``/stream`` (three events), ..."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.released = asyncio.Event()  # ends the answers of ``/hang`` and ``/endless``

    def application(self) -> web.Application:
        application = web.Application()
        routes = {
            "/status/{status}": self._status,
            "/slow": self._slow,
            "/stream": self._stream,
            "/endless": self._endless,
            "/broken": self._broken,
            "/hang": self._hang,
            "/redirect": self._redirect,
            "/circle": self._circle,
            "/socket": self._socket,
        }
        application.add_routes([web.route("*", path, handler) for path, handler in routes.items()])
        return application

    async def _status(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        return web.Response(status=int(request.match_info["status"]), text="x" * 100)

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(text="late")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(f"data: {number}\n\n".encode())
            await asyncio.sleep(0.03)
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 0\n\n")
        await self.released.wait()
        return response

    async def _broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def _hang(self, request: web.Request) -> web.Response:
        await self.released.wait()
        return web.Response()

    async def _redirect(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/status/200")

    async def _circle(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/circle")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(message.data)
        return response


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    served = Service()
    runner = web.AppRunner(served.application(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        served.released.set()
        await runner.cleanup()


@pytest.fixture
def nobody() -> str:
    """An address that refuses connections."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.fixture
def bot() -> commands.Bot:
    return commands.Bot("!", intents=discord.Intents.none())


@pytest.fixture
async def surface(watching: Callable[..., Any], bot: commands.Bot) -> AsyncIterator[HttpClients]:
    async with watching(bot, HttpClients) as one:
        yield one


@pytest.fixture
def until(recorded: Callable[..., Any]) -> Callable[..., Any]:
    """``await until(count)``: the recorded operations, once there are this many."""

    async def wait(count: int = 1) -> list[Any]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while len(recorded()) < count:
                    await asyncio.sleep(0.005)
        return recorded()

    return wait


@pytest.fixture(autouse=True)
def no_request_in_progress() -> None:
    assert host_request.current() is None
