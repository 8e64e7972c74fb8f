"""Measure reading with ten million operations of a week against the SQL that an author would write.

Run ``python benchmarks/query.py [--short] [--database PATH]``. The short form has one million operations. With
``--database`` the files are built there once and used again; otherwise they are built in a temporary folder. Both sides
read from a warm page cache. The second file has as many operations of 500 commands, each with its own rank. The last
part deletes a seventh of a copy of the first file while a writer appends.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from timing import Goal, Spread, at_most, parser, percentile, row, seconds, sized

from cogmeter.query.query import Query
from cogmeter.query.records import Period, Summary
from cogmeter.recording import service_names
from cogmeter_storage import Retention, Row, Store, open_store
from cogmeter_storage.histogram import quantiles
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES, OPERATIONS, DAYS = 20, 5, 7
COMMANDS = 500
OWN_NAMES = [
    (f"service-{number % SERVICES}", f"operation-{number // SERVICES}") for number in range(SERVICES * OPERATIONS)
]
COMMAND_NAMES = [(service_names.COMMANDS, f"command-{number}") for number in range(COMMANDS)]
SLICE, APPEND = 1_000, 50_000  # rows written in one turn of the loop; rows in one transaction
END_US = 1_755_268_650_500_000  # 14:37:30.5 in UTC: a summary needs days, hours, minutes and the open minute
WRITE_ROWS, WRITE_PAUSE_S = 100, 0.01
P99_LIMIT = 0.01

# The percentile of each series by its rank, as it is found in many an answer.
WINDOW_SQL = """
    WITH ranked AS (
        SELECT series, duration_us, outcome,
            row_number() OVER (PARTITION BY series ORDER BY duration_us) AS place,
            count(*) OVER (PARTITION BY series) AS total
        FROM operation WHERE end_us >= ?
    )
    SELECT series, count(*), avg(duration_us), avg(outcome IN (1, 2)), max(duration_us),
        min(CASE WHEN place >= 0.50 * total THEN duration_us END),
        min(CASE WHEN place >= 0.95 * total THEN duration_us END),
        min(CASE WHEN place >= 0.99 * total THEN duration_us END)
    FROM ranked GROUP BY series
"""
ROWS_SQL = "SELECT series, duration_us, outcome FROM operation WHERE end_us >= ?"


# 1. The store: a week of operations, evenly spread, each service with durations of its own.


def rows(count: int, names: int) -> Iterator[list[Row]]:
    """Yield ``count`` operations of this many series in order of time, in lists of one transaction each."""
    numbers = np.random.default_rng(7)
    first_us = END_US - DAYS * DAY_US + 1
    medians_ms = numbers.lognormal(3.5, 1.0, names)
    for start in range(0, count, APPEND):
        size = min(APPEND, count - start)
        ends = first_us + (np.arange(start, start + size) * (DAYS * DAY_US) // count)
        series = numbers.integers(0, names, size)
        durations = (medians_ms[series] * numbers.lognormal(0.0, 0.8, size) * 1000).astype(np.int64)
        outcomes = numbers.choice(5, size, p=(0.96, 0.02, 0.005, 0.01, 0.005))
        columns = [(series + 1).tolist(), ends.tolist(), durations.tolist(), outcomes.tolist()]
        yield list(zip(*columns, [None] * size, [None] * size, strict=True))


async def build(path: Path, count: int, names: list[tuple[str, str]] = OWN_NAMES) -> None:
    """Build a file with that many operations; an existing file is only migrated to the current schema."""
    if path.exists():
        await (await open_store(f"sqlite:///{path.absolute()}")).close()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    store = await open_store(f"sqlite:///{unfinished.absolute()}")
    await store.series_ids(names)
    start = time.perf_counter()
    for batch in rows(count, len(names)):
        slices = (batch[at : at + SLICE] for at in range(0, len(batch), SLICE))
        await store.append(slices, now_us=batch[-1][1])
    taken = time.perf_counter() - start
    await store.append([], now_us=END_US + 1)
    folding = time.perf_counter()
    await store.fold(now_us=END_US + 1)
    folded = time.perf_counter() - folding
    await store.close()
    unfinished.rename(path)
    row(f"history of {count:,} imported", f"{count / taken / 1000:.0f} k operations/s, then {folded:.1f} s of folding")


# 2. Summaries, and what they cost without slots.


async def timed_summaries(path: Path, period: Period, rounds: int) -> tuple[list[float], Summary]:
    """Time summaries by one process; the first one reads hours that the later ones remember."""
    store = await open_store(f"sqlite:///{path.absolute()}", read_only=True)
    query = Query(store, clock=lambda: END_US)
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        summary = await query.summary(period)
        taken.append(time.perf_counter() - start)
    await store.close()
    return taken, summary


async def timed_totals(path: Path, period: Period, rounds: int) -> list[float]:
    """Time the part of a summary that reads the services' totals, without the period before and the chart's bins."""
    store = await open_store(f"sqlite:///{path.absolute()}", read_only=True)
    groups = {one.id: int(one.service.rpartition("-")[2]) for one in await store.series()}
    span = period.range_at(END_US)
    taken = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        totals = await store.totals(span.since_us, span.until_us, groups=groups)
        quantiles(totals.buckets.sum(axis=0), (0.50, 0.95, 0.99))
        taken.append(time.perf_counter() - start)
    await store.close()
    return taken[1:]


def exact(raw: sqlite3.Connection, since_us: int) -> dict[str, np.ndarray]:
    """Return the sorted durations of each service, as an author gets them who reads the rows into numpy."""
    dtype = np.dtype([("series", "i4"), ("duration_us", "i8"), ("outcome", "i4")])
    table = np.fromiter(raw.execute(ROWS_SQL, (since_us,)), dtype=dtype)
    service = (table["series"] - 1) % SERVICES
    return {f"service-{number}": np.sort(table["duration_us"][service == number]) for number in range(SERVICES)}


def worst_p99(summary: Summary, durations: dict[str, np.ndarray]) -> float:
    """Return the largest relative error of any service's p99, and of the p99 of all."""
    everything = np.sort(np.concatenate(list(durations.values())))
    pairs = [(summary.total, everything), *((figures, durations[name]) for name, figures in summary.services)]
    errors = []
    for figures, values in pairs:
        if figures.operations != values.size:
            raise SystemExit(f"counted {figures.operations} operations where there are {values.size}")
        truth = values[max(int(np.ceil(0.99 * values.size)), 1) - 1]
        errors.append(abs((figures.p99_us or 0) - truth) / truth)
    return max(errors)


