"""Properties of the tables of usage that only the file shows: merged parts, folded days, damage, clock, size."""

from __future__ import annotations

import contextlib
import sqlite3
import time

import numpy as np
import pytest

from cogmeter_storage import Retention, open_store
from cogmeter_storage.base import DetachedStoreError
from cogmeter_storage.model import DAY_US, HOUR_US, Person
from cogmeter_storage.sql.usage import MAX_PARTS
from cogmeter_storage.usage import JOINED, PeopleKind, UsageBatch, people_key

MIDNIGHT = 1_750_032_000_000_000  # 2025-06-16 00:00:00 UTC


def batch(at_us, *people, counts=None):
    """Users of series 1."""
    hashes = np.array([one << 40 for one in people], np.uint64)
    return UsageBatch(at_us, np.full(hashes.size, people_key(1, PeopleKind.USER)), hashes, counts or {})


def read(path, query, *values):
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        return raw.execute(query, values).fetchall()


async def users(store, since_us=0, until_us=2**60):
    (found,) = await store.usage.distinct(since_us, until_us, groups={1: 0})
    return found.users


async def test_parts_are_merged_into_the_slot_of_their_hour(path, url, noon):
    store = await open_store(url)
    for number in range(MAX_PARTS):
        await store.usage.add(batch(noon + number % 2 * HOUR_US, number))
    assert read(path, "SELECT count(*) FROM usage_part") == [(MAX_PARTS,)]
    assert await users(store) == MAX_PARTS
    await store.usage.add(batch(noon, MAX_PARTS))
    assert read(path, "SELECT count(*) FROM usage_part") == [(0,)]
    assert read(path, "SELECT tier, start_us FROM usage_slot ORDER BY 2") == [(1, noon), (1, noon + HOUR_US)]
    assert await users(store) == MAX_PARTS + 1
    assert await users(store, noon, noon + HOUR_US) == MAX_PARTS // 2 + 1
    await store.close()


async def test_a_fold_leaves_the_open_hour_in_parts_and_folds_ended_days_once(path, url):
    store = await open_store(url)
    for hour in (0, 5, 24, 30):
        await store.usage.add(batch(MIDNIGHT + hour * HOUR_US, hour))
    for _ in range(2):
        await store.fold(now_us=MIDNIGHT + 30 * HOUR_US + 1)
        slots = read(path, "SELECT tier, (start_us - ?) / ? FROM usage_slot ORDER BY 1, 2", MIDNIGHT, HOUR_US)
        assert slots == [(1, 0), (1, 5), (1, 24), (2, 0)]
        assert read(path, "SELECT count(*) FROM usage_part") == [(1,)]
    await store.fold(now_us=MIDNIGHT + 2 * DAY_US)
    assert read(path, "SELECT count(*) FROM usage_slot WHERE tier = 2") == [(2,)]
    assert await users(store) == 4
    await store.close()


@pytest.mark.parametrize("tier", [1, 2])
@pytest.mark.parametrize("change", ["data = x'00'", "data = substr(data, 1, 20)", "start_us = start_us + 86400000000"])
async def test_a_damaged_slot_is_skipped_counted_once_and_moved_by_verify(path, url, tier, change):
    store = await open_store(url)
    await store.usage.add(batch(MIDNIGHT, 1))
    await store.usage.add(batch(MIDNIGHT + 2 * DAY_US, 2, 3))
    await store.fold(now_us=MIDNIGHT + 4 * DAY_US)
    read(path, f"UPDATE usage_slot SET {change} WHERE tier = ? AND start_us = ?", tier, MIDNIGHT)
    # The hours replace a damaged day. A day hides a damaged hour.
    for _ in range(2):
        assert await users(store) == 3
        assert (await store.verify()).rows == 1
    assert read(path, "SELECT kind, result FROM damage") == [("usage_slot", "removed")]
    await store.fold(now_us=MIDNIGHT + 4 * DAY_US)
    assert await users(store) == 3
    await store.close()


async def test_a_damaged_slot_does_not_block_what_is_added_to_it(path, url, noon):
    store = await open_store(url)
    await store.usage.add(batch(noon, 1))
    await store.fold(now_us=noon + 2 * DAY_US)
    read(path, "UPDATE usage_slot SET data = x'00'")
    for number in range(MAX_PARTS + 1):
        await store.usage.add(batch(noon, 100 + number))
    read(path, "UPDATE usage_slot SET data = x'00' WHERE tier = 2")
    await store.fold(now_us=noon + 2 * DAY_US)
    assert await users(store) == MAX_PARTS + 1
    await store.verify()
    await store.fold(now_us=noon + 2 * DAY_US)
    assert await users(store) == MAX_PARTS + 1
    await store.close()


async def test_a_day_whose_hours_are_all_damaged_is_not_folded_again_and_again(path, url):
    store = await open_store(url)
    for day in range(2):
        for number in range(MAX_PARTS + 1):
            await store.usage.add(batch(MIDNIGHT + day * DAY_US, number))
    read(path, "UPDATE usage_slot SET data = x'00' WHERE start_us = ?", MIDNIGHT)
    await store.fold(now_us=MIDNIGHT + 3 * DAY_US)
    assert await users(store) == MAX_PARTS + 1
    await store.close()


