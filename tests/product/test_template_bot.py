"""Ten minutes of a public template bot: summary, overview page and terminal show its commands, not a service."""

from __future__ import annotations

import importlib.util
import re
import socket
import time
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import aiohttp
import pytest
import simcord

from cogmeter.query.records import Period
from cogmeter.settings import Settings, env_name, load_settings
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.sources.factory import ReconnectingSource
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.chrome import range_choices
from cogmeter_bot.tui.grid import Grid
from cogmeter_storage.clock import Clock

pytestmark = pytest.mark.slow

BOT = Path(__file__).parent / "styles" / "template_bot.py"
STEPS, STEP_S = 20, 30
COMMANDS = ["/ping", "/8ball", "/coinflip", "/serverinfo", "/warning list", "button Choice.heads", "/warning add"]
MINUTE_S = 60


def load_bot():
    spec = importlib.util.spec_from_file_location("template_bot", BOT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TemplateBot()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def ahead_s(monkeypatch):
    """How far cogmeter's clock is ahead, in a list."""
    ahead = [0]
    monkeypatch.setattr(Clock, "now_ns", lambda _: time.time_ns() + ahead[0] * 10**9)
    return ahead


@pytest.fixture
def port(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)
    number = free_port()
    monkeypatch.setenv("PERFORMANCE_DASHBOARD_PORT", str(number))
    monkeypatch.setenv("ENABLE_ANALYTICS_DASHBOARD", "true")
    monkeypatch.setenv("PERFORMANCE_SYNC_COMMANDS", "true")
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")  # a busy machine blocks the loop
    return number


async def use(bot, owner, member, channel, ahead):
    """Use the bot for ten minutes, as two people do: each command by slash and by prefix."""
    monitor = bot.get_cog("cogmeter").monitor
    for step in range(STEPS):
        await member.slash(channel, "ping")
        await member.send(channel, "!ping")
        await owner.slash(channel, "8ball", question="Will it work?")
        if step % 2:
            await owner.send(channel, "!8ball Will it?")
            await member.slash(channel, "coinflip")
            await member.slash(channel, "serverinfo")
        if step % 4 == 0:
            await owner.send(channel, f"!warning list {owner.id}")
            await owner.slash(channel, "coinflip")
        if step in {0, 8, 16}:
            await owner.click(channel.last_message, label="Heads")
        if step in {2, 10}:
            await owner.send(channel, f"!warning add {owner.id} spam")
        await monitor.flusher.flush()
        ahead[0] += STEP_S


def seconds(times):
    return [datetime.fromisoformat(one).timestamp() for one in times]


async def page_and_series(port):
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Accept": "text/html"}) as session:
        async with session.get("/performance") as answer:
            page = await answer.text()
        source = unescape(re.search(r'data-chart="throughput" data-src="([^"]*)"', page)[1])
        async with session.get(source, headers={"Accept": "application/json"}) as answer:
            return page, await answer.json()


def names_in(page, key):
    table = re.search(rf'data-key="{key}".*?</table>', page, re.DOTALL)[0]
    return [unescape(one) for one in re.findall(r'<th scope="row"[^>]*><a [^>]*>(.*?)</a>', table)]


async def test_after_ten_minutes_each_surface_shows_the_commands_and_a_chart_that_fills_its_width(ahead_s, port):
    bot = load_bot()
    async with simcord.run(bot, settle_timeout=60, check_errors=False) as env:
        guild = env.create_guild("home")
        channel = guild.create_text_channel("general")
        owner, member = env.create_user("owner"), env.create_user("member")
        bot.owner_id = owner.id
        owner, member = guild.add_member(owner), guild.add_member(member)
        await bot.load_extension("cogmeter.cog")  # the one line
        await env.settle()
        began_s = time.time()
        await use(bot, owner, member, channel, ahead_s)
        ended_s = time.time() + ahead_s[0]
        result = await owner.slash(channel, "perf summary")
        picture = await result.response.attachments[0].read()
        monitor = bot.get_cog("cogmeter").monitor
        timeline = (await monitor.query.summary(Period.DAY)).timeline
        stats = await owner.slash(channel, "perf stats", service="/ping")
        page, series = await page_and_series(port)
        await bot.unload_extension("cogmeter.cog")
    fields = {field.name: field.value for field in result.response.embeds[0].fields}
    assert [re.match(r"\d\. (.*): \d+ ops", line)[1] for line in fields["Top Commands"].splitlines()] == COMMANDS[:5]
    assert fields["Top Commands"].startswith(f"1. /ping: {2 * STEPS} ops (100% success)")
    assert "Top Services by Volume" not in fields
    assert "6 commands, 1 component" in result.response.embeds[0].description
    assert picture.startswith(b"\x89PNG")
    assert stats.response.embeds[0].title == "/ping Statistics (Last 24 Hours)"
    fills([edge / 1e6 for edge in timeline.edges_us], timeline.per_minute, began_s, ended_s)

    assert names_in(page, "commands-table") == COMMANDS
    assert 'data-key="services-table"' not in page
    fills(seconds(series["timestamps"]), series["operationsPerMinute"], began_s, ended_s)

    names, times, values = await terminal(Path("data/performance.db"))
    assert names == COMMANDS
    fills([one.timestamp() for one in times], values, began_s, ended_s)


def fills(starts_s, values, began_s, ended_s):
    """Each minute from the first operation to the last has a bin with operations: the chart has no empty part."""
    assert began_s - 2 * MINUTE_S < starts_s[0] <= began_s
    assert ended_s - 2 * MINUTE_S < starts_s[-1] <= ended_s
    assert len(starts_s) >= STEPS * STEP_S // MINUTE_S
    assert all(values[1:-1])


async def terminal(database):
    """Return the names in the terminal's first table, and the times and values of its chart."""
    settings = load_settings()
    source = ReconnectingSource(lambda: DatabaseSource.open(settings, f"sqlite:///{database}"), database)
    choices, selected = range_choices(None, None, None)
    app = DashboardApp(source, settings, choices, selected, name="bot", interval_s=3600.0)
    async with app.run_test(size=(140, 45)) as pilot:
        table = app.query_one("#top", Grid)
        for _ in range(1_000):
            if table.row_count:
                break
            await pilot.pause(0.02)
        names = [str(table.get_row_at(row)[0]) for row in range(table.row_count)]
        chart = app.query_one("#throughput", TerminalChart)
        return names, [one.replace(tzinfo=UTC) for one in chart._times], chart._lines[0].values
