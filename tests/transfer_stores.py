"""Fills stores with everything that they can contain, and reads everything back, to compare two of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from cogmeter_storage import Marker, OperationRecord, Store, open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, AuditEntry, Mute, Step
from cogmeter_storage.costs import CostKey, CostSums
from cogmeter_storage.errors import ErrorBatch, ErrorExample, ErrorKind, ErrorLink, Frame
from cogmeter_storage.factory import is_postgres, sqlite_path
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Outcome, SpanRecord, TraceRecord
from cogmeter_storage.process import Process
from cogmeter_storage.transfer import IMPORTED
from cogmeter_storage.transfer.postgres_side import postgres_reader
from cogmeter_storage.transfer.sqlite_side import sqlite_reader
from cogmeter_storage.transfer.tables import TABLES
from cogmeter_storage.usage import PeopleKind, UsageBatch, people_key

FOREVER = 2**60
GROUPS = {1: 0, 2: 1, 3: 0, 4: 1}
HOSTILE = "\u2603 'quoted' \"twice\"\n\\N\t%s ?1 {0} \U0001f600"


async def fill_small_tables(store: Store, at_us: int, seed: int, count: int = 3) -> None:
    """Put a few rows into every table but those of operations and slots."""
    source = random.Random(seed)
    for number in range(count):
        await _add_observations(store, at_us + number, source)
        await _add_alert(store, at_us + number, f"uid-{seed}-{number}", source)
        await _add_error(store, at_us + number, source.randrange(5), source)
        await _add_usage(store, at_us + number * HOUR_US, source)
        line = CostKey(at_us // HOUR_US * HOUR_US - number * DAY_US, "ai", "/ask", HOSTILE, "g", f"u{number}")
        await store.costs.add({line: CostSums(*(source.randrange(1, 99) for _ in range(6)))}, key="costs", state=b"\0x")
    await store.set_value(f"key {seed}", bytes(range(256)))


async def _add_observations(store: Store, at_us: int, source: random.Random) -> None:
    span = SpanRecord(1, 0, "ai", HOSTILE, at_us, 5, Outcome.OK)
    trace = TraceRecord(at_us, "bot", "/ask", source.randrange(10**6), Outcome.ERROR, HOSTILE, 2, (span,))
    await store.add_traces([trace])
    await store.add_samples(at_us, {"loop.lag_ms": source.random(), f"gauge {source.randrange(3)}": 1e-300})
    await store.add_marker(Marker(at_us, "version", HOSTILE))


async def _add_alert(store: Store, at_us: int, uid: str, source: random.Random) -> None:
    alert = Alert(
        uid=uid,
        rule="error_rate",
        service="alpha",
        operation="one",
        state=AlertState.FIRING,
        severity="critical",
        message=HOSTILE,
        threshold=0.05,
        current=math.inf,
        worst=source.random(),
        started_us=at_us,
        seen_us=at_us,
        changed_us=at_us,
        fired_us=at_us,
        escalated=source.random() < 0.5,
        flapping=source.random() < 0.5,
    )
    change = AlertChange(uid, "fired", AlertState.FIRING, "critical", "High", 0.2, 0.05, at_us, "Ann", "note")
    await store.alerting.save([Step(alert, change, ("log", "webhook"))])
    first, *_ = await store.alerting.due(FOREVER)
    await store.alerting.begin(first.id, now_us=at_us)
    await store.alerting.end(first.id, outcome="sent", now_us=at_us + 5, receipt="message 5")
    mute = await store.alerting.add_mute(Mute("alpha", "", at_us, FOREVER, "Ann", HOSTILE))
    if source.random() < 0.5:
        await store.alerting.end_mutes([mute.id], now_us=at_us + 7, actor="Bob")
    await store.alerting.override({f"error_rate@{uid}": "0.5"}, now_us=at_us, actor="Ann")
    await store.alerting.add_audit(AuditEntry(at_us, "Ann", "use", "x", "", "y"))


async def _add_error(store: Store, at_us: int, name: int, source: random.Random) -> None:
    place = Frame("bot/answers.py", HOSTILE, 42, own=source.random() < 0.5)
    link = ErrorLink("RuntimeError", HOSTILE, (place,))
    batch = ErrorBatch(
        fingerprint=str(name).rjust(16, "0"),
        kind=ErrorKind.FAILED,
        type=link.type,
        message=link.message,
        place=place if name else None,
        first_us=at_us,
        last_us=at_us,
        counts={("alpha", "one", at_us // DAY_US): source.randrange(1, 9)},
        users=frozenset({f"{source.randrange(9):08x}"}),
        guilds=frozenset({f"{source.randrange(9):08x}"}),
        version=None,
        examples=(ErrorExample(at_us, "alpha", "one", None, "1.4", (link,)),),
    )
    await store.errors.add([batch])


async def _add_usage(store: Store, at_us: int, source: random.Random) -> None:
    keys = [people_key(source.randrange(1, 5), kind) for kind in PeopleKind for _ in range(20)]
    hashes = np.array([source.getrandbits(64) for _ in keys], np.uint64)
    counts = {("context", "dm"): source.randrange(1, 5), ("locale", HOSTILE): 1}
    await store.usage.add(UsageBatch(at_us, np.array(keys, np.int64), hashes, counts))


def rows_of(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of every table but those of operations and slots."""
    opened = postgres_reader(url, force=True) if is_postgres(url) else sqlite_reader(sqlite_path(url))
    with opened as reader:
        return {table.name: reader.rows(table, None, FOREVER) for table in TABLES}


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any):
    """The store at a URL, as long as the block runs."""
    store = await open_store(url, **options)
    try:
        yield store
    finally:
        await store.close()