async def test_usage_of_the_future_is_set_apart_and_the_present_day_is_folded_again(path, url, monkeypatch):
    today_us = MIDNIGHT + 600 * DAY_US  # a clock that is behind the release sets nothing apart
    now_us = today_us + 12 * HOUR_US
    monkeypatch.setattr(time, "time_ns", lambda: now_us * 1000)
    store = await open_store(url)
    await store.usage.add(batch(now_us, 1))
    future = batch(now_us + 30 * DAY_US, 2, counts={(JOINED, ""): 1})
    await store.usage.add(future)
    await store.usage.add(batch(now_us + 3 * HOUR_US, 3))
    await store.fold(now_us=now_us + 40 * DAY_US)
    assert await users(store) == 3
    await store.close()
    store = await open_store(url)
    assert await users(store) == 1
    assert await store.usage.counts(0, 2**60, [JOINED]) == {}
    assert await store.usage.last_use([1]) == {1: now_us}
    await store.usage.add(batch(now_us + HOUR_US, 4))
    await store.fold(now_us=now_us + DAY_US)
    assert await users(store, today_us, today_us + DAY_US) == 2
    kinds = read(path, "SELECT kind, count(*) FROM set_apart GROUP BY 1")
    assert kinds == [("usage_count", 1), ("usage_slot", 4)]
    assert not (await store.status()).clock
    await store.close()


async def test_a_person_is_not_in_the_file_under_any_id(path, url, noon):
    """The store gets hashes only; none of their decimal or binary forms is stored."""
    store = await open_store(url)
    hashes = np.random.default_rng(3).integers(0, 2**64, 900, dtype=np.uint64)
    keys = np.repeat([2, 4, 3], [900, 30, 400])
    await store.usage.add(UsageBatch(noon, keys, np.concatenate([hashes, hashes[:30], hashes[:400]])))
    await store.fold(now_us=noon + 2 * DAY_US)
    assert (await store.erase_person(Person(("user", "0a0b0c0d"), "4711"))).rows == 0
    await store.vacuum()
    await store.close()
    content = path.read_bytes()
    for one in hashes.tolist():
        for form in (str(one).encode(), f"{one:x}".encode(), one.to_bytes(8, "big"), one.to_bytes(8, "little")):
            assert form not in content


async def test_usage_takes_a_tenth_of_the_disk_that_the_operations_take(path, url):
    """Four days, 40 commands with 50 operations an hour each, by people who come back."""
    rng = np.random.default_rng(4)
    store = await open_store(url)
    ids = await store.series_ids([("discord.commands", f"command {number}") for number in range(40)])
    hashes = rng.integers(0, 2**64, 3_000, dtype=np.uint64)
    sizes = []
    for hour in range(4 * 24):
        at_us = MIDNIGHT + hour * HOUR_US
        rows = [
            (ids[int(rng.integers(40))], at_us + number * 1_800_000, int(rng.lognormal(12)), 0, None, None)
            for number in range(2_000)
        ]
        await store.append([rows[:1000], rows[1000:]], now_us=at_us + HOUR_US)
    await store.fold(now_us=MIDNIGHT + 4 * DAY_US)
    await store.vacuum()
    sizes.append((await store.status()).size_bytes)
    for hour in range(4 * 24):
        series, found = np.repeat(ids, 50), rng.zipf(1.3, 50 * len(ids)) % 3_000
        keys = np.concatenate([series * 2, series * 2 + 1])
        both = np.concatenate([hashes[found], hashes[found // 20]])
        await store.usage.add(UsageBatch(MIDNIGHT + hour * HOUR_US, keys, both))
    await store.fold(now_us=MIDNIGHT + 4 * DAY_US)
    await store.clean(Retention(), now_us=MIDNIGHT + 4 * DAY_US)
    await store.vacuum()
    sizes.append((await store.status()).size_bytes)
    await store.close()
    assert sizes[1] - sizes[0] < 0.1 * sizes[0]


async def test_usage_is_not_lost_with_the_write_ahead_log(path, url, noon):
    """The rows that only the open files have are written again, and nothing is counted twice."""
    store = await open_store(url)
    await store.usage.add(batch(noon, counts={(JOINED, ""): 2}))
    await store.usage.add(batch(noon, 1, 2))
    await store.fold(now_us=noon)  # a checkpoint
    for number in range(MAX_PARTS + 5):
        await store.usage.add(batch(noon, number))
    await store.usage.add(batch(noon, counts={(JOINED, ""): 3}))
    path.with_name(f"{path.name}-wal").unlink()
    with pytest.raises(DetachedStoreError):
        await store.usage.add(batch(noon, 99))
    store, _ = await store.reopen()
    assert await users(store) == MAX_PARTS + 5
    assert await store.usage.counts(0, 2**60, [JOINED]) == {(JOINED, ""): 5}
    await store.close()
