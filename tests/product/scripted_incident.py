"""A bot on the loopback Discord through a scripted incident in virtual time; prints what every surface shows.

At each of ten moments a line of JSON: ``/perf summary``, ``/perf alerts``, the messages of alerts, overview and alerts
page, REST, health, ``cogmeter doctor`` by database and by URL, and the overview of the terminal dashboard.
"""

# ruff: noqa: E402 - the clocks are replaced before anything that may keep one is imported

from __future__ import annotations

import virtual_clock

virtual_clock.replace()

import asyncio
import html
import json
import os
import re
import socket
import time
from pathlib import Path

import aiohttp
import discord
from discord.ext import commands
from loopback import Loopback
from textual.widgets import Static

import cogmeter
from cogmeter.monitor import jobs
from cogmeter.query.records import Period
from cogmeter.recording.operation import now_ns
from cogmeter.settings import load_settings
from cogmeter.watch.gateway import connection_problems
from cogmeter_bot.cli.doctor import _page
from cogmeter_bot.sources.factory import ReconnectingSource, open_source
from cogmeter_bot.tui.app import DashboardApp
from cogmeter_bot.tui.chrome import StatusLine, range_choices
from cogmeter_bot.tui.grid import Grid

CHECK_S = 30
# Messages follow their alerts with every second check: each moment ends with one.
STEPS = {  # moment: checks, and for each of two services the failing ones of 20 operations per check, and their ms
    "quiet": (10, (0, 20), (0, 20)),
    "pending": (1, (15, 20), (0, 20)),
    "fired": (2, (6, 20), (0, 20)),
    "worse": (4, (16, 20), (0, 20)),
    "acknowledged": (2, (13, 20), (0, 20)),
    "a second service": (10, (11, 20), (0, 7_000)),
    "partly recovered": (16, (0, 20), (0, 6_000)),
    "resolved": (16, (0, 20), (0, 20)),
    "restarted": (1, (0, 20), (0, 20)),
    "a day later": (1, (0, 20), (0, 20)),
}
FIRST, SECOND = "knowledge-graph", "web-crawling"
EXTENSION = "cogmeter.cog"


def settings(server, port):
    off = ("STALL", "ACKNOWLEDGEMENT", "DEVIATION", "OPERATIONS_PER_MINUTE", "NEW_ERROR", "LOW_TRAFFIC", "HUNG")
    off += ("DEAD_LOOPS", "GATEWAY_LATENCY", "DISCONNECTS", "MEMORY_GROWTH", "LOGGED_ERRORS", "UNHANDLED_ERRORS")
    values = {
        "ALERT_CHANNEL_ID": server.world.channel["id"],
        "ALERT_FOR": 60,
        "ALERT_THRESHOLD_RESPONSE_TIME": 5_000,
        "CHARTS": "false",
        "DASHBOARD_PORT": port,
        "HTTP_PORT": port,
        # The jumps of the clock are lags of the event loop, and this script's own requests are a dependency.
        **dict.fromkeys(("WATCH_STALLS", "WATCH_HTTP"), "false"),
        **{f"ALERT_THRESHOLD_{rule}": 0 for rule in off},
    }
    os.environ.update({f"PERFORMANCE_{name}": str(value) for name, value in values.items()})
    os.environ["ENABLE_ANALYTICS_DASHBOARD"] = "true"


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


