"""A bot of ``everyday_bots`` used for ten virtual minutes: ``python ten_minutes.py NAME`` on the loopback Discord.

It prints as JSON what ``/perf summary``, the overview page, the terminal dashboard and ``cogmeter summary`` then show.
The chart of the summary is stored as chart.png. The clocks start ten minutes late, so that the end is now.
"""

# ruff: noqa: E402 - the clocks are replaced before anything that may keep one is imported

from __future__ import annotations

import virtual_clock

STEPS, STEP_S = 20, 30
virtual_clock.advance(-STEPS * STEP_S)
virtual_clock.replace()

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
import discord
import everyday_bots
from click.testing import CliRunner
from loopback import Asker, Loopback

from cogmeter.monitor import jobs
from cogmeter.settings import load_settings
from cogmeter_bot.cli.group import main as cogmeter_command
from cogmeter_bot.sources.database import DatabaseSource
from cogmeter_bot.sources.factory import ReconnectingSource
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.chrome import range_choices
from cogmeter_bot.tui.grid import Grid

DATABASE = Path("data/performance.db")
TERMINAL_SIZE = (140, 45)

pause = asyncio.sleep


async def model_pause(seconds: float) -> None:
    """Let virtual time pass instead of real one."""
    virtual_clock.advance(seconds)
    await pause(0)


class Users:
    """What people do with a bot, and its answers."""

    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.owner, self.member = server.owner, server.member

    async def slash(self, asker: Asker, name: str, **options: Any) -> dict[str, Any]:
        return await (await self.server.interact(asker.slash(name, options))).answered()

    async def say(self, text: str, author: dict[str, Any] | None = None, channel: dict[str, Any] | None = None) -> None:
        """Send a message, and wait until the bot has handled it."""
        await self.server.say(text, author=author, channel=channel)
        await self.server.settled()

    async def click(self, asker: Asker, message: dict[str, Any]) -> None:
        custom_id = message["components"][0]["components"][0]["custom_id"]
        await (await self.server.interact(asker.button(message, custom_id))).acknowledged()


async def use_template(users: Users, step: int) -> None:
    """Each command by slash and by prefix."""
    owner, member = users.owner, users.member
    await users.slash(member, "ping")
    await users.say("!ping", member.user)
    await users.slash(owner, "8ball", question="Will it work?")
    if step % 2:
        coin = await users.slash(member, "coinflip")
        await users.slash(member, "serverinfo")
        if step % 4 == 1:
            await users.click(member, coin)
    if step % 5 == 0:
        await users.say(f"!warning list {owner.user['id']}")


async def use_chat(users: Users, step: int) -> None:
    """Most messages are not for the bot."""
    await users.say("good morning", users.member.user)
    await users.say("bot, will it rain?", users.member.user)
    await users.say("I hope not")
    if step % 3 == 0:
        await users.say("bot, " + "please tell me more about it. " * 4)


async def use_client(users: Users, step: int) -> None:
    member = users.member
    await users.slash(member, "hello")
    await users.slash(member, "add", first=step, second=2)
    if step % 2:
        await users.slash(users.owner, "hello")
        note = await users.slash(member, "note write", text="milk")
        if step % 4 == 1:
            await users.click(member, note)
    if step % 3 == 0:
        await users.slash(member, "note find", text="milk")
    if step % 10 == 0:
        await (await users.server.interact(member.user_menu("Show Join Date", users.owner.user))).answered()


async def use_sharded(users: Users, step: int) -> None:
    """People of both shards."""
    world = users.server.world
    for number, guild in enumerate(world.guilds):
        (channel, *_) = world.channels_of(guild)
        asker = Asker(world, world.member, channel)
        song = await users.slash(asker, "play", song=f"song {step}")
        if step % 2 == number:
            await users.say("!queue", world.member, channel)
            await users.click(asker, song)
        if step % 7 == number:
            await users.server.interact(asker.slash("lyrics", {"song": "song"}))  # it fails without an answer
            await users.server.settled()


class Everyday(NamedTuple):
    make: Callable[[], discord.Client]
    use: Callable[[Users, int], Awaitable[None]]
    shards: int = 1


BOTS = {
    "template": Everyday(everyday_bots.TemplateBot, use_template),
    "chat": Everyday(everyday_bots.ChatBot, use_chat),
    "client": Everyday(everyday_bots.PlainClient, use_client),
    "sharded": Everyday(everyday_bots.ShardedBot, use_sharded, shards=2),
}


