"""The programs in examples/: each runs against real parts, and stays short enough to read at a glance."""

import asyncio
import runpy
import socket
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.monitor.monitor import Monitor
from cogmeter.settings import Settings, env_name
from cogmeter.web.server.servers import Servers

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))
TOKEN = "a-token-of-more-than-32-characters-for-tests"


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch, tmp_path):
    for name in [*(env_name(field) for field in Settings.model_fields), "PORT", "SERVER_PORT"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")
    monkeypatch.chdir(tmp_path)


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_there_are_six_examples_of_at_most_forty_lines():
    assert len(FILES) == 6
    assert all(len(file.read_text(encoding="utf-8").splitlines()) <= 40 for file in FILES)


@pytest.mark.parametrize("name", ["minimal_bot", "sharded_bot"])
async def test_a_bot_comes_up_on_discord_and_is_monitored(name, discord_server):
    bot = example(name)["make_bot"]()
    async with discord_server.running(bot):
        monitor = bot.get_cog("cogmeter").monitor
        assert bot.tree.get_command("perf") is not None
        for surface in monitor.watcher.surfaces:
            assert surface.name not in monitor.watcher.failed


async def test_own_code_is_recorded_in_every_form(capsys):
    module = example("own_code")
    assert await module["answer"]("Thanks!") == "Thanks! (positive)"
    await asyncio.to_thread(module["import_archive"], 1_000)
    names = {("core-intelligence", "answer"), ("knowledge-graph", "search")}
    names |= {("sentiment-analysis", "analyze"), ("archive", "import")}
    assert names <= set(cogmeter.default_recorder.names)
    assert len(cogmeter.default_recorder.buffer) == 4


async def test_the_custom_integration_sends_the_dashboards_figures(discord_server):
    bot = commands.Bot("!", intents=discord.Intents.default())
    sent = asyncio.get_running_loop().create_future()

    async def send(payload):
        if not sent.done():
            sent.set_result(payload)

    async with discord_server.running(bot):
        await bot.load_extension("cogmeter.cog")
        cogmeter.record("graph", "query", duration_ms=20)
        await bot.get_cog("cogmeter").monitor.flusher.flush()
        await bot.add_cog(example("custom_integration")["Metrics"](bot, send))
        payload = await asyncio.wait_for(sent, 60)
    assert payload["services"]["graph"]["totalOperations"] == 1
    assert payload["metrics"]["failedOperations"] == 0


async def test_a_commands_statements_are_operations_of_its_trace(discord_server, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_TRACE_THRESHOLD", "1")  # ms: also keep the trace of a fast command
    module = example("opentelemetry_spans")
    bot = module["NotesBot"]("!", intents=discord.Intents.default())
    try:
        async with discord_server.running(bot):
            monitor = bot.get_cog("cogmeter").monitor
            exchange = await discord_server.interact(discord_server.owner.slash("notes"))
            assert (await exchange.answered())["content"] == "No notes."
            await monitor.flusher.flush()
            ids = await monitor.query.ids("db.sqlite")
            rows = await monitor.store.recent(tuple(ids), 0, 2**62, limit=10)
            overview = await monitor.query.overview()
    finally:
        module["SQLite3Instrumentor"]().uninstrument()
        module["provider"].shutdown()
    assert [row.operation for row in rows] == ["SELECT", "CREATE"]  # and none of the monitor's own statements
    assert [row.metadata["parent"] for row in rows] == ["notes", "notes"]
    assert "db.sqlite" in dict(overview.background)


async def test_a_deploy_is_marked_through_the_api():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bot = commands.Bot("!", intents=discord.Intents.default())
    monitor = Monitor(bot, Settings(_env_file=None, http_port=port, http_token=TOKEN), recorder=cogmeter.Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    try:
        await servers.start()
        mark = example("deploy_marker")["mark"]
        answer = await asyncio.to_thread(mark, "deployed 1.4", f"http://127.0.0.1:{port}", TOKEN)
        assert answer["name"] == "deployed 1.4"
        assert [marker.name for marker in await monitor.store.markers(0, 2**62)][-1] == "deployed 1.4"
    finally:
        await servers.stop()
        await monitor.stop()
        await bot.close()
