"""The same commands ask the API of a bot elsewhere: a monitor that is served on a socket of this machine."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import discord
import pytest
from aiohttp import web
from discord.ext import commands

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.web.server.servers import Servers

pytestmark = pytest.mark.slow

TOKEN = "a-token-of-more-than-32-characters-for-tests"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def asked(cogmeter, seed, some):
    """``asked(*commands)`` serves a monitor on the database, and runs each command with its address."""
    command = ("discord.commands", "config set", some[-1][2] + 5, 1_000, 0, None, None)
    path = seed([*some, command], "bot/performance.db")

    @asynccontextmanager
    async def served():
        port = free_port()
        settings = Settings(http_port=port, http_token=TOKEN, database_url=f"sqlite:///{path}")
        bot = commands.Bot("!", intents=discord.Intents.default())
        monitor = Monitor(bot, settings, recorder=Recorder())
        await monitor.start()
        servers = Servers(monitor, {})
        await servers.start()
        waiting = asyncio.create_task(_wait(monitor.recorder))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await servers.stop()
            await monitor.stop()
            waiting.cancel()
            await bot.close()

    async def ask(*wanted, token=TOKEN):
        async with served() as url:
            more = {"COGMETER_TOKEN": token} if token else {}
            return [await asyncio.to_thread(cogmeter, *one, "--url", url, **more) for one in wanted]

    return ask, path


async def _wait(recorder):
    with recorder.operation("llm", "chat"):
        await asyncio.sleep(600)


async def test_what_runs_now_is_known_by_the_bot_alone(asked, cogmeter):
    ask, path = asked
    plain, as_json, check = await ask(("running",), ("running", "--json"), ("running", "--check"))
    assert (plain[0], plain[2]) == (0, "")
    assert plain[1].startswith("Running Now\n=====")
    assert "llm / chat" in plain[1]
    assert "in _wait, waiting in asyncio/tasks.py:" in plain[1]
    (operation,) = json.loads(as_json[1])["operations"]
    assert (operation["service"], json.loads(as_json[1])["total"]) == ("llm", 1)
    assert check[0] == 0  # it has not run for a minute
    code, out, err = await asyncio.to_thread(cogmeter, "running", "--database", path)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "only the running bot knows. Read its API: --url" in err


READING = [
    ("summary",),
    ("stats", "knowledge-graph"),
    ("stats", "=cmd|'/c calc'!A0", "--operation", '[bold]"a", b\u2603'),
    ("alerts", "--history"),
    ("errors",),
    ("errors", "--services", "=cmd|'/c calc'!A0"),
    ("slow", "--limit", "3"),
    ("usage",),
]


async def test_each_command_says_the_same_of_a_database_and_of_its_bot(asked, cogmeter):
    ask, path = asked
    spans = {"usage": hours_of_the_past()}
    fixed = span_of_the_past()
    asked_for = [(*one, *spans.get(one[0], fixed), *form) for one in READING for form in ((), ("--json",))]
    there = await ask(*asked_for)
    for one, (code, out, err) in zip(asked_for, there, strict=True):
        assert (code, err) == (0, ""), one
        here = (await asyncio.to_thread(cogmeter, *one, "--database", path))[1]
        assert timeless(out) == timeless(here), one


async def test_a_comparison_is_the_same_of_a_database_and_of_its_bot(asked, cogmeter):
    ask, path = asked
    _, since, _, until = span_of_the_past()
    command = ("compare", "--before", "2001-01-01", "--after", f"{since}..{until}", "--json")
    ((code, out, err),) = await ask(command)
    assert (code, err, json.loads(out)["verdict"]) == (0, "", "too_few")
    assert json.loads(out)["after"]["operations"] + json.loads(out)["after"]["leftOut"] > 0
    assert out == (await asyncio.to_thread(cogmeter, *command, "--database", path))[1]


async def test_each_format_of_export_is_the_same_of_a_database_and_of_its_bot(asked, cogmeter):
    ask, path = asked
    commands = [
        ("export", "-o", "-", "--format", kind, *span_of_the_past()) for kind in ("json", "ndjson", "csv", "prometheus")
    ]
    there = await ask(*commands)
    for one, (code, out, err) in zip(commands, there, strict=True):
        assert (code, err) == (0, ""), one
        assert len(out.splitlines()) > 10
        assert timeless(out) == timeless((await asyncio.to_thread(cogmeter, *one, "--database", path))[1]), one


async def test_a_command_is_named_alike_for_a_database_and_its_bot(asked, cogmeter):
    ask, path = asked
    for name in ("/config set", "config set"):
        command = ("stats", name, *span_of_the_past())
        ((code, out, err),) = await ask(command)
        assert (code, err, out.splitlines()[0]) == (0, "", "/config set Statistics")
        assert out == (await asyncio.to_thread(cogmeter, *command, "--database", path))[1]
    ((code, _, err),) = await ask(("stats", "/config sat"))
    assert code == 2
    assert "Did you mean /config set?" in err


def span_of_the_past():
    """Three hours up to a minute ago, to the second, so that a later question is about the same."""
    now = datetime.now(UTC)
    ends = [(now - timedelta(**one)).isoformat(timespec="seconds") for one in ({"hours": 3}, {"minutes": 1})]
    return ("--since", ends[0], "--until", ends[1])


def hours_of_the_past():
    """Three whole hours, for what is counted by the hour: the present one is counted up to the question."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return ("--since", (hour - timedelta(hours=3)).isoformat(), "--until", hour.isoformat())


