"""Writes ``version_5.db.gz``: a database as the last release with schema version 5 left it when it was closed.

It was run once, with that release's ``storage`` folder on the path, before schema version 6 existed:
``PYTHONPATH=storage python tests/storage/sqlite/databases/write_version_5.py``
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from pathlib import Path

from cogmeter_storage import Marker, Outcome, Retention, SpanRecord, TraceRecord, open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Mute, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

NOON = 1_750_075_200_000_000  # 2025-06-16 12:00:00 UTC
NAMES = [("graph", "search"), ("graph", "load"), ("discord.commands", "ask")]
OPERATIONS = 900  # four minutes apart: two and a half days


def row(number: int) -> tuple[int, int, int, int, str | None, str | None]:
    """Return one operation; every fifth is an error, every seventh an upstream error, every eleventh a user's."""
    outcome, error = Outcome.OK, None
    if number % 5 == 0:
        outcome, error = Outcome.ERROR, f"KeyError: node {number} of page {number % 3}"
    elif number % 7 == 0:
        outcome, error = Outcome.UPSTREAM, f"HTTPException: 503 after {number} ms (request 0x{number:x})"
    elif number % 11 == 0:
        outcome, error = Outcome.USER, "MissingPermissions"
    metadata = json.dumps({"user": f"{number % 4:08x}", "guild": "ffffffff"}) if number % 2 else None
    return number % 3 + 1, NOON + number * 4 * MINUTE_US, 1000 + 37 * number, int(outcome), error, metadata


async def write(path: Path) -> None:
    """Write two and a half days of operations, one alert, and one record of each other kind."""
    store = await open_store(f"sqlite:///{path}")
    await store.series_ids(NAMES)
    rows = [row(number) for number in range(OPERATIONS)]
    end_us = rows[-1][1]
    for start in range(0, len(rows), 100):
        await store.append([rows[start : start + 100]], now_us=rows[min(start + 99, len(rows) - 1)][1])
    await store.fold(now_us=end_us)
    alert = Alert(
        "4bb1", "error_rate", "graph", "", AlertState.FIRING, "critical", "High error rate", 0.05, 0.2, 0.3,
        *[end_us - HOUR_US] * 4,
    )  # fmt: skip
    change = AlertChange("4bb1", "fired", AlertState.FIRING, "critical", "High error rate", 0.2, 0.05, end_us - HOUR_US)
    await store.alerting.save([Step(alert, change, ("log",))])
    await store.alerting.add_mute(Mute("graph", "slow", NOON, end_us + DAY_US, "Ann", "a deploy"))
    await store.alerting.override({"error_rate@graph": "0.1"}, now_us=NOON, actor="Ann")
    span = SpanRecord(1, 0, "graph", "load", 5, 900, Outcome.ERROR)
    await store.add_traces([TraceRecord(NOON, "discord.commands", "ask", 4000, Outcome.ERROR, "KeyError", 0, (span,))])
    await store.add_samples(NOON, {"gateway.latency_ms": 41.5})
    await store.add_marker(Marker(NOON, "version", "1.4"))
    await store.set_value("baselines", b"\x00value")
    await store.clean(Retention(), now_us=end_us)
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "performance.db")
        asyncio.run(write(database))
        packed = gzip.compress(database.read_bytes(), mtime=0)
    Path(__file__).with_name("version_5.db.gz").write_bytes(packed)
