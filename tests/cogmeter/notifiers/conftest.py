"""A local receiver of webhooks whose responses follow a script, and host names that a test resolves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import traceback
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from cogmeter.notifiers.base import Notice
from cogmeter_storage import open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState

SECRET = "T0ken-s3cret"


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Responds with the script's next step: a status, a status with headers, or a handler; then with 200."""

    def __init__(self) -> None:
        self.script: deque[Any] = deque()
        self.seen: list[Seen] = []
        self.over = asyncio.Event()  # handlers that hang wait for it
        self.port = 0

    def url(self, path: str = f"/alerts/{SECRET}", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request.method, request.path_qs, request.headers, await request.read()))
        step = self.script.popleft() if self.script else 200
        if callable(step):
            return await step(request)
        status, headers = step if isinstance(step, tuple) else (step, {})
        return web.Response(status=status, headers=headers)

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


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
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


class Names(AbstractResolver):
    """Resolves by a table."""

    def __init__(self, **table: str) -> None:
        self.table = {name.replace("_", "."): addresses.split() for name, addresses in table.items()}
        self.names: list[str] = []

    async def resolve(self, host, port=0, family=0):
        self.names.append(host)
        if host not in self.table:
            raise OSError(f"no such name: {host}")
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0}
            for one in self.table[host]
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def names():
    return Names


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


@pytest.fixture
def make_notice():
    """``make_notice(kind, ...)``: the guide's example, one field or another changed."""

    def make(kind="fired", *, test=False, members=(), receipt=None, uncertain=False, note="", actor="", **changes):
        fields = {
            "uid": "5f0c",
            "rule": "error_rate",
            "service": "knowledge-graph",
            "operation": "",
            "state": AlertState.FIRING,
            "severity": "warning",
            "message": "Error rate of 7.8% exceeds threshold of 5%",
            "threshold": 0.05,
            "current": 0.078,
            "worst": 0.078,
            "started_us": 1_755_426_600_000_000,
            "seen_us": 1_755_426_600_000_000,
            "changed_us": 1_755_426_600_000_000,
            "id": 12,
        }
        alert = Alert(**{**fields, **changes})
        change = AlertChange(
            alert=alert.uid,
            kind=kind,
            state=alert.state,
            severity=alert.severity,
            message=alert.message,
            current=alert.current,
            threshold=alert.threshold,
            at_us=alert.changed_us,
            actor=actor,
            note=note,
            id=7,
        )
        return Notice(change, alert, tuple(members), receipt=receipt, uncertain=uncertain, test=test)

    return make


@pytest.fixture
def secret_free(caplog):
    """Search for the secret in the log, and in errors with their contexts and attributes."""
    caplog.set_level(logging.DEBUG)

    def check(*errors: BaseException, texts=()):
        logged = [caplog.text, *texts]
        logged += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
        for error in errors:
            logged += traceback.format_exception(error)
            here: BaseException | None = error
            while here is not None:  # a suppressed context is not printed, but kept
                logged += [repr(here), str(here), repr(getattr(here, "__dict__", ""))]
                here = here.__cause__ or here.__context__
        assert not [text for text in logged if SECRET in text or "hmac-key" in text]

    return check


@pytest.fixture
def unused_port():
    """A port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