async def answers_of(url: str, since_us: int, until_us: int) -> dict[str, Any]:
    """Return the answers of a store that depend on operations, slots, usage, errors, alerts and costs."""
    async with opened(url, read_only=True, process=Process(IMPORTED)) as store:
        return await answers(store, since_us, until_us)


async def answers(store: Store, since_us: int, until_us: int) -> dict[str, Any]:
    """Return what a store answers; ids of operations are left out, which differ between engines."""
    span = since_us, until_us
    length_us = until_us - since_us
    ranges = [
        span,
        (0, FOREVER),
        (since_us + length_us // 3, until_us - length_us // 3),
        (since_us, since_us + HOUR_US),
    ]
    status = await store.status()
    found: dict[str, Any] = {
        "series": await store.series(),
        "first": await store.first_us(),
        "status": (status.operations, status.series, status.first_end_us, status.last_end_us, status.clock.clamped),
        "stream": [without_id(one) async for chunk in store.stream(None, 0, FOREVER) for one in chunk],
        "page": _all_without_ids(await store.page(None, *span, limit=7, slower_than_us=3)),
        "failed": _all_without_ids(await store.recent({1, 4}, *span, limit=5, failed=True)),
        "slowest": _all_without_ids(await store.slowest({1, 2, 3, 4}, 0, FOREVER, limit=9)),
        "alerts": await store.alerting.alerts(tuple(AlertState)),
        "due": await store.alerting.due(FOREVER),
        "errors": [await store.errors.group(one) for one in range(1, 7)],
        "costs": await store.costs.grouped(0, FOREVER, by=["user", "model"]),
        "last use": await store.usage.last_use({1, 2, 3, 4}),
        "new": await store.newest_position(),
        "traces": await store.traces(None, None, 0, limit=99),
        "markers": await store.markers(0, FOREVER),
    }
    for number, one in enumerate(ranges):
        found[f"distinct {number}"] = await store.usage.distinct(*one, groups=GROUPS)
        found[f"counts {number}"] = await store.usage.counts(*one, ("context", "locale"))
        found[f"totals {number}"] = _plain(await store.totals(*one, groups=GROUPS))
    for step_us in (MINUTE_US * 7, HOUR_US, DAY_US):
        found[f"steps of {step_us}"] = _plain(await store.totals(*span, groups=GROUPS, step_us=step_us))
    return found


def without_id(operation: OperationRecord) -> OperationRecord:
    return dataclasses.replace(operation, id=0)


def _all_without_ids(operations: Sequence[OperationRecord]) -> list[OperationRecord]:
    return [without_id(one) for one in operations]


def _plain(totals: Any) -> tuple[Any, ...]:
    arrays = totals.edges_us, totals.outcomes, totals.sum_us, totals.max_us, totals.buckets
    return totals.since_us, totals.until_us, *((one.shape, np.asarray(one, np.int64).tobytes()) for one in arrays)


def metadata_of(number: int) -> str | None:
    """Return the metadata of an operation as it is stored."""
    return json.dumps({"user": f"{number:08x}", "n": number, "x": HOSTILE}) if number % 3 else None
