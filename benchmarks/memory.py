"""Measure the memory that the extension adds to a running bot, the time of ``load_extension``, and counting objects.

Run ``python benchmarks/memory.py [--short]``. A ``commands.Bot`` is set up as ``bot.start`` would, without logging in.
Each variant does more than the one before: ``cogmeter.cog`` is loaded by ``load_extension``; a thousand operations are
recorded and flushed, the alerts are checked and a summary is read; the dashboard is served and opened. Each variant
runs in processes of its own, in turn.

Live objects are counted in a bot with a million of them, with the goal for CPU time: the longest slice by the clock is
mostly caused by the machine. The peer is one call of ``gc.get_objects`` in the same process.

The chart worker is measured while it is idle after one chart; the peer draws the same content as a bot author would.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from timing import Goal, Spread, at_most, difference, interleaved, missing, parser, row, sized

if TYPE_CHECKING:
    from discord.ext import commands

OPERATIONS = 1000
VARIANTS = ("plain", "loaded", "used", "served")
GOALS_MB = {"loaded": 45, "used": 45, "served": 70}


async def use(bot: commands.Bot) -> None:
    """Run a typical first minute: operations, a flush, a check of the alerts, a summary."""
    import cogmeter

    for number in range(OPERATIONS):
        cogmeter.record(f"service-{number % 20}", "query", duration_ms=float(number), metadata={"number": number})
    cog = bot.get_cog("cogmeter")
    assert cog is not None
    monitor = cog.monitor  # type: ignore[attr-defined]  # the extension's own class, which is not imported here
    await monitor.flusher.flush()
    await monitor.alerting.check()
    await monitor.query.summary()


async def browse() -> None:
    """Open the dashboard's first page as a browser would, with its charts' data and its live stream."""
    import aiohttp

    url = f"http://127.0.0.1:{os.environ['PERFORMANCE_DASHBOARD_PORT']}"
    async with aiohttp.ClientSession(url, headers={"Accept": "text/html"}) as session:
        for path in ("/performance", "/performance/static/app.css", "/api/performance/series", "/health"):
            async with session.get(path) as answer:
                await answer.read()
        async with session.get("/api/performance/live") as live:
            await live.content.readline()


async def bot_in(variant: str) -> tuple[int, float]:
    """Return the resident bytes of this process, and how many seconds ``load_extension`` took."""
    import discord
    import psutil
    from discord.ext import commands

    bot = commands.Bot(command_prefix="!", intents=discord.Intents.default())
    async with bot:
        await asyncio.sleep(0.1)
        started = time.perf_counter()
        if variant != "plain":
            await bot.load_extension("cogmeter.cog")
        load_s = time.perf_counter() - started
        if variant in {"used", "served"}:
            await use(bot)
        if variant == "served":
            await browse()
        await asyncio.sleep(0.5)
        gc.collect()
        if "matplotlib" in sys.modules:
            raise SystemExit("matplotlib has been imported into the bot's process")
        return psutil.Process().memory_info().rss, load_s


class Node:
    """Four objects that the garbage collector tracks."""

    def __init__(self, number: int) -> None:
        self.parts = [number]
        self.more = {"a": [number]}


async def counted(objects: int) -> tuple[float, float, float, float, int]:
    """Return what counting live objects takes.

    CPU seconds of a sample, milliseconds of the longest slice by CPU time and by the clock, milliseconds of a call of
    ``gc.get_objects``, and the number of objects visited.
    """
    import discord
    from discord.ext import commands

    from cogmeter.watch.memory.heap import HeapWalk
    from cogmeter.watch.memory.memory import PAUSE_S, HeapSample, advance, growth
    from cogmeter.watch.memory.owners import walk_all

    async with commands.Bot(command_prefix="!", intents=discord.Intents.default()) as bot:
        bot.extra_events["leak"] = [[Node(number) for number in range(250)] for _ in range(objects // 1_000)]  # type: ignore[list-item]  # no listeners, but objects that stay
        gc.collect()
        start = time.perf_counter()
        gc.get_objects()
        all_at_once_ms = (time.perf_counter() - start) * 1e3
        heap, ended, took_s, longest_s, longest_wall_s = HeapWalk(), False, 0.0, 0.0, 0.0
        walk = walk_all(bot, heap, known_tasks=0)
        while not ended:
            start, start_cpu = time.perf_counter(), time.thread_time()
            ended = advance(walk)
            if ended:
                samples = deque(HeapSample.of(heap, at_s, whole=True) for at_s in (0, 3_600))
                growth(samples)
            slice_s = time.thread_time() - start_cpu
            took_s, longest_s = took_s + slice_s, max(longest_s, slice_s)
            longest_wall_s = max(longest_wall_s, time.perf_counter() - start)
            await asyncio.sleep(PAUSE_S)
    return took_s, longest_s * 1e3, longest_wall_s * 1e3, all_at_once_ms, heap.objects


def count_objects(objects: int, rounds: int) -> None:
    """Print the rows about counting live objects, measured in fresh processes."""
    command = [sys.executable, __file__, "--variant", "counted", "--objects", str(objects)]
    runs = [
        [
            float(figure)
            for figure in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        ]
        for _ in range(rounds)
    ]
    cpu_s, longest_ms, clock_ms, at_once_ms, visited = (Spread.of(figures) for figures in zip(*runs, strict=True))
    title = f"counting {visited.median:,.0f} live objects"
    row(
        f"{title}, longest slice",
        f"{longest_ms:.2f} ms CPU, {clock_ms.median:.1f} ms by the clock",
        peer=f"gc.get_objects() {at_once_ms.median:.0f} ms",
        ratio=f"{longest_ms.median / at_once_ms.median:.2f}",
        goal=at_most(longest_ms.median, 2, " ms"),
    )
    share = cpu_s.median / 1_200
    row(f"{title}, a sample", f"{cpu_s:.2f} s CPU, {share:.2%} of a core", goal=at_most(cpu_s.median, 2, " s"))


PLAIN_CHART = "import sys; sys.path.insert(0, {folder!r}); from chart import day, plain; plain(day()); print(); input()"


async def chart_worker_mb() -> tuple[float, float]:
    """Return the resident and the unique megabytes of a chart worker that is idle after one chart."""
    from chart import day

    from cogmeter.render.charts.worker_process import WorkerProcess

    process = await WorkerProcess.start()
    await process.request(day().to_json())
    try:
        return memory_mb(process.pid)
    finally:
        await process.end()


def plain_chart_mb() -> tuple[float, float]:
    """Return the resident and the unique megabytes of a process that has drawn a plain figure."""
    code = PLAIN_CHART.format(folder=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        figures = memory_mb(process.pid)
        process.communicate(b"\n")
    return figures


def memory_mb(pid: int) -> tuple[float, float]:
    """Return the resident megabytes of a process, and those that it shares with no other."""
    import psutil

    memory = psutil.Process(pid).memory_full_info()
    return memory.rss / 1e6, memory.uss / 1e6


def chart_worker(rounds: int) -> None:
    """Print the row about the chart worker's memory."""
    results = interleaved({"worker": lambda: asyncio.run(chart_worker_mb()), "plain": plain_chart_mb}, rounds)
    (rss, uss), (plain_rss, plain_uss) = (
        [Spread.of(figures) for figures in zip(*results[name], strict=True)] for name in ("worker", "plain")
    )
    row(
        "chart worker, idle after one chart",
        f"{uss.median:.1f} MB unique, {rss.median:.1f} MB resident",
        peer=f"a plain figure {plain_uss.median:.1f} MB unique, {plain_rss.median:.1f} MB resident",
        ratio=f"{uss.median / plain_uss.median:.2f}",
        goal=at_most(uss.median, 70, " MB"),
    )


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def in_a_process(variant: str, loads_s: list[float]) -> float:
    """Return the resident megabytes of a fresh process; append its loading time to ``loads_s``."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"PERFORMANCE_DATABASE_URL": f"sqlite:///{Path(folder) / 'bench.db'}"}
        if variant == "served":
            settings |= {"ENABLE_ANALYTICS_DASHBOARD": "true", "PERFORMANCE_DASHBOARD_PORT": str(free_port())}
        command = [sys.executable, __file__, "--variant", variant]
        done = subprocess.run(
            command, env={**os.environ, **settings}, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
    resident, load_s = done.stdout.split()
    if variant in {"loaded", "used"}:  # not while the dashboard starts
        loads_s.append(float(load_s))
    return int(resident) / 1e6


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--variant", choices=(*VARIANTS, "counted"), help="the variant that a child process runs")
    options.add_argument("--objects", type=int, help="the objects of the variant counted")
    given = options.parse_args()
    if given.variant == "counted":
        print(*asyncio.run(counted(given.objects)))
        return
    if given.variant:
        print(*asyncio.run(bot_in(given.variant)))
        return
    try:
        import psutil as _  # noqa: F401 - only whether it is there
    except ImportError as error:
        missing("memory", error)
        return
    loads_s: list[float] = []
    results = interleaved(
        {variant: lambda variant=variant: in_a_process(variant, loads_s) for variant in VARIANTS},
        sized(given, 11, 3, 1),
        warm_up=not given.smoke,
    )
    peer = f"discord.py bot {Spread.of(results['plain']).median:.0f} MB"
    for variant in VARIANTS[1:]:
        more = difference(results[variant], results["plain"])
        row(
            f"memory added, extension {variant}",
            f"{more.median:.1f} MB",
            peer=peer,
            ratio=f"+{more:.1f} MB",
            goal=at_most(more.median, GOALS_MB[variant], " MB"),
        )
    load = Spread.of(taken * 1000 for taken in loads_s)
    row("load_extension", f"{load:.0f} ms", goal=at_most(load.median, 400, " ms"))
    chart_worker(sized(given, 7, 3, 1))
    count_objects(sized(given, 1_000_000, 1_000_000, 10_000), sized(given, 7, 3, 1))
    row("matplotlib in the bot's process", "not imported", goal=Goal("never", met=True))


if __name__ == "__main__":
    main()
