"""A local HTTP server that keeps what it receives, and whose responses follow a script."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

SECRET = "T0ken-s3cret"


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: Any
    body: bytes
    accepted: bool = True  # read and counted, also if the response was lost

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Responds with the script's next step: a status, a status with headers, or a handler; then with 200."""

    def __init__(self) -> None:
        self.script: deque[Any] = deque()
        self.bodies: deque[bytes] = deque()  # of the next responses with a status
        self.most_bytes = 10**9  # a larger body is answered with 413
        self.seen: list[Seen] = []
        self.over = asyncio.Event()  # handlers that hang wait for it
        self.port = 0

    def url(self, path: str = f"/alerts/{SECRET}", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        step = self.script.popleft() if self.script and len(body) <= self.most_bytes else 200
        step = step if len(body) <= self.most_bytes else 413
        refused = (step[0] if isinstance(step, tuple) else step) not in {200, 202} and not callable(step)
        self.seen.append(Seen(request.method, request.path_qs, request.headers, body, not refused))
        if callable(step):
            return await step(request)
        status, headers = step if isinstance(step, tuple) else (step, {})
        return web.Response(status=status, headers=headers, body=self.bodies.popleft() if self.bodies else None)

    async def hang(self, request: web.Request) -> web.StreamResponse:
        """Send no response."""
        await self.over.wait()
        return web.Response()

    async def drip(self, request: web.Request) -> web.StreamResponse:
        """Send status 200 and a body that never ends."""
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not self.over.is_set():
                await response.write(b".")
                await asyncio.sleep(0.01)
        return response

    async def flood(self, request: web.Request) -> web.StreamResponse:
        """Send status 200 and a huge body."""
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not self.over.is_set():
                await response.write(b"x" * 65_536)
        return response

    async def hang_up(self, request: web.Request) -> web.StreamResponse:
        """Read the request and close the connection without a response."""
        request.transport.abort()
        return web.Response()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    yield receiver
    receiver.over.set()
    await runner.cleanup()
