"""Measure the writing of operations against ``sqlite3.executemany`` of the same rows into the same table.

Run ``python benchmarks/ingest.py [--short]``. Ours is everything from ``record()`` on: buffering, the flusher's slices,
wall times, the writer's thread, the open minute's aggregates. The peer has its rows ready, writes on its own thread,
keeps no aggregates and blocks its loop until it ends. Both write a thousand rows a transaction, WAL, NORMAL.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import Spread, at_least, interleaved, parser, row, sized

from cogmeter.alerts.measurement.window import Window
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import Store, open_store
from cogmeter_storage.schema import SQLITE_MIGRATIONS

BATCH, BATCHES = 1000, 10
SERIES = [(f"service-{number % 20}", f"operation-{number // 20}") for number in range(100)]
OPERATIONS = [(*random.choice(SERIES), random.lognormvariate(3.0, 1.0)) for _ in range(BATCH)]
INSERT = "INSERT INTO operation (series, end_us, duration_us, outcome, error, metadata) VALUES (?, ?, ?, ?, ?, ?)"


async def ours(flusher: Flusher) -> float:
    """Return the seconds for one operation, from ``record()`` to the commit."""
    record = flusher.recorder.record
    start = time.perf_counter()
    for _ in range(BATCHES):
        for service, operation, duration_ms in OPERATIONS:
            record(service, operation, duration_ms=duration_ms)
        await flusher.flush()
    return (time.perf_counter() - start) / (BATCH * BATCHES)


def plain(raw: sqlite3.Connection) -> float:
    """Return the seconds for one prepared row."""
    number = {names: place + 1 for place, names in enumerate(SERIES)}
    base_us = time.time_ns() // 1000
    batches = [
        [
            (number[service, operation], base_us + 1000 * batch + place, int(duration_ms * 1000), 0, None, None)
            for place, (service, operation, duration_ms) in enumerate(OPERATIONS)
        ]
        for batch in range(BATCHES)
    ]
    start = time.perf_counter()
    for rows in batches:
        raw.execute("BEGIN")
        raw.executemany(INSERT, rows)
        raw.execute("COMMIT")
    return (time.perf_counter() - start) / (BATCH * BATCHES)


def plain_database(path: Path) -> sqlite3.Connection:
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = NORMAL")
    for statement in SQLITE_MIGRATIONS[0]:
        raw.execute(statement)
    return raw


def flusher_of(store: Store, *, alerts: bool) -> Flusher:
    """Build a flusher; with alerts, each batch is also counted in the window of the alert rules."""
    recorder = Recorder(Buffer(capacity=4 * BATCH))
    window = Window(recorder.names, length_s=300)

    async def watch(atoms: list[Any]) -> None:
        await window.add(atoms, time.perf_counter())

    return Flusher(recorder, store, watch=watch if alerts else None)


def main() -> None:
    rounds = sized(parser(__doc__).parse_args(), 101, 25, 1)
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.db" for name in ("ours", "with alert totals", "plain")}
        raw = plain_database(paths["plain"])
        stores = {name: loop.run_until_complete(open_store(f"sqlite:///{paths[name]}")) for name in list(paths)[:2]}
        flushers = {name: flusher_of(store, alerts=name != "ours") for name, store in stores.items()}
        cases = {
            name: lambda flusher=flusher: loop.run_until_complete(ours(flusher)) for name, flusher in flushers.items()
        }
        results = interleaved({**cases, "plain": lambda: plain(raw)}, rounds)
        for store in stores.values():
            loop.run_until_complete(store.close())
        raw.close()
        bytes_each = {name: path.stat().st_size / (BATCH * BATCHES * (rounds + 1)) for name, path in paths.items()}
    loop.close()
    peer = f"executemany {1 / Spread.of(results['plain']).median / 1000:.0f} k/s"
    for name in flushers:
        # Rates, so that more is better: ours to theirs is their time to our time.
        found = Spread.of(theirs / mine for mine, theirs in zip(results[name], results["plain"], strict=True))
        title = "ingest, record() to commit" + ("" if name == "ours" else f", {name}")
        goal = at_least(found.median, 0.65) if name == "ours" else None
        rate = 1 / Spread.of(results[name]).median / 1000
        row(title, f"{rate:.0f} k operations/s", peer=peer, ratio=f"{found:.2f}", goal=goal)
    row("ingest, bytes an operation", f"{bytes_each['ours']:.1f} B", peer=f"executemany {bytes_each['plain']:.1f} B")


if __name__ == "__main__":
    main()
