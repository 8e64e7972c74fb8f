"""Measure many processes on one PostgreSQL: writing, a summary over all of them, loop lag, and cost by their number.

Run ``python benchmarks/fleet.py [--short | --smoke]``. It starts a server of its own with the default settings, so each
commit reaches the disk. The peer of writing is asyncpg's COPY of the same rows into one table without statistics, by
as many processes. For the summary, the slots of a week of 64 processes are written without their operations, as all
totals are read from slots.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from loop_lag import ticking
from timing import Spread, at_least, at_most, difference, interleaved, missing, parser, percentile, ratio, row, sized

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from postgres_server import PROGRAMS, Server, server

from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, MINUTE_US, Tier
from cogmeter_storage.process import Process
from cogmeter_storage.rollup import Columns, OpenMinute, SealedSlot, fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter_storage import Row, Store

START_US = 1_800_000_000_000_000 // DAY_US * DAY_US
WRITERS, PROCESSES, SERIES, BATCH, SLICE = 8, 64, 40, 10_000, 250
OPTIONS = ("max_connections=300", "shared_buffers=128MB")


def rows_of(count: int, start_us: int, seed: int) -> list[Row]:
    """Return rows in order of time, a millisecond apart; some have an error and metadata."""
    randoms = random.Random(seed)
    return [
        (
            *(n % SERIES + 1, start_us + n * 1_000, randoms.randrange(1_000, 900_000)),
            *((1, f"TimeoutError: no answer {n}", '{"model":"m","tokens_in":512}') if n % 20 == 0 else (0, None, None)),
        )
        for n in range(count)
    ]


def slices(rows: list[Row]) -> list[list[Row]]:
    return [rows[at : at + SLICE] for at in range(0, len(rows), SLICE)]


async def write_ours(url: str, number: int, count: int) -> None:
    """Write as a process of the fleet would: batches of a flush, with its slots."""
    store = await open_store(url, process=Process(f"writer {number}"))
    rows = rows_of(count, START_US, number)
    await store.append([rows[:1]], now_us=rows[0][1])  # the partition
    await ready()
    for at in range(1, count, BATCH):
        batch = rows[at : at + BATCH]
        await store.append(slices(batch), now_us=batch[-1][1])
    print("done", flush=True)
    await store.close()


async def write_peer(url: str, number: int, count: int) -> None:
    """COPY the same rows with asyncpg."""
    import asyncpg

    connection = await asyncpg.connect(url)
    rows = [(number << 33 | n, *values) for n, values in enumerate(rows_of(count, START_US, number))]
    await ready()
    for at in range(1, count, BATCH):
        await connection.copy_records_to_table("plain", records=rows[at : at + BATCH])
    print("done", flush=True)
    await connection.close()


async def ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def writing(url: str, kind: str, count: int) -> float:
    """Start the writers, let them begin at once, and return rows per second."""
    command = [sys.executable, __file__, "--write", kind, url]
    writers = [
        subprocess.Popen([*command, str(number), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    start = time.perf_counter()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "done\n"
    took = time.perf_counter() - start
    for writer in writers:
        assert writer.wait() == 0
    return WRITERS * (count - 1) / took


def throughput(made: Server, count: int, rounds: int) -> None:
    import psycopg

    url = made.url("postgres")

    def ours() -> float:
        made.clear("postgres")
        asyncio.run(prepared(url))
        rate = writing(url, "ours", count)
        assert asyncio.run(counted(url)) == WRITERS * count
        return rate

    def peer() -> float:
        with psycopg.connect(url, autocommit=True) as raw:
            raw.execute(
                "DROP TABLE IF EXISTS plain; CREATE TABLE plain (id bigint, series integer, end_us bigint,"
                " duration_us bigint, outcome smallint, error text, metadata text, PRIMARY KEY (end_us, id))"
            )
        return writing(url, "peer", count)

    try:
        import asyncpg  # noqa: F401 - the writers import it
    except ImportError as error:
        missing("writing", error)
        return
    found = interleaved({"ours": ours, "peer": peer}, rounds)
    rate, share = Spread.of(found["ours"]), ratio(found["ours"], found["peer"])
    row(
        f"{WRITERS} processes write, totals exact",
        f"{rate:,.0f} operations/s",
        peer=f"asyncpg COPY {Spread.of(found['peer']):,.0f}/s",
        ratio=f"{share:.2f}",
        goal=at_least(share.median, 0.6),
    )


async def prepared(url: str) -> None:
    store = await open_store(url, process=Process("first"))
    await store.series_ids([("service", f"operation {n}") for n in range(SERIES)])
    await store.close()


async def counted(url: str) -> int:
    store = await open_store(url, read_only=True)
    totals = await store.totals(START_US - DAY_US, START_US + DAY_US, groups={n + 1: 0 for n in range(SERIES)})
    await store.close()
    return int(totals.counts.sum())


def slot(tier: Tier, start_us: int, count: int, seed: int) -> SealedSlot:
    """Return the slot of some operations of all series."""
    import numpy as np

    randoms = np.random.default_rng(seed)
    ids = np.arange(1, count + 1)
    durations = randoms.lognormal(11, 1.2, count).astype(np.int64)
    columns = Columns(ids, np.full(count, start_us), ids % SERIES + 1, durations, (ids % 50 == 0).astype(np.int64))
    return fold([OpenMinute.from_rows(columns).sealed()], tier)


async def week(url: str, minutes: int) -> Store:
    """Write the slots of a week of 64 processes: 50 million operations, with the minutes of the last hours."""
    from cogmeter_storage.postgres import slots as stored
    from cogmeter_storage.postgres.store import PostgresStore

    store = await open_store(url, process=Process("reader"))
    assert isinstance(store, PostgresStore)
    await store.series_ids([("service", f"operation {n}") for n in range(SERIES)])
    writer = store._writer
    per_minute = 50_000_000 // (PROCESSES * 7 * 1440)
    samples = {
        tier: [slot(tier, 0, per_minute * tier.width_us // MINUTE_US, seed) for seed in range(4)] for tier in Tier
    }
    end_us = START_US + 7 * DAY_US

    def write(session, run: int) -> None:
        with session.transaction():
            session.execute(
                "INSERT INTO run VALUES (?, ?, 'host', 1, '', '', 0, 0, 1, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
                (run + 1000, f"process {run}", (run + 1000) << 33, end_us, end_us),
            )
            for tier, since_us in (
                (Tier.DAY, START_US),
                (Tier.HOUR, START_US),
                (Tier.MINUTE, end_us - minutes * MINUTE_US),
            ):
                for place, start_us in enumerate(range(since_us, end_us, tier.width_us)):
                    sample = samples[tier][(place + run) % 4]
                    first = ((run + 1000) << 33) + place * 10_000_000 + int(tier)
                    made = SealedSlot(tier, start_us, first, first + 1, sample.slot)
                    stored.write_slot(session, run + 1000, made, sealed=True)
            session.execute("UPDATE slot SET folded = TRUE WHERE run = ? AND tier < 2", (run + 1000,))

    for run in range(PROCESSES):
        await writer.run(write, run)
    for tier in Tier:
        while await writer.run(stored.merge_some, store._damage, tier, end_us):
            pass
    await store._reading.run(lambda session: session.connection.execute("VACUUM ANALYZE cogmeter.slot"))
    return store


def summary(made: Server, minutes: int, rounds: int) -> None:
    made.clear("postgres")
    with asyncio.Runner() as runner:
        store = runner.run(week(made.url("postgres"), minutes))
        until_us = START_US + 7 * DAY_US
        groups = {n + 1: n for n in range(SERIES)}

        def ask() -> float:
            start = time.perf_counter()
            totals = runner.run(store.totals(until_us - 7 * DAY_US, until_us, groups=groups))
            took = (time.perf_counter() - start) * 1e3
            assert totals.counts.sum() > 40_000_000, totals.counts.sum()
            return took

        found = Spread.of(interleaved({"ask": ask}, rounds)["ask"])
        row(
            f"7 days of {PROCESSES} processes, 50 million operations",
            f"{found:.0f} ms",
            goal=at_most(found.median, 60, " ms"),
        )
        runner.run(store.close())


async def lag(url: str, rounds: int) -> None:
    """Append full batches while a ticker runs, in turns with an idle loop."""
    store = await open_store(url, process=Process("lag"))
    await store.series_ids([("service", f"operation {n}") for n in range(SERIES)])
    idle: list[float] = []
    busy: list[float] = []
    at_us = START_US + 30 * DAY_US
    for _ in range(rounds):
        late: list[float] = []
        async with ticking(late):
            await asyncio.sleep(0.6)
        idle.append(percentile(late, 0.99))
        late = []
        batches = [rows_of(BATCH, at_us + n * BATCH * 1_000, n) for n in range(4)]
        at_us += len(batches) * BATCH * 1_000
        async with ticking(late):
            for batch in batches:
                await store.append(slices(batch), now_us=batch[-1][1])
        busy.append(percentile(late, 0.99))
    await store.close()
    more = difference(busy, idle)
    row(
        "loop lag p99 while 10,000 operations are stored",
        f"{Spread.of(busy):.2f} ms",
        peer=f"idle {Spread.of(idle):.2f} ms",
        ratio=f"+{more:.2f} ms",
        goal=at_most(more.median, 3, " ms more"),
    )


def by_number(made: Server, rounds: int) -> None:
    """Append to as many stores as there are processes; the time of an operation must not grow with their number."""
    made.clear("postgres")
    url = made.url("postgres")
    with asyncio.Runner() as runner:
        runner.run(prepared(url))
        stores = [runner.run(open_store(url, process=Process(f"process {n}"))) for n in range(PROCESSES)]
        next_us = [START_US] * PROCESSES

        def timed(number: int) -> Callable[[], float]:
            def call() -> float:
                took = 0.0
                for place in range(number):
                    for _ in range(PROCESSES // number):
                        rows = rows_of(1_000, next_us[place], place)
                        next_us[place] += 1_000_000
                        start = time.perf_counter()
                        runner.run(stores[place].append(slices(rows), now_us=rows[-1][1]))
                        took += time.perf_counter() - start
                return took / PROCESSES / 1_000 * 1e6

            return call

        found = interleaved({str(number): timed(number) for number in (1, 8, PROCESSES)}, rounds)
        for number in (8, PROCESSES):
            share = ratio(found[str(number)], found["1"])
            row(
                f"an operation, {number} processes in turn",
                f"{Spread.of(found[str(number)]):.1f} us",
                peer=f"1 process {Spread.of(found['1']):.1f} us",
                ratio=f"{share:.2f}",
                goal=at_most(share.median, 1.25),
            )
        for store in stores:
            runner.run(store.close())


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--write", nargs=4, metavar=("KIND", "URL", "NUMBER", "COUNT"), help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.write:
        kind, url, number, count = options.write
        asyncio.run((write_ours if kind == "ours" else write_peer)(url, int(number), int(count)))
        return
    if not PROGRAMS or shutil.which("psql") is None:
        row("fleet", "not measured: PostgreSQL is not installed", peer="missing")
        return
    with server(OPTIONS) as running:
        throughput(running, sized(options, 60_001, 30_001, 2_001), sized(options, 7, 3, 1))
        summary(running, sized(options, 180, 60, 5), sized(options, 30, 10, 1))
        asyncio.run(lag(running.url("postgres"), sized(options, 12, 5, 1)))
        by_number(running, sized(options, 10, 4, 1))


if __name__ == "__main__":
    main()
