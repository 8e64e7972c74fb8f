"""Measure the dashboard with a week of stored operations; a part of ``web.py``.

A separate process simulates five browsers. Each loads the first page with all its files, keeps the live stream open,
and refreshes the page and its charts every second, which is the shortest interval that the setting allows.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import aiohttp
import discord
from discord.ext import commands
from loop_lag import ticking
from query import END_US, build
from timing import at_most, parser, percentile, row, sized

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.schemas.times import iso
from cogmeter.settings import Settings
from cogmeter.web.server.servers import Servers
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BROWSERS, RENEWED_S = 5, 1.0
SPAN = f"since={iso(END_US - DAY_US)}&until={iso(END_US)}"
PAGE = f"/performance?{SPAN}"
DASHBOARD = f"/api/performance/dashboard?{SPAN}"
HTML = {"Accept": "text/html"}
LOADED = re.compile(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"|<img src="(/performance/static/[^"]+)"')
IMPORTED = re.compile(r'from "(\./[^"]+)"')
CHARTED = re.compile(r'data-src="([^"]+)"')


# The browsers, in a process of their own.


async def load(session: aiohttp.ClientSession, url: str) -> tuple[str, int]:
    """Load the first page and its files, and return the page and the bytes as sent."""
    async with session.get(url + PAGE, headers=HTML) as answer:
        page, size = await answer.text(), int(answer.headers["Content-Length"])
        assert answer.status == 200, page
    waiting, seen = [urljoin(url, one or other) for one, other in LOADED.findall(page)], set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        async with session.get(address) as answer:
            assert answer.status == 200, address
            size += int(answer.headers["Content-Length"])
            text = await answer.text()
        if address.endswith(".js"):
            waiting += [urljoin(address, one) for one in IMPORTED.findall(text)]
    return page, size


async def browse(url: str, seconds: float) -> tuple[int, int]:
    """Use one dashboard for a while; return the bytes of its first page and the number of refreshes."""
    deadline_s, renewed = time.perf_counter() + seconds, 0
    async with aiohttp.ClientSession() as session:
        page, size = await load(session, url)
        charts = {one.replace("&amp;", "&") for one in CHARTED.findall(page)}
        live = asyncio.create_task(follow(session, url))
        while time.perf_counter() < deadline_s:
            async with session.get(url + PAGE, headers=HTML) as answer:
                await answer.read()
            for chart in charts:
                async with session.get(url + chart) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()
            renewed += 1
            await asyncio.sleep(RENEWED_S)
        live.cancel()
        await asyncio.gather(live, return_exceptions=True)
    return size, renewed


async def follow(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(f"{url}/api/performance/live", timeout=aiohttp.ClientTimeout(total=None)) as stream:
        async for _ in stream.content.iter_any():
            pass


async def ask(url: str, times: int) -> list[float]:
    """Return the milliseconds of each request for all services, sent one after the other."""
    taken_ms = []
    async with aiohttp.ClientSession() as session:
        for _ in range(times):
            start = time.perf_counter()
            async with session.get(url + DASHBOARD) as answer:
                await answer.read()
                assert answer.status == 200
            taken_ms.append((time.perf_counter() - start) * 1e3)
            await asyncio.sleep(0.01)
    return taken_ms


async def clients(what: str, url: str, amount: float) -> None:
    if what == "--browse":
        found = await asyncio.gather(*(browse(url, amount) for _ in range(BROWSERS)))
        print(found[0][0], sum(renewed for _, renewed in found))
    else:
        taken_ms = await ask(url, int(amount))
        print(percentile(taken_ms, 0.5), percentile(taken_ms, 0.95))


# The bot.


async def run_clients(what: str, url: str, amount: float) -> tuple[float, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, what, url, str(amount), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    first, second = (await process.stdout.read()).split()
    await process.wait()
    return float(first), float(second)


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[str]:
    """Yield the address of a bot's dashboard over this database."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    bot = commands.Bot("!", intents=discord.Intents.none())
    settings = Settings(
        _env_file=None, analytics_dashboard=True, dashboard_port=port, database_url=f"sqlite:///{path.absolute()}"
    )
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


async def measure(path: Path, count: int, *, rounds: int, seconds: float) -> None:
    """Fill the store with ``count`` operations, then measure."""
    await build(path, count)
    async with served(path) as url:
        await run_clients("--ask", url, 5)  # once to warm up
        median_ms, slow_ms = await run_clients("--ask", url, 100 if rounds > 1 else 40)
        row(
            f"/api/performance/dashboard, a day of the week that {count:,} operations took",
            f"{median_ms:.1f} ms, p95 {slow_ms:.1f} ms",
            goal=at_most(median_ms, 25, " ms"),
        )
        more, size = [], 0.0
        for _ in range(rounds):
            idle_ms: list[float] = []
            async with ticking(idle_ms):
                await asyncio.sleep(seconds)
            busy_ms: list[float] = []
            async with ticking(busy_ms):
                size, renewed = await run_clients("--browse", url, seconds)
            more.append((percentile(idle_ms, 0.99), percentile(busy_ms, 0.99), renewed))
        idle, busy = (percentile([one[place] for one in more], 0.5) for place in (0, 1))
        row(
            f"loop lag p99 under {BROWSERS} dashboards, renewed every second",
            f"{busy:.1f} ms, {more[-1][2]:.0f} renewals in {seconds:.0f} s",
            peer=f"idle {idle:.1f} ms",
            ratio=f"{busy - idle:+.1f} ms",
            goal=at_most(busy - idle, 5, " ms"),
        )
        row("first page, all of it", f"{size / 1000:.0f} kB", goal=at_most(size / 1000, 120, " kB"))


def main() -> None:
    if sys.argv[1:2] in (["--browse"], ["--ask"]):
        what, url, amount = sys.argv[1:]
        asyncio.run(clients(what, url, float(amount)))
        return
    options = parser(__doc__)
    options.add_argument("--database", type=Path, required=True, help="built there once, and used again")
    chosen = options.parse_args()
    count = sized(chosen, 10_000_000, 1_000_000, 20_000)
    asyncio.run(measure(chosen.database, count, rounds=sized(chosen, 3, 1, 1), seconds=5.0))


if __name__ == "__main__":
    main()
