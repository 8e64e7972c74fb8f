"""Measure the loop's own time and its lag while real clients use the web, against the idle loop.

Run ``python benchmarks/web.py [--short]``. The clients are a separate process, which sends requests over sockets. The
monitor has 500 series. ``dashboards.py`` adds browsers that show a week of ten million operations; the short form has
one million.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import dashboards
import discord
from discord.ext import commands
from timing import at_most, parser, percentile, row, sized

from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.web.server.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Sequence

SERIES, OPERATIONS = 500, 200_000
TICK_S = 0.001
HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """One address, its clients, and the allowed cost of its requests."""

    name: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    clients: int = 1
    pause_s: float = 0.0  # between two requests of a client
    lag_ms: float = 5.0  # by which the loop may be later than idle, at its 99th percentile
    loop_ms: float = 5.0  # of the loop's own time that one request may take


OPENMETRICS = (("Accept", "application/openmetrics-text;version=1.0.0"), ("Accept-Encoding", "gzip"))
CASES = (
    Case("scrape of 500 series, Prometheus text", "/metrics", (("Accept-Encoding", "gzip"),)),
    Case("scrape of 500 series, OpenMetrics", "/metrics", OPENMETRICS),
    Case("health, ten clients", "/health", clients=10, pause_s=0.1),
)


class Lag:
    """The delay of a task that runs every millisecond, which is what the bot's own tasks would see."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            began_s = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.late_ms.append((time.perf_counter() - began_s - TICK_S) * 1000)

    async def stop(self) -> float:
        """Return the 99th percentile."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return percentile(self.late_ms, 0.99)


async def fill(monitor: Monitor) -> None:
    """Write an hour of operations of all series, in order of time."""
    names = [(f"service-{number % 40}", f"operation-{number}") for number in range(SERIES)]
    ids = await monitor.store.series_ids(names)
    until_us = time.time_ns() // 1000
    step_us = HOUR_US // OPERATIONS
    rows = [
        (random.choice(ids), until_us - left * step_us, int(random.lognormvariate(11, 1.5)), 0, None, None)
        for left in range(OPERATIONS, 0, -1)
    ]
    await monitor.store.append((rows[at : at + 200] for at in range(0, len(rows), 200)), now_us=until_us)


async def ask(url: str, case: Case, seconds: float) -> None:
    """Run the clients in a process of their own; print the milliseconds of each request."""
    took_ms: list[float] = []

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < deadline_s:
            began_s = time.perf_counter()
            async with session.get(url + case.path, headers=dict(case.headers)) as answer:
                await answer.read()
                assert answer.status in {200, 503}, answer.status
            took_ms.append((time.perf_counter() - began_s) * 1000)
            await asyncio.sleep(case.pause_s)

    async with aiohttp.ClientSession() as session:
        deadline_s = time.perf_counter() + seconds
        await asyncio.gather(*(client(session) for _ in range(case.clients)))
    print(len(took_ms), percentile(took_ms, 0.5))


async def clients_of(url: str, number: int, seconds: float) -> tuple[int, float]:
    """Run the clients of a case; return the number of requests and their median time in milliseconds."""
    command = (sys.executable, __file__, "--ask", url, str(number), str(seconds))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    requests, median_ms = (await process.stdout.read()).split()
    await process.wait()
    return int(requests), float(median_ms)


async def one_round(url: str, number: int, seconds: float) -> tuple[float, float, float, float]:
    """Return in milliseconds: the lag of the idle loop, the lag while serving, a request's time, the loop's own part.

    The last value is the CPU time of the loop's thread, taken while no lag is measured.
    """
    lag = Lag()
    await asyncio.sleep(seconds)
    idle_ms = await lag.stop()
    lag = Lag()
    _, request_ms = await clients_of(url, number, seconds)
    busy_ms = await lag.stop()
    cpu_s = time.thread_time()
    requests, _ = await clients_of(url, number, seconds)
    return idle_ms, busy_ms, request_ms, (time.thread_time() - cpu_s) * 1000 / requests


def show(case: Case, rounds: Sequence[tuple[float, float, float, float]]) -> None:
    idle_ms, busy_ms, request_ms, loop_ms = (percentile(column, 0.5) for column in zip(*rounds, strict=True))
    row(
        f"{case.name}: lag of the loop, p99 over idle",
        f"{busy_ms:.1f} ms, a request takes {request_ms:.0f} ms",
        peer=f"idle {idle_ms:.1f} ms",
        ratio=f"{busy_ms - idle_ms:+.1f} ms",
        goal=at_most(busy_ms - idle_ms, case.lag_ms, " ms"),
    )
    row(f"{case.name}: the loop's own time a request", f"{loop_ms:.2f} ms", goal=at_most(loop_ms, case.loop_ms, " ms"))


async def measure(folder: str | Path, rounds: int, seconds: float) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    bot = commands.Bot("!", intents=discord.Intents.none())
    settings = Settings(_env_file=None, http_port=port, database_url=f"sqlite:///{folder}/performance.db")
    monitor = Monitor(bot, settings, recorder=Recorder())
    await monitor.start()
    servers = Servers(monitor, {})
    await servers.start()
    await fill(monitor)
    url = f"http://127.0.0.1:{port}"
    for number, case in enumerate(CASES):
        await clients_of(url, number, 0.5)  # once to warm up
        show(case, [await one_round(url, number, seconds) for _ in range(rounds)])
    await servers.stop()
    await monitor.stop()
    await bot.close()


def main() -> None:
    if sys.argv[1:2] == ["--ask"]:
        url, number, seconds = sys.argv[2:]
        asyncio.run(ask(url, CASES[int(number)], float(seconds)))
        return
    options = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = sized(options, 3, 1, 1)
        asyncio.run(measure(folder, rounds=rounds, seconds=sized(options, 6.0, 3.0, 0.3)))
        week, count = Path(folder) / "week.db", sized(options, 10_000_000, 1_000_000, 20_000)
        asyncio.run(dashboards.measure(week, count, rounds=rounds, seconds=sized(options, 5.0, 5.0, 0.5)))


if __name__ == "__main__":
    main()
