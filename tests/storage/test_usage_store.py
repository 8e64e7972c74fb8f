"""The contract of UsageStore: distinct people over slots, tiers, restarts and merged ranges; counts; last uses."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter_storage import Retention
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.usage import CONTEXT, JOINED, LEFT, LOCALE, DistinctCounts, PeopleKind, UsageBatch, people_key

MIDNIGHT = 1_750_032_000_000_000  # 2025-06-16 00:00:00 UTC
LIMIT = 0.03
HASHES = np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64)


def batch(at_us, users=None, guilds=None, counts=None):
    """Users and guilds are numbers of HASHES by series."""
    found = [
        (people_key(series, kind), number)
        for kind, by_series in zip(PeopleKind, (users or {}, guilds or {}), strict=True)
        for series, numbers in by_series.items()
        for number in numbers
    ]
    keys, numbers = np.array(found, np.int64).reshape(-1, 2).T
    return UsageBatch(at_us, keys, HASHES[numbers], counts or {})


async def test_users_and_guilds_are_counted_once_by_group(store, noon):
    await store.usage.add(batch(noon, {1: [1, 2, 2], 2: [2, 3]}, {1: [7]}))
    await store.usage.add(batch(noon + 5_000_000, {1: [1, 4], 3: [9]}, {2: [7, 8]}))
    ranges = noon, noon + HOUR_US
    assert await store.usage.distinct(*ranges, groups={1: 0, 2: 1, 3: 2}) == [
        DistinctCounts(3, 1),
        DistinctCounts(2, 2),
        DistinctCounts(1, 0),
    ]
    assert await store.usage.distinct(*ranges, groups={1: 0, 2: 0}) == [DistinctCounts(4, 2)]
    assert await store.usage.distinct(*ranges, groups={3: 1}) == [DistinctCounts(0, 0), DistinctCounts(1, 0)]
    assert await store.usage.distinct(*ranges, groups={}) == []


async def test_a_range_is_widened_to_whole_hours(store, noon):
    await store.usage.add(batch(noon + 10 * MINUTE_US, {1: [1]}))
    await store.usage.add(batch(noon + HOUR_US, {1: [2]}))

    async def users(since_us, until_us):
        return (await store.usage.distinct(since_us, until_us, groups={1: 0}))[0].users

    assert await users(noon + 50 * MINUTE_US, noon + 51 * MINUTE_US) == 1
    assert await users(noon + 50 * MINUTE_US, noon + 61 * MINUTE_US) == 2
    assert await users(noon + HOUR_US, noon + 2 * HOUR_US) == 1
    assert await users(noon - HOUR_US, noon) == 0
    assert await users(noon + HOUR_US, noon) == 0


async def test_counts_are_summed_by_kind_and_name(store, noon):
    counts = {(CONTEXT, "guild"): 3, (CONTEXT, "dm"): 1, (LOCALE, "de"): 2, (JOINED, ""): 1}
    await store.usage.add(batch(noon, counts=counts))
    await store.usage.add(batch(noon + 1, counts={(CONTEXT, "guild"): 4, (LEFT, ""): 1}))
    await store.usage.add(batch(noon + 2 * HOUR_US, counts={(CONTEXT, "guild"): 5}))
    assert await store.usage.counts(noon, noon + HOUR_US, [CONTEXT, LEFT]) == {
        (CONTEXT, "guild"): 7,
        (CONTEXT, "dm"): 1,
        (LEFT, ""): 1,
    }
    assert await store.usage.counts(noon + 1, noon + 3 * HOUR_US, [CONTEXT]) == {
        (CONTEXT, "guild"): 12,
        (CONTEXT, "dm"): 1,
    }
    assert await store.usage.series_of_counts(noon + 1, noon + 3 * HOUR_US, CONTEXT, HOUR_US) == [
        (noon, {"guild": 7, "dm": 1}),
        (noon + HOUR_US, {}),
        (noon + 2 * HOUR_US, {"guild": 5}),
    ]
    assert await store.usage.series_of_counts(noon, noon + 3 * HOUR_US, CONTEXT, 2 * HOUR_US) == [
        (noon, {"guild": 7, "dm": 1}),
        (noon + 2 * HOUR_US, {"guild": 5}),
    ]
    for step_us in (0, -HOUR_US, MINUTE_US):
        with pytest.raises(ValueError, match="step_us"):
            await store.usage.series_of_counts(noon, noon + HOUR_US, CONTEXT, step_us)


async def test_the_last_use_of_a_series_is_the_latest_batch_that_had_it(store, noon):
    await store.usage.add(batch(noon + 9, {1: [1]}))
    await store.usage.add(batch(noon + 5, {1: [2]}, {2: [2]}))
    assert await store.usage.last_use([1, 2, 3, 4]) == {1: noon + 9, 2: noon + 5}
    assert await store.usage.last_use([]) == {}
    await store.fold(now_us=noon + DAY_US)
    await store.usage.add(batch(noon + 7, {1: [1], 2: [3]}))
    assert await store.usage.last_use([1, 2, 3]) == {1: noon + 9, 2: noon + 7}


async def test_an_invalid_batch_is_refused_and_nothing_is_stored(store, noon):
    for wrong in (
        batch(noon, {1: [1]}, counts={(JOINED, ""): 0}),
        batch(noon, {0: [1]}, counts={(JOINED, ""): 1}),
        batch(noon, guilds={-2: [1]}),
        batch(noon, {2**34: [1]}),
    ):
        with pytest.raises(ValueError, match=r"count|key"):
            await store.usage.add(wrong)
    assert await store.usage.distinct(0, 2**60, groups={1: 0}) == [DistinctCounts(0, 0)]
    assert await store.usage.counts(0, 2**60, [JOINED]) == {}
    assert await store.usage.last_use([1]) == {}


async def test_distinct_counts_stay_within_three_percent_over_slots_tiers_restarts_and_eight_merged_ranges(backend):
    """Ten days of three series with 30 to 30,000 people each; hours of the first days are removed on the way."""
    rng = np.random.default_rng(2)
    seen = []  # (at_us, series, person)
    store = await backend.open()
    await store.series_ids([("a", "one"), ("a", "two"), ("b", "one")])
    for hour in range(240):
        at_us = MIDNIGHT + hour * HOUR_US + 17
        people = {1: rng.integers(0, 30, 3), 2: rng.integers(0, 3_000, 90), 3: rng.zipf(1.2, 400) % 30_000}
        for half in range(2):
            await store.usage.add(batch(at_us + half, {series: found[half::2] for series, found in people.items()}))
        seen += [(at_us, series, int(one)) for series, found in people.items() for one in found]
        if hour % 40 == 39:
            await store.fold(now_us=at_us)
            await store.clean(Retention(raw_hours=48), now_us=at_us)
            await store.close()
            store = await backend.open()
    days = [MIDNIGHT + day * DAY_US for day in range(11)]
    ranges = [
        *itertools.pairwise(days),
        (days[0], days[8]),
        (days[0], days[10]),
        (days[7] + HOUR_US, days[10]),
    ]
    for since_us, until_us in ranges:
        for groups in ({1: 0, 2: 1, 3: 2}, {1: 0, 3: 0}):
            found = await store.usage.distinct(since_us, until_us, groups=groups)
            for group, counted in enumerate(found):
                series = {one for one, number in groups.items() if number == group}
                people = {who for at_us, one, who in seen if since_us <= at_us < until_us and one in series}
                assert counted.users == pytest.approx(len(people), rel=LIMIT)
                assert counted.guilds == 0
    # The first days have no hours any more: a range is widened to days.
    whole = await store.usage.distinct(days[0], days[1], groups={3: 0})
    assert await store.usage.distinct(days[0] + 5 * HOUR_US, days[0] + 6 * HOUR_US, groups={3: 0}) == whole
    await store.close()


async def test_usage_is_removed_by_age(store):
    for day in range(6):
        at_us = MIDNIGHT + day * DAY_US
        await store.usage.add(batch(at_us, {1: [day]}, counts={(JOINED, ""): 1}))
    now_us = MIDNIGHT + 5 * DAY_US + HOUR_US
    await store.fold(now_us=now_us)
    await store.clean(Retention(raw_hours=24, hour_hours=72), now_us=now_us)
    assert await store.usage.distinct(0, 2**60, groups={1: 0}) == [DistinctCounts(4, 0)]
    assert await store.usage.counts(0, 2**60, [JOINED]) == {(JOINED, ""): 4}
    assert len(await store.usage.last_use([1])) == 1


async def test_a_late_batch_counts_in_its_hour_and_in_the_folded_day(store):
    await store.usage.add(batch(MIDNIGHT, {1: [1]}))
    await store.fold(now_us=MIDNIGHT + DAY_US)
    await store.usage.add(batch(MIDNIGHT + 2 * HOUR_US, {1: [2]}))
    for _ in range(2):
        assert await store.usage.distinct(MIDNIGHT, MIDNIGHT + DAY_US, groups={1: 0}) == [DistinctCounts(2, 0)]
        await store.fold(now_us=MIDNIGHT + 2 * DAY_US)
        await store.clean(Retention(raw_hours=1), now_us=MIDNIGHT + 3 * DAY_US)


async def test_a_copy_and_a_read_only_store_have_the_usage(backend, store, noon, tmp_path):
    await store.usage.add(batch(noon, {1: range(1_000)}, {1: range(40)}, {(LOCALE, "de"): 3}))
    found = await store.usage.distinct(noon, noon + 1, groups={1: 0})
    assert found == [DistinctCounts(pytest.approx(1_000, rel=LIMIT), 40)]
    await store.backup(tmp_path / "folder.db")
    async with backend.store(read_only=True) as reader:
        assert await reader.usage.distinct(noon, noon + 1, groups={1: 0}) == found
    copied = type(backend)(tmp_path)
    copied.url = f"sqlite:///{tmp_path / 'folder.db'}"
    async with copied.store() as copy:
        assert await copy.usage.distinct(noon, noon + 1, groups={1: 0}) == found
        assert await copy.usage.counts(noon, noon + 1, [LOCALE]) == {(LOCALE, "de"): 3}
        assert await copy.usage.last_use([1]) == {1: noon}


async def test_a_cancelled_batch_is_stored_completely_or_not_at_all(store, noon):
    for number in range(20):
        task = asyncio.create_task(store.usage.add(batch(noon, {1: [number]}, counts={(JOINED, ""): 1})))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.series_ids([])  # waits until the writer has ended the cancelled calls
    (found,) = await store.usage.distinct(noon, noon + 1, groups={1: 0})
    assert (await store.usage.counts(noon, noon + 1, [JOINED])).get((JOINED, ""), 0) == found.users


PEOPLE = st.dictionaries(st.integers(1, 3), st.lists(st.integers(0, 60), max_size=12), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.tuples(st.integers(-30, 3), PEOPLE, PEOPLE)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
        st.tuples(st.sampled_from(["fold", "clean", "reopen"]), st.none()),
    ),
    min_size=1,
    max_size=25,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(0, 60), st.integers(1, 60))
def test_distinct_counts_agree_with_sets(backend_class, steps, from_hour, hours):
    """``add`` passes the hour relative to now, so batches are late, too; a clean-up keeps every day's slot."""

    async def run():
        with tempfile.TemporaryDirectory() as folder:
            backend = backend_class(Path(folder))
            store = await backend.open()
            await store.series_ids([("a", "one"), ("a", "two"), ("b", "one")])
            now_us, seen, joined = MIDNIGHT + 40 * HOUR_US, set(), Counter()
            for step, value in steps:
                if step == "add":
                    late, users, guilds = value
                    at_us = now_us + late * HOUR_US
                    await store.usage.add(batch(at_us, users, guilds, {(JOINED, ""): 1}))
                    joined[at_us // HOUR_US] += 1
                    for kind, people in ((0, users), (1, guilds)):
                        seen |= {(at_us // HOUR_US, kind, one, who) for one, found in people.items() for who in found}
                elif step == "wait":
                    now_us += value * HOUR_US
                elif step == "fold":
                    await store.fold(now_us=now_us)
                elif step == "clean":
                    await store.fold(now_us=now_us)
                    await store.clean(Retention(raw_hours=48), now_us=now_us)
                else:
                    await store.close()
                    store = await backend.open()
            since = MIDNIGHT // HOUR_US + from_hour // 24 * 24
            until = since + -(-hours // 24) * 24  # whole days, which a clean-up does not widen
            found = await store.usage.distinct(since * HOUR_US, until * HOUR_US, groups={1: 0, 2: 1, 3: 1})
            counts = await store.usage.counts(since * HOUR_US, until * HOUR_US, [JOINED])
            everything = await store.usage.distinct(0, 2**60, groups={1: 0, 2: 0, 3: 0})
            await store.close()
        inside = [one for one in seen if since <= one[0] < until]
        assert [(one.users, one.guilds) for one in found] == [
            tuple(
                len({one[3] for one in inside if one[1] == kind and (one[2] == 1) == (group == 0)}) for kind in (0, 1)
            )
            for group in (0, 1)
        ]
        assert counts.get((JOINED, ""), 0) == sum(one for hour, one in joined.items() if since <= hour < until)
        assert everything[0].users == len({one[3] for one in seen if one[1] == 0})

    asyncio.run(run())
