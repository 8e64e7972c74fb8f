"""A monitor served on real sockets of this machine.

``served`` is a fixture that opens one; everything else follows from what it gives::

    async def test_it(served):
        async with served() as web:                        # settings by field name: served(http_token=TOKEN)
            web.monitor.recorder.record("a", "b", duration_ms=12)
            await web.flushed()                            # what was recorded is stored
            answer = await web.get("/health")              # an Answered: status, headers, text, json(), problem
            answer = await web.send("PUT", "/api/performance/thresholds", json={...})   # with origin and CSRF token

It serves API and dashboard on one port. The bot is not logged in. ``seeded`` is the same with operations of the last
hours in the store (see ``seed``). ``serving`` opens the monitor alone, without starting its servers.
"""

import json as json_
import re
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord
import pytest
from discord.ext import commands
from fleet_store import FOUR, fill_fleet
from multidict import CIMultiDictProxy

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings, env_name
from cogmeter.web.api.problems import MEDIA_TYPE
from cogmeter.web.server.servers import Servers
from cogmeter_storage.model import Outcome, Row

TOKEN = "a-token-of-more-than-32-characters-for-tests"
MINUTE_US = 60_000_000


@dataclass(frozen=True)
class Answered:
    """An answer that was read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        assert self.headers["Content-Type"].startswith("application/json"), self.headers["Content-Type"]
        return json_.loads(self.body)

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document that this is."""
        assert self.headers["Content-Type"].startswith(MEDIA_TYPE), self.text
        document = json_.loads(self.body)
        assert document["status"] == self.status
        return document


@dataclass
class Web:
    """A served monitor, and a client of it."""

    monitor: Monitor
    servers: Servers
    url: str  # "http://127.0.0.1:12345"
    session: aiohttp.ClientSession
    token: str | None = None

    async def get(self, path: str, **options) -> Answered:
        """With the token, where one is set; ``headers=`` are added, ``bare=True`` leaves the token out."""
        return await self.request("GET", path, **options)

    async def send(self, method: str, path: str, *, csrf: str | None = None, **options) -> Answered:
        """A change as our own page would send it: same origin, CSRF token, no bearer token unless there is a token."""
        headers = dict(options.pop("headers", {}))
        if self.token is None:
            headers.setdefault("Origin", self.url)
            headers.setdefault("X-CSRF-Token", self.csrf if csrf is None else csrf)
        return await self.request(method, path, headers=headers, **options)

    async def request(self, method: str, path: str, *, bare: bool = False, headers=None, **options) -> Answered:
        sent = dict(headers or {})
        if self.token is not None and not bare:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, self.url + path, headers=sent, **options) as answer:
            return Answered(answer.status, answer.headers, await answer.read())

    @property
    def csrf(self) -> str:
        """The CSRF token of pages that are served without a session."""
        return self.servers._shared.guard._sign("csrf", "")

    async def flushed(self) -> None:
        """Wait until everything that was recorded is stored."""
        await self.monitor.flusher.stop()
        self.monitor.flusher._stopping = False
        self.monitor.flusher.start()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch, tmp_path):
    for name in [*(env_name(one) for one in Settings.model_fields), "PORT", "SERVER_PORT"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serving():
    """Opens a monitor with these settings, and its servers; not started: ``await web.servers.start()``."""

    @asynccontextmanager
    async def opened(environ=None, **settings):
        settings = {"watch_stalls": False} | settings  # a busy machine is no operation of the tests
        bot = commands.Bot("!", intents=discord.Intents.default())
        monitor = Monitor(bot, Settings(**settings), recorder=Recorder())
        await monitor.start()
        servers = Servers(monitor, environ or {})
        token = settings.get("http_token")
        # A jar of its own that keeps cookies of addresses by number, as browsers do.
        jar = aiohttp.CookieJar(unsafe=True)
        try:
            async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=30)) as session:
                port = settings.get("http_port") or settings.get("dashboard_port")
                yield Web(monitor, servers, f"http://127.0.0.1:{port}", session, token)
        finally:
            await servers.stop()
            await monitor.stop()
            await bot.close()

    return opened


@pytest.fixture
def served(serving):
    """Opens a monitor that is served, API and dashboard on one port."""

    @asynccontextmanager
    async def opened(**settings):
        port = free_port()
        settings = {"http_port": port, "dashboard_port": port, "analytics_dashboard": True} | settings
        async with serving(**settings) as web:
            await web.servers.start()
            yield web

    return opened


@pytest.fixture
def fleet_served(served, postgres_url):
    """As ``served``, for a process named ``self`` on a PostgreSQL database that more processes have written."""

    @asynccontextmanager
    async def opened(members=FOUR, **settings):
        await fill_fleet(postgres_url, members)
        async with served(database_url=postgres_url, process_name="self", **settings) as web:
            yield web

    return opened


@pytest.fixture
def seeded(served):
    """As ``served``, with the operations of ``seed`` in the store."""

    @asynccontextmanager
    async def opened(**settings):
        async with served(**settings) as web:
            await seed(web.monitor.store)
            yield web

    return opened


async def seed(store, *, now_us: int | None = None, minutes: int = 180) -> None:
    """One operation a minute of each of five series, the last one a minute ago; in order of time.

    ``sentiment-analysis / analyze`` takes 145 ms and always succeeds; ``context-memory / retrieve`` takes 234 ms and
    fails every tenth time with "timeout"; ``knowledge-graph / query`` takes 100 to 2000 ms; the two services named
    ``<script>alert(1)</script>`` and ``a "b" & 'c'`` take 10 ms.
    """
    now_us = time.time_ns() // 1_000 if now_us is None else now_us
    names = [
        ("sentiment-analysis", "analyze"),
        ("context-memory", "retrieve"),
        ("knowledge-graph", "query"),
        ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
        ("a \"b\" & 'c'", "=1+1"),
    ]
    first, second, third, *hostile = await store.series_ids(names)
    rows: list[Row] = []
    for minute in range(minutes, 0, -1):
        end_us = now_us - minute * MINUTE_US
        failed = minute % 10 == 0
        rows += [
            (first, end_us, 145_000, Outcome.OK, None, None),
            (second, end_us, 234_000, Outcome.ERROR if failed else Outcome.OK, "timeout" if failed else None, None),
            (third, end_us, 100_000 * (minute % 20 + 1), Outcome.OK, None, '{"model":"gpt-4o","cost_usd":0.01}'),
            *((one, end_us, 10_000, Outcome.OK, None, None) for one in hostile),
        ]
    await store.append([rows[at : at + 200] for at in range(0, len(rows), 200)], now_us=now_us)


def texts_of(page: str) -> str:
    """What a page says, without its tags."""
    return re.sub(r"<[^>]*>", " ", page)