class Script:
    """The bot, and all that reads it."""

    def __init__(self, server, bot, session, url):
        self.server, self.bot, self.session, self.url = server, bot, session, url

    @property
    def monitor(self):
        return self.bot.get_cog("cogmeter").monitor

    def take_over(self):
        """Run the jobs here: the scheduler counts real time."""
        self.monitor.schedule.pause()
        self.monitor.overhead.percent = lambda: 0.0  # of the slowed clocks it would be much

    async def check(self, loads):
        """Half a minute of traffic, and the jobs that the scheduler would have run."""
        monitor = self.monitor
        for service, (failing, duration_ms) in zip((FIRST, SECOND), loads, strict=True):
            for number in range(20):
                error = "TimeoutError: no answer" if number < failing else None
                cogmeter.record(service, "query", duration_ms=duration_ms, error=error)
        virtual_clock.advance(CHECK_S)
        await until(lambda: not connection_problems(self.bot)[0])
        await monitor.flusher.flush()
        await jobs.sample(monitor)
        monitor.gauges = {name: value for name, value in monitor.gauges.items() if not name.startswith("loop.")}
        for job in monitor.schedule.jobs:
            monitor.schedule.ended_ns[job.id] = now_ns()
        await monitor.alerting.check()
        await monitor.alerting.delivery.deliver_due()
        await self.bot.get_cog("cogmeter").servers.health.keep()

    async def play(self, moment):
        checks, *loads = STEPS[moment]
        if moment == "acknowledged":
            (alert,) = self.monitor.alerting.engine.active
            await self.monitor.alerting.engine.acknowledge(alert.uid, "Ada", time.time_ns() // 1000)
            await self.monitor.alerting.delivery.deliver_due()
        if moment == "restarted":
            await self.bot.reload_extension(EXTENSION)
            self.take_over()
        if moment == "a day later":
            virtual_clock.advance(86_400)
        for _ in range(checks):
            await self.check(loads)

    async def get(self, path):
        async with self.session.get(self.url + path) as response:
            return await response.text()

    async def command(self, name, options=None):
        answer = await (await self.server.interact(self.server.owner.slash(name, options))).answered()
        return answer["embeds"][0]

    async def terminal(self):
        """What the overview of the terminal dashboard shows, read from the database."""
        source = ReconnectingSource(lambda: open_source(None, None, None), Path("data/performance.db"))
        choices, selected = range_choices(None, None, None)
        app = DashboardApp(source, load_settings(), choices, selected, name="database", interval_s=3_600)
        async with app.run_test(size=(200, 50)):
            await until(lambda: "updated" in str(app.screen_stack[0].query_one(StatusLine).render()))
            grid = app.query_one("#active", Grid)
            return {
                "health": str(app.query_one("#health", Static).render()),
                "attention": str(app.query_one("#attention", Static).render()),
                "active": [[str(cell) for cell in grid.get_row_at(row)] for row in range(grid.row_count)],
            }

    async def doctor(self, url):
        source = await open_source(url, None, None)
        try:
            diagnosis = await source.diagnosis(Period.HOUR.range_at(time.time_ns() // 1000), None)
        finally:
            await source.close()
        lines = [f"{block.label}: {block.value}" for block in _page(diagnosis).blocks if hasattr(block, "label")]
        return {"status": diagnosis.status, "verdict": diagnosis.verdict, "lines": lines, "past": diagnosis.past}

    async def health_of(self, operation):
        """The health now of the first service, or of one of its operations, as each surface has it."""
        named = {"service": FIRST} | ({"operation": operation} if operation else {})
        query = f"?operation={operation}" if operation else ""
        sources = {}
        for name, url in (("database", None), ("url", self.url)):
            source = await open_source(url, None, None)
            try:
                answer = await source.service(FIRST, operation, Period.DAY.range_at(time.time_ns() // 1000))
            finally:
                await source.close()
            sources[name] = answer.health_now.model_dump(mode="json")
        return {
            "discord": (await self.command("perf stats", named))["description"],
            "page": text_of(await self.get(f"/performance/services/{FIRST}{query}")),
            "rest": json.loads(await self.get(f"/api/performance/services/{FIRST}{query}"))["healthNow"],
            **sources,
        }

    async def details(self):
        """Each alert with its events, as the API returns it."""
        history = json.loads(await self.get("/api/performance/alerts?state=history"))["alerts"]
        return [json.loads(await self.get(f"/api/performance/alerts/{alert['id']}")) for alert in history]

    async def shown(self, moment):
        messages = self.server.world.messages[self.server.world.channel["id"]].values()
        return {
            "moment": moment,
            "at": time.time(),
            "summary": await self.command("perf summary", {"period": "1h"}),
            "alerts": await self.command("perf alerts"),
            "past": await self.command("perf alerts", {"state": "resolved"}),
            "messages": [message["embeds"][0] for message in messages if _alerts(message)],
            "overview": text_of(await self.get("/performance?period=1h")),
            "page": text_of(await self.get("/performance/alerts")),
            "rest": json.loads(await self.get("/api/performance/alerts?state=history")),
            "dashboard": json.loads(await self.get("/api/performance/dashboard")),
            "details": await self.details(),
            "service": await self.health_of(None),
            "operation": await self.health_of("query"),
            "health": [json.loads(await self.get(f"/health{path}")) for path in ("", "/performance", "/ai-services")],
            "database": await self.doctor(None),
            "url": await self.doctor(self.url),
            "terminal": await self.terminal(),
        }


def _alerts(message):
    """Whether a message is about an alert, and no answer with statistics."""
    return bool(message.get("embeds")) and " Statistics" not in message["embeds"][0].get("title", "")


def text_of(page):
    """A page's text, a line for each element."""
    main = re.sub(r"<(script|style)\b.*?</\1>", "", page[page.index("<main") :], flags=re.DOTALL)
    words = re.sub(r"<[^>]*>", "\n", re.sub(r'<time datetime="([^"]*)"[^>]*>[^<]*</time>', r"[\1]", main))
    return html.unescape(re.sub(r"\s*\n\s*", "\n", words))


async def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with Loopback(keep=200) as server, aiohttp.ClientSession() as session:
        server.gateway.heartbeat_interval_s = 0.2
        settings(server, port)
        owner = int(server.world.owner["id"])
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=owner)
        async with server.running(bot):
            await bot.load_extension(EXTENSION)
            await bot.tree.sync()
            script = Script(server, bot, session, f"http://127.0.0.1:{port}")
            script.take_over()
            for moment in STEPS:
                await script.play(moment)
                print(json.dumps(await script.shown(moment)), flush=True)
            await bot.unload_extension(EXTENSION)


asyncio.run(main())
