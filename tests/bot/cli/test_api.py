"""The same commands ask the API of a bot elsewhere: a monitor that is served on a socket of this machine."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import discord
import pytest
from aiohttp import web
from discord.ext import commands

from cogmeter.recorder import Recorder
from cogmeter.runtime import Monitor
from cogmeter.settings import Settings
from cogmeter.web.servers import Servers

TOKEN = "a-token-of-more-than-32-characters-for-tests"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def asked(cogmeter, seed, some):
    """``asked(*commands)`` serves a monitor on the database, and runs each command with its address."""
    path = seed(some, "bot/performance.db")

    @asynccontextmanager
    async def served():
        port = free_port()
        settings = Settings(http_port=port, http_token=TOKEN, database_url=f"sqlite:///{path}")
        bot = commands.Bot("!", intents=discord.Intents.default())
        monitor = Monitor(bot, settings, recorder=Recorder())
        await monitor.start()
        servers = Servers(monitor, {})
        await servers.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await servers.stop()
            await monitor.stop()
            await bot.close()

    async def ask(*wanted, token=TOKEN):
        async with served() as url:
            more = {"COGMETER_TOKEN": token} if token else {}
            return [await asyncio.to_thread(cogmeter, *one, "--url", url, **more) for one in wanted]

    return ask, path


READING = [
    ("summary",),
    ("stats", "knowledge-graph"),
    ("stats", "=cmd|'/c calc'!A0", "--operation", '[bold]"a", b\u2603'),
    ("alerts", "--history"),
    ("errors",),
    ("errors", "--services", "=cmd|'/c calc'!A0"),
    ("slow", "--limit", "3"),
]


async def test_each_command_says_the_same_of_a_database_and_of_its_bot(asked, cogmeter):
    ask, path = asked
    fixed = ("--since", "3h", "--until", "1m")
    there = await ask(*((*one, *fixed) for one in READING))
    for one, (code, out, err) in zip(READING, there, strict=True):
        assert (code, err) == (0, ""), one
        assert out == (await asyncio.to_thread(cogmeter, *one, *fixed, "--database", path))[1], one


async def test_json_export_live_and_doctor_come_from_there_too(asked, cogmeter, tmp_path):
    ask, path = asked
    answers = await ask(
        ("summary", "--json"),
        ("export", "-o", "there.ndjson"),
        ("export", "-o", "there.csv", "--services", "knowledge-graph"),
        ("live", "--count", "1"),
        ("doctor",),
    )
    assert [one[0] for one in answers] == [0] * 5, answers
    assert json.loads(answers[0][1])["overallStats"]["totalOperations"] == 200
    await asyncio.to_thread(cogmeter, "export", "-o", "here.ndjson", "--database", path)
    there, here = ((tmp_path / f"{name}.ndjson").read_text().splitlines() for name in ("there", "here"))
    assert there[:200] == here[:200]  # the bot has recorded something of its own meanwhile
    assert len((tmp_path / "there.csv").read_text().splitlines()) == 101
    assert answers[3][1].startswith("Live (http://127.0.0.1:")
    assert "] gateway: " in answers[4][1]
    assert "] monitor: buffer: " in answers[4][1]
    assert "] service knowledge-graph: " in answers[4][1]


@pytest.mark.parametrize(
    ("token", "said"),
    [("x" * 40, "refuses the token; set COGMETER_TOKEN"), (None, "wants a token; set COGMETER_TOKEN")],
)
async def test_a_wrong_token_is_said_in_one_line(asked, token, said):
    ask, _ = asked
    ((code, out, err),) = await ask(("summary",), token=token)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not token or token not in err


async def test_an_unknown_service_there_is_wrong_usage_here(asked):
    ask, _ = asked
    for code, _, err in await ask(("stats", "knowledge-grpah"), ("export", "-o", "-", "--services", "nobody")):
        assert (code, err.count("\n")) == (2, 1)
        assert "has been recorded" in err


async def test_an_answer_that_breaks_off_leaves_no_file(cogmeter, tmp_path):
    async def broken(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"operationId":')
        request.transport.abort()
        return response

    async def strange(_request):
        return web.json_response({"hello": "world"})

    app = web.Application()
    app.router.add_get("/api/performance/export", broken)
    app.router.add_get("/api/performance/dashboard", strange)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", free_port())
        await site.start()
        answers = [
            await asyncio.to_thread(cogmeter, *one, "--url", site.name)
            for one in (("export", "-o", "x.json"), ("summary",), ("alerts",))
        ]
    finally:
        await runner.cleanup()
    for (code, out, err), said in zip(
        answers, ("does not answer", "does not answer as cogmeter does", "serves no cogmeter there"), strict=True
    ):
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert said in err
    assert list(tmp_path.iterdir()) == []
