"""Measure the lag of the bot's loop with a ticker of one millisecond: idle, flushing, drawing, and many errors.

Run ``python benchmarks/loop_lag.py [--short]``. All four take turns, so that they see the same machine. The maximum is
mostly caused by the machine, so the goals apply to the 99th percentile above the idle one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from chart import day
from timing import Spread, at_most, parser, percentile, row, sized

from cogmeter.recording.buffer import Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter.render.charts.worker_client import ChartWorker
from cogmeter_storage import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TICK_S = 0.001
BATCH = 10_000
FLUSHES, IDLE_S, CHARTS = 8, 0.6, 3  # a round
ERRORS_PER_S, MOST_AT_ONCE, FRAMES = 5_000, 20, 20


async def tick(late_ms: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(TICK_S)
        late_ms.append((time.perf_counter() - start - TICK_S) * 1e3)


@asynccontextmanager
async def ticking(late_ms: list[float]) -> AsyncIterator[None]:
    """Collect how late each tick comes while the block runs."""
    ticker = asyncio.create_task(tick(late_ms))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)


def fill(recorder: Recorder) -> None:
    for number in range(BATCH):
        metadata = {"tokens": number} if number % 10 == 0 else None
        recorder.record("knowledge-graph", f"query-{number % 20}", duration_ms=12.3 + number % 97, metadata=metadata)


async def flushing(flusher: Flusher, late_ms: list[float]) -> None:
    for _ in range(FLUSHES):
        fill(flusher.recorder)  # a bot records over a second; here it is done before the clock runs
        gc.collect()
        async with ticking(late_ms):
            await flusher.flush()


async def drawing(worker: ChartWorker, late_ms: list[float]) -> None:
    chart = day()
    async with ticking(late_ms):
        for _ in range(CHARTS):
            title = f"All services {time.perf_counter()}"  # none the same as another, so that none is remembered
            await worker.draw(dataclasses.replace(chart, timeline=dataclasses.replace(chart.timeline, title=title)))


def fail(depth: int, number: int) -> None:
    if depth > 1:
        fail(depth - 1, number)
    raise ValueError(f"no answer from node {number}")


async def storm(recorder: Recorder) -> None:
    """Let operations fail at the rate of ERRORS_PER_S, or as many as a slow machine can."""
    track, start, failed = recorder.track("knowledge-graph", "query"), time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - start) * ERRORS_PER_S) - failed
        for number in range(failed, failed + min(due, MOST_AT_ONCE)):
            try:
                with track():
                    fail(FRAMES - 1, number)
            except ValueError:
                pass
        failed += due
        await asyncio.sleep(TICK_S)


async def failing(flusher: Flusher, late_ms: list[float]) -> None:
    async with ticking(late_ms):
        errors = asyncio.create_task(storm(flusher.recorder))
        await asyncio.sleep(IDLE_S / 2)
        await flusher.flush()
        await asyncio.sleep(IDLE_S / 2)
        errors.cancel()
        await asyncio.gather(errors, return_exceptions=True)
    await flusher.flush()


async def idle(late_ms: list[float]) -> None:
    async with ticking(late_ms):
        await asyncio.sleep(IDLE_S)


async def measure(rounds: int) -> tuple[dict[str, list[list[float]]], list[float]]:
    """Return the lags in milliseconds and the memory in MB after each storm, round by round."""
    worker = ChartWorker()
    lags: dict[str, list[list[float]]] = {"idle": [], "flush": [], "draw": [], "storm": []}
    memory_mb: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = await open_store(f"sqlite:///{Path(folder) / 'bench.db'}")
        flusher = Flusher(Recorder(Buffer(capacity=BATCH)), store)
        await drawing(worker, [])  # starts the worker
        for _ in range(rounds):
            for of_round in lags.values():
                of_round.append([])
            await idle(lags["idle"][-1])
            await flushing(flusher, lags["flush"][-1])
            await drawing(worker, lags["draw"][-1])
            await failing(flusher, lags["storm"][-1])
            memory_mb.append(psutil.Process().memory_info().rss / 1e6)
        await store.close()
    await worker.close()
    return lags, memory_mb


def main() -> None:
    lags, memory_mb = asyncio.run(measure(sized(parser(__doc__).parse_args(), 40, 6, 1)))
    everything = {name: [lag for of_round in lags[name] for lag in of_round] for name in lags}
    quiet = percentile(everything["idle"], 0.99)
    row("loop lag, idle", f"p99 {quiet:.2f} ms, max {max(everything['idle']):.1f}")
    for name, title, limit in (
        ("flush", "loop lag, 10k operations are flushed", 3.0),
        ("draw", "loop lag, a chart is drawn", 2.0),
        ("storm", f"loop lag, {ERRORS_PER_S:,} errors/s", 3.0),
    ):
        p99 = percentile(everything[name], 0.99)
        more = Spread.of(
            percentile(busy, 0.99) - percentile(still, 0.99)
            for busy, still in zip(lags[name], lags["idle"], strict=True)
        )
        row(
            title,
            f"p99 {p99:.2f} ms, max {max(everything[name]):.1f}",
            peer="idle p99, same run",
            ratio=f"{p99 - quiet:+.2f} ms ({more.low:+.2f} to {more.high:+.2f})",
            goal=at_most(p99 - quiet, limit, " ms more"),
        )
    grown_mb = memory_mb[-1] - memory_mb[len(memory_mb) // 2]
    row("memory, second half of the storms", f"{grown_mb:+.1f} MB", goal=at_most(grown_mb, 5.0, " MB"))


if __name__ == "__main__":
    main()
