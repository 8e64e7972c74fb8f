"""Whatever several processes do in any order, totals and lists are those of all operations."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter_storage import Retention, open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.process import Process

NOON = 1_750_075_200_000_000
NAMES = ("one", "two", "three")
RETENTION = Retention(raw_hours=20, hour_hours=10_000)
GAPS = st.sampled_from([0, 1_000_000, MINUTE_US, 20 * MINUTE_US, HOUR_US, 7 * HOUR_US])
OPERATION = st.tuples(st.integers(1, 3), GAPS, st.sampled_from([5, 1_000, 250_000]), st.integers(0, 4))
STEP = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(NAMES), st.lists(OPERATION, min_size=1, max_size=12)),
    st.tuples(st.sampled_from(["fold", "clean", "restart", "kill"]), st.sampled_from(NAMES), st.none()),
)


@dataclass
class Model:
    """The clock, and the operations of each process: (series, end, duration, outcome)."""

    now_us: int = NOON
    rows: dict[str, list[tuple[int, int, int, int]]] = field(default_factory=lambda: {name: [] for name in NAMES})
    cut_us: int = 0  # operations before it were removed

    def all(self):
        return [row for rows in self.rows.values() for row in rows]


async def play(url, steps):
    model, stores = Model(), {}
    stores = {name: await open_store(url, process=Process(name)) for name in NAMES}
    await stores["one"].series_ids([("a", "1"), ("a", "2"), ("b", "1")])
    try:
        for step, name, value in steps:
            await take(url, model, stores, step, name, value)
            await compare(model, stores)
    finally:
        for store in stores.values():
            await store.close()


async def take(url, model, stores, step, name, value):
    if step == "append":
        rows = []
        for series, gap_us, duration_us, outcome in value:
            model.now_us += gap_us
            rows.append((series, model.now_us, duration_us, outcome, None, None))
        model.rows[name] += [row[:4] for row in rows]
        await stores[name].append([rows[:5], rows[5:]], now_us=model.now_us)
    elif step == "fold":
        await stores[name].fold(now_us=model.now_us)
    elif step == "clean":
        before = len([row for row in model.all() if row[1] >= model.cut_us])
        removed = (await stores[name].clean(RETENTION, now_us=model.now_us)).operations
        left = sorted(row[1] for row in model.all())[len(model.all()) - before + removed :]
        model.cut_us = max(model.cut_us, (left[0] // DAY_US * DAY_US) if left else model.now_us // DAY_US * DAY_US)
        assert removed == before - len([row for row in model.all() if row[1] >= model.cut_us])
    else:
        if step == "restart":
            await stores[name].close()
        else:
            await kill(stores[name])
        stores[name] = await open_store(url, process=Process(name))


async def kill(store):
    """End the connections as if the process had been killed: its run is not ended."""
    await store._writer._connection.end()
    await store._reading.end()


async def compare(model, stores):
    rows = model.all()
    ranges = [(NOON - DAY_US, model.now_us + DAY_US), (NOON + HOUR_US, NOON + 9 * HOUR_US)]
    for since_us, until_us in ranges:
        totals = await stores["two"].totals(since_us, until_us, groups={1: 0, 2: 0, 3: 1})
        inside = [row for row in rows if totals.since_us <= row[1] < totals.until_us]
        assert totals.counts.tolist() == [[sum(row[0] < 3 for row in inside), sum(row[0] == 3 for row in inside)]]
        assert totals.sum_us.sum() == sum(row[2] for row in inside)
        assert totals.failures.sum() == sum(row[3] in (1, 2) for row in inside)
        alone = await stores["two"].of_process("one").totals(since_us, until_us, groups={1: 0, 2: 0, 3: 0})
        own = [row for row in model.rows["one"] if alone.since_us <= row[1] < alone.until_us]
        assert alone.counts.sum() == len(own)
    kept = sorted(row[1:3] for row in rows if row[1] >= model.cut_us)
    streamed = [one async for chunk in stores["three"].stream(None, 0, model.now_us + 1) for one in chunk]
    assert [one.end_us for one in streamed] == [end_us for end_us, _ in kept]
    assert Counter((one.end_us, one.duration_us) for one in streamed) == Counter(kept)
    assert len({one.id for one in streamed}) == len(streamed)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(STEP, min_size=1, max_size=14))
def test_totals_and_lists_are_those_of_all_processes(server, steps):
    server.clear("postgres")
    asyncio.run(play(server.url("postgres"), steps))