def timeless(text):
    """Without what changes while a bot runs: when it was asked, and what the bot records of itself."""
    of_now = re.compile(r'"healthNow": ?\{[^}]*\}|^Now: .*\n', re.MULTILINE)
    text = of_now.sub("", text)
    return re.sub(r'"(exportTime|lastOperationAt)": ?"[^"]*"', "", text)


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
    assert json.loads(answers[0][1])["overallStats"]["totalOperations"] == 201
    await asyncio.to_thread(cogmeter, "export", "-o", "here.ndjson", "--database", path)
    there, here = ((tmp_path / f"{name}.ndjson").read_text().splitlines() for name in ("there", "here"))
    assert there[:200] == here[:200]  # the bot has recorded something of its own meanwhile
    assert len((tmp_path / "there.csv").read_text().splitlines()) == 101
    assert answers[3][1].startswith("Live (http://127.0.0.1:")
    assert "] gateway: " in answers[4][1]
    assert "] monitor: buffer: " in answers[4][1]
    assert "] monitor: database: " not in answers[4][1]  # it stands there as "database" already
    assert "] service knowledge-graph: " in answers[4][1]


@pytest.mark.parametrize(
    ("token", "said"),
    [("x" * 40, "rejects the token. Set COGMETER_TOKEN"), (None, "requires a token. Set COGMETER_TOKEN")],
)
async def test_a_wrong_token_is_reported_in_one_line(asked, token, said):
    ask, _ = asked
    ((code, out, err),) = await ask(("summary",), token=token)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not token or token not in err


async def test_an_unknown_service_there_is_wrong_usage_here(asked):
    ask, _ = asked
    named = ("--services", "nobody")
    for code, _, err in await ask(
        ("stats", "knowledge-grpah"), ("export", "-o", "-", *named), ("alerts", *named), ("doctor", *named)
    ):
        assert (code, err.count("\n")) == (2, 1)
        assert "has been recorded" in err


async def test_an_answer_that_breaks_off_leaves_no_file(cogmeter, tmp_path):
    async def broken(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"operationId":')
        request.transport.abort()
        return response

    async def strange(_request):
        return web.json_response({"hello": "world"})

    async def portal(_request):
        return web.Response(text="<html>Welcome to the hotel</html>", content_type="text/html")

    async def refusing(_request):
        return web.json_response({"detail": "no\r\n\x1b[31mway"}, status=403)

    async def broken_down(_request):
        return web.Response(status=502, text="Bad Gateway")

    app = web.Application()
    app.router.add_get("/portal/api/performance/export", portal)
    app.router.add_get("/refusing/api/performance/dashboard", refusing)
    app.router.add_get("/down/api/performance/dashboard", broken_down)
    app.router.add_get("/api/performance/export", broken)
    app.router.add_get("/api/performance/dashboard", strange)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", free_port())
        await site.start()
        answers = [
            (await asyncio.to_thread(cogmeter, *one, "--url", site.name.replace("://", "://me:secret@") + path), said)
            for *one, path, said in (
                ("export", "-o", "x.json", "", "does not answer: "),
                ("export", "-o", "x.json", "/portal", "/api/performance/export did not return a cogmeter response"),
                ("summary", "", "did not return a cogmeter response"),
                ("alerts", "", "is not a cogmeter API"),
                ("summary", "/down", "failed (status 502). See the bot's log"),
                ("summary", "/refusing", r"no \x1b[31mway"),
            )
        ]
    finally:
        await runner.cleanup()
    for (code, out, err), said in answers:
        assert (code, out, err.count("\n")) == (2 if "way" in said else 3, "", 1)
        assert said in err
        assert "secret" not in err
        assert "\x1b" not in err
    assert list(tmp_path.iterdir()) == []
