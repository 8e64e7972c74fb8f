"""Folded hours are added up once by group, and the totals are those that the store returns."""

import random

import numpy as np
import pytest

from cogmeter.query.folded_groups import MOST_RANGES, FoldedGroups
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Retention

BEGIN_US = 1_800_000_000_000_000 // DAY_US * DAY_US
SERIES = 40
GROUPS = {series: series % 7 for series in range(1, SERIES)}  # the last series has no group


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    await store.series_ids([("discord.commands", f"command-{number}") for number in range(SERIES)])
    yield store
    await store.close()


@pytest.fixture
def reads(store, monkeypatch):
    """Return the ranges that are read."""
    reads, totals = [], store.totals

    async def noted(since_us, until_us, **options):
        reads.append((since_us, until_us))
        return await totals(since_us, until_us, **options)

    monkeypatch.setattr(store, "totals", noted)
    return reads


async def record(store, since_us, until_us, count, seed=1):
    chance = random.Random(seed)
    ends = sorted(chance.randrange(since_us, until_us) for _ in range(count))
    rows = [
        (chance.randint(1, SERIES), end, chance.randrange(1, 10**7), chance.randrange(5), None, None) for end in ends
    ]
    await store.append([rows], now_us=until_us)


async def assert_equal(folded, store, since_us, until_us, groups=GROUPS):
    read = await folded.totals(store, since_us, until_us, groups=groups)
    expected = await store.totals(since_us, until_us, groups=groups)
    assert (read.since_us, read.until_us) == (expected.since_us, expected.until_us)
    for name in ("edges_us", "outcomes", "sum_us", "max_us", "buckets"):
        np.testing.assert_array_equal(getattr(read, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("back_us", [HOUR_US, 6 * HOUR_US, DAY_US, 3 * DAY_US, 3 * DAY_US + 7 * MINUTE_US])
async def test_totals_are_those_of_the_store_while_operations_are_recorded(store, back_us):
    folded, begin_us = FoldedGroups(), BEGIN_US + 4 * DAY_US + 17 * MINUTE_US
    await record(store, BEGIN_US, begin_us, 3_000)
    await store.fold(now_us=begin_us)
    for minutes in (0, 1, 50, 118, 1_500):
        now_us = begin_us + minutes * MINUTE_US + 30_000_000
        await record(store, now_us - 20_000_000, now_us, 40, seed=minutes)
        await store.fold(now_us=now_us)
        for until_us in (now_us, now_us // HOUR_US * HOUR_US, now_us - 5 * HOUR_US):
            await assert_equal(folded, store, until_us - back_us, until_us)
            await assert_equal(folded, store, until_us - back_us, until_us, groups=dict.fromkeys(GROUPS, 0))


async def test_folded_hours_are_read_again_only_when_one_was_added_or_changed(store, reads):
    folded, now_us = FoldedGroups(), BEGIN_US + 3 * DAY_US + 17 * MINUTE_US
    await record(store, BEGIN_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    folded_range, rest = (BEGIN_US, BEGIN_US + 3 * DAY_US), (BEGIN_US + 3 * DAY_US, now_us)
    await folded.totals(store, BEGIN_US, now_us, groups=GROUPS)
    assert reads == [folded_range, rest]
    await folded.totals(store, BEGIN_US, now_us, groups=GROUPS)
    assert reads[2:] == [rest]
    await folded.totals(store, BEGIN_US, now_us, groups={**GROUPS, SERIES: 0})
    assert reads[3:] == [folded_range, rest]
    reads.clear()
    await record(store, now_us, now_us + HOUR_US, 20)
    await store.fold(now_us=now_us + HOUR_US)
    await folded.totals(store, BEGIN_US, now_us + HOUR_US, groups=GROUPS)
    assert reads[0] == (BEGIN_US, BEGIN_US + 3 * DAY_US + HOUR_US)


async def test_totals_are_those_of_the_store_after_a_clean_up(store):
    folded, now_us = FoldedGroups(), BEGIN_US + 6 * DAY_US + HOUR_US + 5
    await record(store, BEGIN_US, now_us, 2_000)
    await store.fold(now_us=now_us)
    since_us = BEGIN_US + 7 * MINUTE_US
    await assert_equal(folded, store, since_us, now_us)
    for retention in (Retention(raw_hours=24), Retention(raw_hours=24, hour_hours=72)):
        await store.clean(retention, now_us=now_us)
        for back_us in (now_us - since_us, 4 * DAY_US, 3 * DAY_US + 7 * MINUTE_US, DAY_US):
            await assert_equal(folded, store, now_us - back_us, now_us)


async def test_sums_of_another_database_are_forgotten(store, tmp_path):
    folded, now_us = FoldedGroups(), BEGIN_US + 9 * HOUR_US
    other = await open_store(f"sqlite:///{tmp_path / 'other.db'}")
    await other.series_ids([("a", f"x{number}") for number in range(SERIES)])
    for number, each in enumerate((store, other)):
        await record(each, BEGIN_US, now_us, 500, seed=number)
        await each.fold(now_us=now_us)
        await assert_equal(folded, each, BEGIN_US, now_us)
    await other.close()


async def test_few_ranges_are_remembered(store, monkeypatch):
    folded, now_us = FoldedGroups(), BEGIN_US + DAY_US
    await record(store, BEGIN_US, now_us, 500)
    await store.fold(now_us=now_us)
    for hour in range(20):
        await assert_equal(folded, store, BEGIN_US + hour * HOUR_US, now_us)
    assert len(folded._known) == MOST_RANGES
    monkeypatch.setattr("cogmeter.query.folded_groups.MOST_VALUES", 10)
    await assert_equal(folded, store, BEGIN_US, now_us)
    assert not folded._known
