"""Several processes on one database: each operation is counted once, whoever folds, merges or removes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter

import psycopg
import pytest

from cogmeter_storage import Retention, StorageError, open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.process import Process

ALL = {1: 0, 2: 0, 3: 0}
NAMES = [("alpha", "one"), ("alpha", "two"), ("beta", "one")]
WRITER = """
import asyncio, random, sys
from cogmeter_storage import open_store
from cogmeter_storage.process import Process

async def main(url, name, start_us, count):
    store = await open_store(url, process=Process(name))
    ids = await store.series_ids([("alpha", "one"), ("alpha", name)])
    randoms = random.Random(name)
    at_us = start_us
    for _ in range(count // 50):
        rows = []
        for _ in range(50):
            at_us += randoms.randrange(2_000_000)
            outcome = randoms.choice([0, 0, 0, 1])
            rows.append((randoms.choice(ids), at_us, randoms.randrange(10**6), outcome, None, None))
        await store.append([rows[:20], rows[20:]], now_us=at_us)
        if randoms.random() < 0.2:
            await store.fold(now_us=at_us)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


async def count(store, since_us, until_us, groups=ALL):
    return int((await store.totals(since_us, until_us, groups=groups)).counts.sum())


async def test_two_processes_count_in_one_minute_and_each_alone(start, append, make_rows, noon):
    one, two = await start("one"), await start("two")
    assert await one.series_ids(NAMES) == await two.series_ids(NAMES) == [1, 2, 3]
    await append(one, make_rows(30, noon))
    await append(two, make_rows(10, noon + 500_000))
    for store in (one, two):
        assert await count(store, noon, noon + HOUR_US) == 40
        assert await count(store.of_process("one"), noon, noon + HOUR_US) == 30
        assert await count(store.of_process("two"), noon, noon + HOUR_US) == 10
        assert await count(store.of_process("three"), noon, noon + HOUR_US) == 0
    newest = await one.recent([1, 2, 3], noon, noon + HOUR_US, limit=100)
    assert [operation.end_us for operation in newest] == sorted((one.end_us for one in newest), reverse=True)
    assert len({operation.id for operation in newest}) == 40
    assert len(await one.of_process("two").page(None, 0, noon + HOUR_US, limit=100)) == 10
    assert [len(chunk) async for chunk in one.of_process("two").stream(None, 0, noon + HOUR_US)] == [10]
    slowest = await two.slowest([1, 2, 3], noon, noon + HOUR_US, limit=2)
    assert [operation.duration_us for operation in slowest] == [30_000, 29_000]


async def test_folding_and_merging_by_any_process_change_no_total(start, append, make_rows, noon):
    stores = [await start(name) for name in ("one", "two", "three")]
    await stores[0].series_ids(NAMES)
    for place, store in enumerate(stores):
        await append(store, make_rows(200, noon + place * 7_000_000, gap_us=10 * MINUTE_US))
    end_us = noon + 3 * DAY_US
    spans = [
        (noon, noon + HOUR_US),
        (noon, noon + DAY_US),
        (noon - DAY_US, end_us),
        (noon + HOUR_US, noon + 2 * HOUR_US),
    ]
    before = [await count(stores[0], *span) for span in spans]
    assert before[2] == 600
    for now_us in (noon + HOUR_US, noon + DAY_US, end_us):
        await stores[1].fold(now_us=now_us)
        assert [await count(stores[2], *span) for span in spans] == before
    await stores[2].append([], now_us=end_us)  # seals its last minute
    await stores[2].fold(now_us=end_us)
    assert [await count(stores[0], *span) for span in spans] == before
    parts = [await count(stores[0].of_process(name), *spans[1]) for name in ("one", "two", "three")]
    assert sum(parts) == before[1]


async def test_a_late_minute_of_another_process_is_added_to_folded_and_merged_hours(start, append, make_rows, noon):
    one, two, late = await start("one"), await start("two"), await start("late")
    await one.series_ids(NAMES)
    for store in (one, two):
        await append(store, make_rows(60, noon, gap_us=30_000_000), now_us=noon + 2 * DAY_US)
    await one.fold(now_us=noon + 2 * DAY_US)
    await append(late, make_rows(5, noon + 10 * MINUTE_US), now_us=noon + 2 * DAY_US)
    for _ in range(2):
        for span in (HOUR_US, DAY_US, 2 * DAY_US):
            assert await count(one, noon - noon % DAY_US, noon + span) == 125
        await two.fold(now_us=noon + 2 * DAY_US)


async def test_a_clean_up_by_one_process_removes_the_days_of_all(start, append, make_rows, noon):
    one, two = await start("one"), await start("two")
    await one.series_ids(NAMES)
    now_us = noon + 4 * DAY_US
    for store in (one, two):
        await append(store, make_rows(96, noon, gap_us=HOUR_US), now_us=now_us)
    await one.fold(now_us=now_us)
    cleaned = await one.clean(Retention(raw_hours=24), now_us=now_us)
    assert cleaned.operations == 2 * 60  # from noon to the midnight before yesterday's noon
    left = [one async for chunk in two.stream(None, 0, now_us) for one in chunk]
    assert len(left) == 192 - cleaned.operations
    assert min(operation.end_us for operation in left) == (now_us - DAY_US) // DAY_US * DAY_US
    assert await count(two, 0, now_us) == 192
    await append(two, make_rows(3, now_us))  # the partitions it remembers are looked up again
    assert await count(one, 0, now_us + HOUR_US) == 195


async def test_a_clean_up_keeps_the_hours_of_minutes_that_are_not_folded_yet(start, append, make_rows, noon):
    one, late = await start("one"), await start("late")
    await one.series_ids(NAMES)
    now_us, hour_us = noon + 4 * DAY_US, noon + DAY_US
    await append(one, make_rows(96, noon, gap_us=HOUR_US), now_us=now_us)
    await one.fold(now_us=now_us)
    await append(late, make_rows(5, hour_us), now_us=now_us)  # into an hour that is folded already
    cleaned = await one.clean(Retention(raw_hours=24, hour_hours=24), now_us=now_us)
    assert (cleaned.operations, (await one.status()).operations) == (65, 36)
    for _ in range(2):
        assert await count(one, hour_us, hour_us + HOUR_US) == 6
        assert await count(one, 0, now_us + HOUR_US) == 101
        await one.fold(now_us=now_us)
    await one.clean(Retention(raw_hours=24, hour_hours=24), now_us=now_us)
    assert await count(one, 0, now_us + HOUR_US) == 101


async def test_eight_processes_at_once_lose_and_double_nothing(url, start, noon):
    command = [sys.executable, "-c", WRITER, url]
    writers = [
        subprocess.Popen([*command, f"writer {number}", str(noon), "1000"], stderr=subprocess.PIPE)
        for number in range(8)
    ]
    failed = [error for writer in writers if (error := writer.communicate(timeout=100)[1])]
    assert not failed, failed[0].decode()
    reader = await start("reader")
    series = await reader.series()
    groups = {one.id: 0 for one in series}
    assert {one.operation for one in series} == {"one", *(f"writer {number}" for number in range(8))}
    assert await count(reader, noon, noon + DAY_US, groups) == 8000
    await reader.fold(now_us=noon + 2 * DAY_US)
    assert await count(reader, noon, noon + DAY_US, groups) == 8000
    assert [await count(reader.of_process(f"writer {n}"), noon, noon + DAY_US, groups) for n in range(8)] == [1000] * 8
    everything = [one async for chunk in reader.stream(None, 0, noon + DAY_US) for one in chunk]
    assert len({one.id for one in everything}) == 8000
    by_name = Counter(one.operation for one in everything)
    for one in series:
        assert await count(reader, noon, noon + DAY_US, {one.id: 0}) == by_name[one.operation]


async def test_sixty_four_processes_may_start_at_once_on_an_empty_database(url):
    stores = await asyncio.gather(*(open_store(url, process=Process(f"process {number}")) for number in range(64)))
    assert len({record.process.name for record in await stores[0].processes()}) == 64
    await asyncio.gather(*(store.series_ids([("alpha", "one"), (f"s{n}", "x")]) for n, store in enumerate(stores)))
    assert len(await stores[0].series()) == 65
    for store in stores:
        await store.close()


async def test_processes_are_known_by_their_last_start(url, start):
    one = await start("one")
    two = await open_store(url, process=Process("two", version="1.1", shards="2, 3"))
    await two.close()
    first, second = await one.processes()
    assert (first.process, first.ended) == (Process("one", "1.0"), False)
    assert (second.process, second.ended) == (Process("two", "1.1", "2, 3"), True)
    assert 0 <= first.silent_us < 60_000_000
    again = await open_store(url, process=Process("two"))
    assert [record.ended for record in await one.processes()] == [False, False]
    await again.close()


async def test_a_process_that_was_silent_for_minutes_is_ended_by_another_and_continues_in_a_new_run(
    url, start, append, make_rows, noon
):
    one, two = await start("one"), await start("two")
    await one.series_ids(NAMES)
    await append(one, make_rows(30, noon))
    with psycopg.connect(url) as raw:
        raw.execute("UPDATE cogmeter.run SET seen_us = seen_us - 600000000 WHERE process = 'one'")
    await two.fold(now_us=noon + HOUR_US)
    assert [record.ended for record in await two.processes()] == [True, False]
    rows = make_rows(30, noon + MINUTE_US)
    with pytest.raises(StorageError, match="no sign of life") as caught:
        await append(one, rows)
    assert not caught.value.permanent
    assert await append(one, rows) == 30
    assert [record.ended for record in await two.processes()] == [False, False]
    assert await count(two, noon, noon + HOUR_US) == 60
    assert len(await two.recent([1, 2, 3], noon, noon + HOUR_US, limit=100)) == 60


async def test_a_newer_schema_is_refused_and_left_alone(url, start):
    await start("one")
    with psycopg.connect(url) as raw:
        raw.execute("UPDATE cogmeter.version SET version = 1000")
    with pytest.raises(StorageError, match="schema version 1000, later than") as caught:
        await open_store(url)
    assert caught.value.permanent


async def test_each_process_has_values_and_times_of_its_own(start, append, make_rows, noon):
    one, two = await start("one"), await start("two")
    await one.series_ids(NAMES)
    assert one.own is one.own
    await one.own.set_value("cursor", b"1")
    await two.own.set_value("cursor", b"2")
    assert [await store.own.get_value("cursor") for store in (one, two)] == [b"1", b"2"]
    assert await two.of_process("one").get_value("cursor") == b"1"
    assert await one.get_value("cursor") is None
    keys = await asyncio.gather(*(store.add_value("key", name) for store, name in ((one, b"a"), (two, b"b"))))
    assert keys[0] == keys[1] == await one.get_value("key")
    await append(one, make_rows(30, noon))
    await append(two, make_rows(10, noon + HOUR_US))
    assert [(await store.own.status()).operations for store in (one, two)] == [30, 10]
    assert (await one.own.status()).last_end_us == noon + 29_000_000
    assert (await one.status()).last_end_us == noon + HOUR_US + 9_000_000
