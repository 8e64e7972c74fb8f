"""The ledger's totals: exact, and never less than before, whatever happens to the store between two readings."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogmeter.exporters.prometheus import BOUNDS_S
from cogmeter.web.metrics.counters import BOUNDS, COLUMNS, KEY, SUM, Counters
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Outcome, Retention

BEGIN_US = 20_000 * DAY_US + 5 * HOUR_US
NAMES = (("chat", "ask"), ("chat", "tell"), ("graph", "query"))
KEPT = Retention(raw_hours=1, hour_hours=24)  # days are kept, and that is what counters need


@pytest.fixture
async def store(tmp_path):
    one = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield one
    await one.close()


def ledger_of(store, **options):
    return Counters(lambda: store, fresh_s=0, **options)


async def put(store, at_us, *rows):
    """Store (name, duration_us, outcome) of operations that ended at this time."""
    ids = await store.series_ids([name for name, _, _ in rows])
    made = [(one, at_us, took, outcome, None, None) for one, (_, took, outcome) in zip(ids, rows, strict=True)]
    await store.append([made], now_us=at_us)


async def totals(ledger):
    """Everything that has been counted: by series the operations by outcome, and the sum of their durations."""
    reading = await ledger.read()
    rows = zip(reading.names, reading.values.tolist(), strict=True)
    return {name: (*row[:SUM], row[SUM]) for name, row in rows if any(row)}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("record"), st.integers(0, 2), st.integers(0, 90_000_000), st.sampled_from(Outcome)),
            st.tuples(st.just("wait"), st.sampled_from([1, MINUTE_US // 2, HOUR_US, 7 * HOUR_US, 3 * DAY_US])),
            st.tuples(st.sampled_from(["read", "clean", "restart", "fold"])),
        ),
        max_size=40,
    )
)
def test_it_returns_all_that_was_ever_stored(steps):
    async def run(folder):
        url, clock_us = f"sqlite:///{folder / 'performance.db'}", BEGIN_US
        store = await open_store(url)
        ledger, expected = ledger_of(store), {}
        for step, *values in [*steps, ("read",)]:
            if step == "record":
                name = NAMES[values[0]]
                await put(store, clock_us, (name, values[1], values[2]))
                counted = expected.setdefault(name, np.zeros(SUM + 1, dtype=int))
                counted[values[2]] += 1
                counted[SUM] += values[1]
            elif step == "wait":
                clock_us += values[0]
            elif step == "restart":
                await store.close()
                store = await open_store(url)
                ledger = ledger_of(store)
            elif step == "read":
                assert await totals(ledger) == {name: tuple(row) for name, row in expected.items()}
            else:
                await store.append([], now_us=clock_us)
                await store.fold(now_us=clock_us)
                if step == "clean":
                    await store.clean(KEPT, now_us=clock_us)
        await store.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_clean_up_removes_nothing_from_the_counters(store):
    ledger = ledger_of(store)
    await put(store, BEGIN_US, (NAMES[0], 1000, Outcome.OK))
    before = await totals(ledger)
    for day in range(1, 5):
        await put(store, BEGIN_US + day * DAY_US, (NAMES[1], 1000, Outcome.ERROR))
        await totals(ledger)
    now_us = BEGIN_US + 9 * DAY_US
    await store.append([], now_us=now_us)
    await store.fold(now_us=now_us)
    gone = await store.clean(Retention(raw_hours=1, hour_hours=24, day_hours=24), now_us=now_us)
    assert gone.operations == 5
    assert (await totals(ledger))[NAMES[0]] == before[NAMES[0]]
    assert await totals(ledger_of(store)) == await totals(ledger)  # and neither does a restart behind it
    assert sum((await totals(ledger))[NAMES[1]][:SUM]) == 4


async def test_a_store_that_was_replaced_continues_where_the_one_before_ended(store, tmp_path):
    now = [store]
    ledger = Counters(lambda: now[0], fresh_s=0)
    await put(store, BEGIN_US, (NAMES[0], 1000, Outcome.OK), (NAMES[1], 1000, Outcome.OK))
    await totals(ledger)
    now[0] = await open_store(f"sqlite:///{tmp_path / 'another.db'}")
    await put(now[0], BEGIN_US + 1, (NAMES[1], 500, Outcome.ERROR))  # ids begin anew, in another order
    expected = {NAMES[0]: (1, 0, 0, 0, 0, 1000), NAMES[1]: (1, 1, 0, 0, 0, 1500)}
    assert await totals(ledger) == expected
    assert await totals(ledger_of(now[0])) == expected
    await now[0].close()


@pytest.mark.parametrize("kept", [b"{", b"[]", b'{"untilUs": 1}', b'{"untilUs":0,"bounds":[1],"series":[]}', b"\xff"])
async def test_a_base_that_cannot_be_read_is_logged_and_counting_begins_with_what_is_stored(store, kept, caplog):
    await store.set_value(KEY, kept)
    await put(store, BEGIN_US, (NAMES[0], 1000, Outcome.OK))
    assert await totals(ledger_of(store)) == {NAMES[0]: (1, 0, 0, 0, 0, 1000)}
    assert "restart from the stored operations" in caplog.text


async def test_ids_of_discord_are_hidden_and_series_that_become_alike_are_one(store):
    rows = [((f"bot {10**17 + place}", f"user-{10**18 + place}"), 10, Outcome.OK) for place in range(3)]
    await put(store, BEGIN_US, *rows)
    await put(store, BEGIN_US + 2 * DAY_US, *rows)
    ledger = ledger_of(store)
    assert await totals(ledger) == {("bot [id]", "user-[id]"): (6, 0, 0, 0, 0, 60)}
    kept = json.loads(await store.get_value(KEY))
    assert [row[:2] for row in kept["series"]] == [["(other)", "(other)"], ["bot [id]", "user-[id]"]]


async def test_series_beyond_the_limit_count_together(store):
    await put(store, BEGIN_US, *(((f"s{place}", "a"), 10, Outcome.OK) for place in range(5)))
    counted = await totals(ledger_of(store, most=3))
    assert counted.keys() == {("s0", "a"), ("s1", "a"), ("(other)", "(other)")}
    assert counted["(other)", "(other)"][0] == 3


async def test_readings_at_once_ask_the_store_once_a_second(store):
    await put(store, BEGIN_US, (NAMES[0], 10, Outcome.OK))
    ledger = Counters(lambda: store)
    first, second = await asyncio.gather(ledger.read(), ledger.read())
    assert first is second


@given(st.lists(st.integers(0, 100_000_000), min_size=1, max_size=60))
@settings(max_examples=15, deadline=None)
def test_a_bucket_is_exact_up_to_its_bound_and_beyond_it_within_two_percent(durations_us):
    async def read(folder):
        store = await open_store(f"sqlite:///{folder / 'performance.db'}")
        await put(store, BEGIN_US, *((NAMES[0], took, Outcome.OK) for took in durations_us))
        reading = await ledger_of(store).read()
        await store.close()
        return reading

    with tempfile.TemporaryDirectory() as folder:
        reading = asyncio.run(read(Path(folder)))
    assert reading.values.shape[1] == COLUMNS
    row = reading.values[reading.names.index(NAMES[0])]
    for bound_s, below in zip(BOUNDS_S, row[BOUNDS:].tolist(), strict=True):
        exact, more = (sum(took <= bound_s * 1e6 * slack for took in durations_us) for slack in (1, 1.02))
        assert exact <= below <= more
    assert row[BOUNDS:].tolist() == sorted(row[BOUNDS:].tolist())