def summaries(path: Path, count: int, rounds: int) -> None:
    raw = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    for period in (Period.WEEK, Period.DAY):
        taken, summary = asyncio.run(timed_summaries(path, period, rounds))
        since_us = summary.range.since_us
        middle = Spread.of(taken[1:])
        by_window = seconds(lambda since_us=since_us: raw.execute(WINDOW_SQL, (since_us,)).fetchall())
        start = time.perf_counter()
        durations = exact(raw, since_us)
        by_numpy = time.perf_counter() - start
        title = f"summary {period.key} of {count:,}"
        figure = f"{Spread.of(1e3 * one for one in taken[1:]):.1f} ms"
        goal = at_most(middle.median * 1e3, 20, " ms") if period is Period.WEEK else None
        row(title, figure, peer=f"SQL {by_window:.2f} s", ratio=f"1/{by_window / middle.median:.0f}", goal=goal)
        row(title, figure, peer=f"rows into numpy {by_numpy:.2f} s", ratio=f"1/{by_numpy / middle.median:.0f}")
        figures_only = Spread.of(1e3 * one for one in asyncio.run(timed_totals(path, period, rounds)))
        goal = at_most(figures_only.median, 20, " ms") if period is Period.WEEK else None
        row(f"{title}, figures of the services alone", f"{figures_only:.1f} ms", goal=goal)
        error = worst_p99(summary, durations)
        row(
            f"p99 {period.key}, worst of all services",
            f"{error:.2%} off",
            peer="exact, numpy",
            goal=Goal(f"<= {P99_LIMIT:.0%}", error <= P99_LIMIT),
        )
    raw.close()


# 3. Summaries that rank commands.


def ranked_commands(path: Path, count: int, rounds: int) -> None:
    for period in (Period.WEEK, Period.DAY):
        taken, summary = asyncio.run(timed_summaries(path, period, rounds))
        if len(summary.commands) < 0.9 * COMMANDS:  # a small history has none of some in the last day
            raise SystemExit(f"{len(summary.commands)} commands are ranked where there are {COMMANDS}")
        middle = Spread.of(1e3 * one for one in taken[1:])
        goal = at_most(middle.median, 20, " ms") if period is Period.WEEK else None
        row(f"summary {period.key} of {count:,}, {COMMANDS} commands ranked", f"{middle:.1f} ms", goal=goal)
        firsts = [asyncio.run(timed_summaries(path, period, 0))[0][0] for _ in range(min(rounds, 5))]
        row(f"the first one of a process, {period.key}", f"{Spread.of(1e3 * one for one in firsts):.1f} ms")


