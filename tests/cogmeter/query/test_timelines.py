"""Folded hours are read once, and the bins are those that the store returns."""

import contextlib
import random
import sqlite3

import numpy as np
import pytest

from cogmeter.query.query import Query
from cogmeter.query.records import Period, Range
from cogmeter.query.timelines import HOURS_PER_READ, MOST_HOURS, Hours
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Retention

BEGIN_US = 1_800_000_000_000_000 // DAY_US * DAY_US


class CountingStore:
    """A store that notes the ranges that are read."""

    def __init__(self, store):
        self._store, self.reads = store, []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def totals(self, since_us, until_us, **options):
        self.reads.append((since_us, until_us))
        return await self._store.totals(since_us, until_us, **options)


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    await store.series_ids([("discord.commands", "ask"), ("graph", "query"), ("discord.rest", "GET")])
    yield CountingStore(store)
    await store.close()


async def record(store, since_us, until_us, count, seed=1):
    chance = random.Random(seed)
    ends = sorted(chance.randrange(since_us, until_us) for _ in range(count))
    rows = [(chance.randint(1, 3), end, chance.randrange(1, 10**7), chance.randrange(5), None, None) for end in ends]
    await store.append([rows], now_us=until_us)


async def assert_equal(hours, store, since_us, until_us, step_us, series=(1, 2)):
    groups = dict.fromkeys(series, 0)
    read = await hours.totals(store, since_us, until_us, groups=groups, step_us=step_us)
    expected = await store._store.totals(since_us, until_us, groups=groups, step_us=step_us)
    assert (read.since_us, read.until_us) == (expected.since_us, expected.until_us)
    for name in ("edges_us", "outcomes", "sum_us", "max_us", "buckets"):
        np.testing.assert_array_equal(getattr(read, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("step_hours", [1, 2, 6])
async def test_bins_are_those_of_the_store_while_operations_are_recorded(store, step_hours):
    hours = Hours()
    for day in range(4):
        now_us = BEGIN_US + day * DAY_US + 5 * HOUR_US + 17 * MINUTE_US
        await record(store, now_us - DAY_US, now_us, 500, seed=day)
        await store.fold(now_us=now_us)
        since_us = (now_us - 3 * DAY_US) // HOUR_US * HOUR_US
        await assert_equal(hours, store, since_us, now_us, step_hours * HOUR_US)
        await assert_equal(hours, store, since_us + HOUR_US, now_us - 7 * MINUTE_US, step_hours * HOUR_US)


@pytest.mark.parametrize(("hours_back", "step_minutes"), [(24, 15), (24, 7), (6, 5), (3, 1), (20, 60)])
async def test_bins_of_minutes_are_those_of_the_store_while_operations_are_recorded(store, hours_back, step_minutes):
    hours, begin_us = Hours(), BEGIN_US + 5 * HOUR_US + 17 * MINUTE_US
    await record(store, begin_us - DAY_US, begin_us, 3_000)
    await store.fold(now_us=begin_us)
    for minutes in (0, 1, 9, 50, 118):
        now_us = begin_us + minutes * MINUTE_US + 30_000_000
        await record(store, now_us - 20_000_000, now_us, 40, seed=minutes)
        await store.fold(now_us=now_us)
        since_us = (now_us - hours_back * HOUR_US) // MINUTE_US * MINUTE_US
        await assert_equal(hours, store, since_us, now_us, step_minutes * MINUTE_US)


async def test_a_folded_hour_is_read_once_by_minute(store):
    hours, now_us = Hours(), BEGIN_US + 5 * HOUR_US + 17 * MINUTE_US + 5
    await record(store, now_us - 2 * DAY_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    since_us = now_us - 5 - DAY_US
    await assert_equal(hours, store, since_us, now_us, 15 * MINUTE_US)
    assert max(until - since for since, until in store.reads) <= HOURS_PER_READ[MINUTE_US] * HOUR_US
    store.reads.clear()
    await assert_equal(hours, store, since_us + MINUTE_US, now_us + MINUTE_US, 15 * MINUTE_US)
    border_us = since_us // HOUR_US * HOUR_US + HOUR_US
    assert store.reads == [(since_us + MINUTE_US, border_us), (BEGIN_US + 5 * HOUR_US, now_us + MINUTE_US)]


async def test_minutes_that_a_clean_up_removed_are_those_of_the_store(store):
    now_us = BEGIN_US + 6 * DAY_US + 90 * MINUTE_US
    await record(store, BEGIN_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    await store.clean(Retention(raw_hours=24), now_us=now_us)
    for back in (DAY_US + 7 * MINUTE_US, 23 * HOUR_US + 7 * MINUTE_US):
        await assert_equal(Hours(), store, now_us - back, now_us, 15 * MINUTE_US)


async def test_no_more_than_a_day_is_remembered_by_minute(store):
    hours = Hours()
    await record(store, BEGIN_US, BEGIN_US + 4 * DAY_US, 2_000)
    await store.fold(now_us=BEGIN_US + 4 * DAY_US)
    for day in range(1, 4):
        until_us = BEGIN_US + day * DAY_US + 5 * MINUTE_US
        await assert_equal(hours, store, until_us - DAY_US, until_us, 15 * MINUTE_US)
    assert len(hours._known[MINUTE_US]) == MOST_HOURS[MINUTE_US]


async def test_a_folded_hour_is_read_once(store):
    hours, now_us = Hours(), BEGIN_US + 5 * HOUR_US + 17 * MINUTE_US
    await record(store, now_us - 4 * DAY_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    groups, since_us = {1: 0, 2: 0}, (now_us - 4 * DAY_US) // HOUR_US * HOUR_US
    await hours.totals(store, since_us, now_us, groups=groups, step_us=2 * HOUR_US)
    assert max(until - since for since, until in store.reads) <= HOURS_PER_READ[HOUR_US] * HOUR_US
    store.reads.clear()
    await hours.totals(store, since_us + HOUR_US, now_us, groups=groups, step_us=HOUR_US)
    assert store.reads == [(BEGIN_US + 5 * HOUR_US, now_us)]
    await record(store, now_us, now_us + 2 * HOUR_US, 100)
    await store.fold(now_us=now_us + 2 * HOUR_US)
    store.reads.clear()
    await assert_equal(hours, store, since_us + HOUR_US, now_us + 2 * HOUR_US, HOUR_US)
    assert store.reads[0] == (BEGIN_US + 5 * HOUR_US, BEGIN_US + 7 * HOUR_US)


async def test_hours_that_are_not_folded_are_those_of_the_store(store):
    await record(store, BEGIN_US, BEGIN_US + DAY_US, 500)
    await assert_equal(Hours(), store, BEGIN_US, BEGIN_US + DAY_US, HOUR_US)


async def test_quiet_hours_between_others_do_not_split_the_reads(store):
    hours = Hours()
    for hour in range(0, HOURS_PER_READ[HOUR_US], 2):
        await record(store, BEGIN_US + hour * HOUR_US, BEGIN_US + (hour + 1) * HOUR_US, 5, seed=hour)
    await record(store, BEGIN_US + 2 * DAY_US, BEGIN_US + 2 * DAY_US + MINUTE_US, 5)
    await store.fold(now_us=BEGIN_US + 2 * DAY_US + MINUTE_US)
    await assert_equal(hours, store, BEGIN_US, BEGIN_US + 2 * DAY_US + MINUTE_US, HOUR_US)
    assert len(store.reads) == 2


async def test_an_hour_without_a_later_operation_has_not_ended(store):
    hours, now_us = Hours(), BEGIN_US + 9 * HOUR_US
    await record(store, BEGIN_US, BEGIN_US + 2 * HOUR_US - MINUTE_US, 50)
    await store.fold(now_us=now_us)
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)
    await record(store, BEGIN_US + 2 * HOUR_US - MINUTE_US, BEGIN_US + 2 * HOUR_US, 50)
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)


@pytest.mark.parametrize(
    ("since_us", "until_us", "step_us"),
    [
        (BEGIN_US + MINUTE_US, BEGIN_US + DAY_US, HOUR_US),
        (BEGIN_US, BEGIN_US + DAY_US, 15 * MINUTE_US),
        (BEGIN_US - (MOST_HOURS[HOUR_US] + 1) * HOUR_US, BEGIN_US + 1, HOUR_US),
        (BEGIN_US, BEGIN_US, HOUR_US),
    ],
)
async def test_other_ranges_are_those_of_the_store(store, since_us, until_us, step_us):
    await record(store, BEGIN_US, BEGIN_US + DAY_US, 500)
    await assert_equal(Hours(), store, since_us, until_us, step_us)


async def test_hours_of_which_only_days_are_stored_are_those_of_the_store(store):
    hours, now_us = Hours(), BEGIN_US + 9 * HOUR_US
    await record(store, now_us - 6 * DAY_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    await store.clean(Retention(raw_hours=24, hour_hours=72), now_us=now_us)
    await assert_equal(hours, store, now_us - 5 * DAY_US, now_us, 2 * HOUR_US)


async def test_hours_that_were_recorded_again_after_a_clock_step_are_those_of_the_store(store):
    hours = Hours()
    await record(store, BEGIN_US, BEGIN_US + HOUR_US, 50)
    await record(store, BEGIN_US + 5 * HOUR_US, BEGIN_US + 6 * HOUR_US, 50)  # the clock is ahead
    await store.fold(now_us=BEGIN_US + 6 * HOUR_US)
    await assert_equal(hours, store, BEGIN_US, BEGIN_US + 6 * HOUR_US, HOUR_US)
    await store.move_future_rows(now_us=BEGIN_US + HOUR_US)
    for hour in range(1, 8):
        await record(store, BEGIN_US + hour * HOUR_US, BEGIN_US + (hour + 1) * HOUR_US, 50, seed=hour)
    await store.fold(now_us=BEGIN_US + 8 * HOUR_US)
    await assert_equal(hours, store, BEGIN_US, BEGIN_US + 8 * HOUR_US, HOUR_US)


async def test_hours_that_a_clean_up_removed_are_not_shown(store):
    hours, now_us = Hours(), BEGIN_US + 6 * DAY_US + HOUR_US + 5
    await record(store, BEGIN_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)
    await store.clean(Retention(raw_hours=24, hour_hours=48, day_hours=48), now_us=now_us)
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)


async def test_an_hour_whose_damaged_slot_was_removed_is_that_of_the_store(store, tmp_path):
    hours, now_us = Hours(), BEGIN_US + 3 * DAY_US + HOUR_US + 5
    await record(store, BEGIN_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    await store.clean(Retention(raw_hours=24), now_us=now_us)  # nothing is left from which the slot could be rebuilt
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)
    with contextlib.closing(sqlite3.connect(tmp_path / "performance.db", isolation_level=None)) as raw:
        raw.execute("UPDATE slot SET data = x'02' WHERE tier = 1 AND start_us = ?", (BEGIN_US + 5 * HOUR_US,))
    await store.verify()
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)


async def test_a_series_that_appears_while_its_hour_is_read_is_counted(store):
    hours, now_us = Hours(), BEGIN_US + 2 * HOUR_US + 5
    await record(store, BEGIN_US, now_us, 200)
    await store.fold(now_us=now_us)
    await hours.totals(store, BEGIN_US, now_us, groups={1: 0}, step_us=HOUR_US)  # series 2 was added a moment later
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)


async def test_hours_are_those_that_another_process_writes(store, tmp_path):
    hours = Hours()
    reader = CountingStore(await open_store(f"sqlite:///{tmp_path / 'performance.db'}", read_only=True))
    for hour in range(1, 5):
        now_us = BEGIN_US + hour * HOUR_US + 7 * MINUTE_US
        await record(store, now_us - HOUR_US, now_us, 50, seed=hour)
        await assert_equal(hours, reader, BEGIN_US, now_us, HOUR_US)
        await store.fold(now_us=now_us)
        await assert_equal(hours, reader, BEGIN_US, now_us, HOUR_US)
    await reader.close()


async def test_hours_of_another_database_are_forgotten(store, tmp_path):
    hours, now_us = Hours(), BEGIN_US + 9 * HOUR_US
    await record(store, BEGIN_US, now_us, 500)
    await store.fold(now_us=now_us)
    await assert_equal(hours, store, BEGIN_US, now_us, HOUR_US)
    other = CountingStore(await open_store(f"sqlite:///{tmp_path / 'other.db'}"))
    await other.series_ids([("a", "x"), ("b", "x"), ("c", "x")])
    await record(other, BEGIN_US, now_us, 100, seed=2)
    await other.fold(now_us=now_us)
    await assert_equal(hours, other, BEGIN_US, now_us, HOUR_US)
    await other.close()


async def test_no_more_than_a_month_is_remembered(store):
    hours = Hours()
    await record(store, BEGIN_US, BEGIN_US + 41 * DAY_US, 10_000)  # about ten in each hour
    await store.fold(now_us=BEGIN_US + 41 * DAY_US)
    for day in range(0, 36, 5):
        since_us = BEGIN_US + day * DAY_US
        await assert_equal(hours, store, since_us, since_us + 6 * DAY_US, HOUR_US)
    assert len(hours._known[HOUR_US]) == MOST_HOURS[HOUR_US]


async def test_the_summary_of_a_week_is_the_same_when_it_is_read_again(store):
    now_us = BEGIN_US + 9 * HOUR_US + 5
    await record(store, now_us - 7 * DAY_US, now_us, 3_000)
    await store.fold(now_us=now_us)
    query = Query(store, clock=lambda: now_us)
    first = await query.summary(Period.WEEK)
    assert await query.summary(Period.WEEK) == first
    assert first.timeline == await Query(store, clock=lambda: now_us).timeline(period=Period.WEEK, trim=True)
    one = await query.summary(Range(now_us - 7 * DAY_US, now_us, "a week"), services=["graph"])
    assert one.timeline != first.timeline