class Used(NamedTuple):
    """A bot after its ten minutes."""

    server: Loopback
    monitor: Any
    began_s: float

    async def summary(self) -> dict[str, Any]:
        """The message of ``/perf summary``."""
        return await (await self.server.interact(self.server.owner.slash("perf summary"))).answered(60)

    async def picture(self, message: dict[str, Any]) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(message["attachments"][0]["url"]) as answer:
            return await answer.read()


@asynccontextmanager
async def used(name: str) -> AsyncIterator[Used]:
    """A bot of BOTS that was used for ten minutes and still runs."""
    everyday_bots.asyncio = SimpleNamespace(sleep=model_pause)  # the delays of its model and services
    bot = BOTS[name]
    async with Loopback(shards=bot.shards) as server:
        server.gateway.heartbeat_interval_s = 0.2
        client = bot.make()
        client.owner_id = int(server.world.owner["id"])
        async with server.running(client):
            monitor = monitor_of(client)
            began_s, users = time.time(), Users(server)
            for step in range(STEPS):
                step_ns = virtual_clock.ahead_ns[0]
                await bot.use(users, step)
                await due(monitor, step)
                spent_s = (virtual_clock.ahead_ns[0] - step_ns) / 1e9  # by the bot's own delays
                virtual_clock.advance(STEP_S - spent_s)
            await due(monitor, STEPS)
            yield Used(server, monitor, began_s)
        assert not list(server.violations), list(server.violations)


def monitor_of(client: Any) -> Any:
    if hasattr(client, "get_cog"):
        return client.get_cog("cogmeter").monitor
    return everyday_bots.cogmeter.attach(client).monitor  # the attachment that it has


async def due(monitor: Any, step: int) -> None:
    """Run the jobs that the scheduler would have run until now: it counts real time."""
    await monitor.flusher.flush()
    await jobs.sample(monitor)
    await monitor.alerting.check()
    if step % 4 == 0:
        await jobs.fold(monitor)


async def page_and_series() -> tuple[str, dict[str, Any]]:
    """The overview page, and what its chart of operations draws."""
    address = f"http://127.0.0.1:{os.environ['PERFORMANCE_DASHBOARD_PORT']}"
    async with aiohttp.ClientSession(address, headers={"Accept": "text/html"}) as session:
        async with session.get("/performance") as answer:
            page = await answer.text()
        source = unescape(re.search(r'data-chart="throughput" data-src="([^"]*)"', page)[1])
        async with session.get(source, headers={"Accept": "application/json"}) as answer:
            return page, await answer.json()


async def terminal() -> tuple[list[str], list[float], list[float], str]:
    """The names in the terminal's first table, the times and values of its chart, and its screen as SVG."""
    settings = load_settings()
    source = ReconnectingSource(lambda: DatabaseSource.open(settings, f"sqlite:///{DATABASE}"), DATABASE)
    choices, selected = range_choices(None, None, None)
    app = DashboardApp(source, settings, choices, selected, name="bot", interval_s=3600.0)
    async with app.run_test(size=TERMINAL_SIZE) as pilot:
        table = app.query_one("#top", Grid)
        for _ in range(3_000):
            if table.row_count:
                break
            await pilot.pause(0.02)
        await pilot.pause()
        names = [str(table.get_row_at(row)[0]) for row in range(table.row_count)]
        chart = app.query_one("#throughput", TerminalChart)
        times = [one.replace(tzinfo=UTC).timestamp() for one in chart._times]
        return names, times, list(chart._lines[0].values), app.export_screenshot(title="cogmeter dashboard")


async def main(name: str) -> dict[str, Any]:
    async with used(name) as after:
        message = await after.summary()
        Path("chart.png").write_bytes(await after.picture(message))
        page, series = await page_and_series()
    names, times, values, screen = await terminal()
    Path("screen.svg").write_text(screen, encoding="utf-8")
    return {
        "began_s": after.began_s,
        "ended_s": time.time(),
        "embed": message["embeds"][0],
        "page": page,
        "series": series,
        "terminal": {"names": names, "times": times, "values": values},
    }


if __name__ == "__main__":
    report = asyncio.run(main(sys.argv[1]))
    report["cli"] = CliRunner().invoke(cogmeter_command, ["summary", "--database", str(DATABASE)]).output
    sys.stdout.write(json.dumps(report))