# 4. A clean-up, and the writer meanwhile.


async def writes(store: Store, until: asyncio.Event, waits_ms: list[float]) -> None:
    """Append now and then, as the flusher does, and record how long each append took."""
    now_us = END_US + HOUR_US
    while not until.is_set():
        now_us += 10_000
        batch: list[Row] = [(1 + place, now_us, 12_300, 0, None, None) for place in range(WRITE_ROWS)]
        start = time.perf_counter()
        await store.append([batch], now_us=now_us)
        waits_ms.append((time.perf_counter() - start) * 1e3)
        await asyncio.sleep(WRITE_PAUSE_S)


async def alone(store: Store, length_s: float) -> list[float]:
    until, waits_ms = asyncio.Event(), list[float]()
    writing = asyncio.create_task(writes(store, until, waits_ms))
    await asyncio.sleep(length_s)
    until.set()
    await writing
    return waits_ms


def by_one_statement(path: Path, until_us: int) -> float:
    """Return the seconds for which one DELETE of a day, as an author would write it, blocks every writer."""
    raw = sqlite3.connect(path, isolation_level=None)
    taken = seconds(lambda: raw.execute("DELETE FROM operation WHERE end_us < ?", (until_us,)))
    raw.close()
    return taken


async def cleaning(path: Path, days: int) -> None:
    """Delete the oldest day, and the next, each time with an active writer; then one more by a single statement."""
    store = await open_store(f"sqlite:///{path.absolute()}")
    quiet_ms = await alone(store, 2.0)
    longest, lengths, removed, all_waits = [], [], 0, []
    for gone in range(1, days + 1):
        until, waits_ms = asyncio.Event(), list[float]()
        writing = asyncio.create_task(writes(store, until, waits_ms))
        start = time.perf_counter()
        cleaned = await store.clean(Retention(raw_hours=24.0 * (DAYS - gone)), now_us=END_US + 1)
        lengths.append(time.perf_counter() - start)
        until.set()
        await writing
        removed = cleaned.operations
        longest.append(max(waits_ms))
        all_waits += waits_ms
    await store.close()
    at_once = by_one_statement(path, END_US - (DAYS - days - 1) * DAY_US)
    found = Spread.of(longest)
    row(
        f"a writer's longest wait while {removed:,} rows go",
        f"{found.median:.1f} ms ({found.low:.1f} to {found.high:.1f}), p99 {percentile(all_waits, 0.99):.1f}",
        peer=f"one DELETE {at_once * 1e3:.0f} ms",
        ratio=f"1/{at_once * 1e3 / found.median:.0f}",
        goal=at_most(found.median, 10, " ms"),
    )
    row(
        "the same without a deletion",
        f"{max(quiet_ms):.1f} ms, p99 {percentile(quiet_ms, 0.99):.1f}",
        peer=f"the deletion took {Spread.of(lengths).median:.1f} s",
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--database", type=Path, help="keep the file by this name, with its size added, and use it again"
    )
    given = options.parse_args()
    count = sized(given, 10_000_000, 1_000_000, 20_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.db"
        if given.database:
            path = given.database.with_name(f"{given.database.stem}-{count}.db")
        asyncio.run(build(path, count, OWN_NAMES))
        size = path.stat().st_size / count
        # The goal is for ten million: in the short form a slot's fixed part is shared by a tenth of the operations.
        goal = None if given.short or given.smoke else at_most(size, 40, " B")
        row(f"disk, raw rows and all tiers, {count:,}", f"{size:.1f} B an operation", goal=goal)
        summaries(path, count, rounds=sized(given, 51, 15, 1))
        of_commands = path.with_name(f"commands-{path.name}")
        asyncio.run(build(of_commands, count, COMMAND_NAMES))
        ranked_commands(of_commands, count, rounds=sized(given, 51, 15, 1))
        copy = Path(folder) / "copy.db"
        shutil.copyfile(path, copy)
        with copy.open("rb+") as file:
            os.fsync(file.fileno())  # or the first checkpoint would wait for the whole copy to reach the disk
        asyncio.run(cleaning(copy, days=3))


if __name__ == "__main__":
    main()
