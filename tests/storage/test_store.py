"""The contract of base.Store, checked for every back end."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from cogmeter_storage import Marker, Outcome, Retention, StorageError, TraceRecord
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

ALL = {1: 0, 2: 0, 3: 0}


async def test_a_series_keeps_its_id_and_a_new_one_gets_its_own(store):
    again = await store.series_ids([("beta", "one"), ("new", "one"), ("alpha", "one"), ("new", "one")])
    assert again == [3, 4, 1, 4]
    assert [(one.id, one.service, one.operation) for one in await store.series()] == [
        (1, "alpha", "one"),
        (2, "alpha", "two"),
        (3, "beta", "one"),
        (4, "new", "one"),
    ]


async def test_an_operation_comes_back_as_it_was_recorded(store, append, noon):
    await append(store, [(2, noon + 5, 1234, 2, "HTTPException: 503", '{"model": "x", "n": [1]}')])
    (operation,) = await store.recent([1, 2, 3], noon, noon + MINUTE_US, limit=10)
    assert (operation.service, operation.operation) == ("alpha", "two")
    assert (operation.end_us, operation.duration_us, operation.start_us) == (noon + 5, 1234, noon + 5 - 1234)
    assert operation.outcome is Outcome.UPSTREAM
    assert operation.error == "HTTPException: 503"
    assert operation.metadata == {"model": "x", "n": [1]}


async def test_append_says_how_many_rows_it_wrote(store, append, make_rows, noon):
    assert await append(store, make_rows(250, noon)) == 250
    assert await store.append([], now_us=noon) == 0
    assert await store.append([[], []], now_us=noon) == 0
    assert (await store.status()).operations == 250


async def test_totals_include_the_open_minute_and_say_what_they_cover(store, append, make_rows, noon):
    await append(store, make_rows(90, noon))
    totals = await store.totals(noon + 1, noon + 61_000_000, groups={1: 0, 3: 1})
    assert (totals.since_us, totals.until_us) == (noon, noon + 2 * MINUTE_US)
    assert totals.counts.tolist() == [[30, 30]]
    assert totals.max_us.tolist() == [[88_000, 90_000]]
    assert totals.edges_us.tolist() == [noon]


async def test_totals_in_bins_start_at_the_covered_start(store, append, make_rows, noon):
    await append(store, make_rows(180, noon))
    totals = await store.totals(noon + MINUTE_US, noon + 3 * MINUTE_US, groups=ALL, step_us=MINUTE_US)
    assert totals.edges_us.tolist() == [noon + MINUTE_US, noon + 2 * MINUTE_US]
    assert totals.counts.tolist() == [[60], [60]]
    assert totals.failures.tolist() == [[6], [6]]


async def test_totals_of_nothing_are_empty(store, noon):
    assert (await store.totals(noon, noon + HOUR_US, groups=ALL)).counts.tolist() == [[0]]
    assert (await store.totals(noon, noon, groups=ALL, step_us=MINUTE_US)).counts.shape == (0, 1)
    assert (await store.totals(noon, noon + 1, groups={})).counts.shape == (1, 0)


async def test_a_step_between_minutes_is_refused(store, noon):
    with pytest.raises(ValueError, match="multiple of a minute"):
        await store.totals(noon, noon + HOUR_US, groups=ALL, step_us=1_000_000)


async def test_a_minute_is_sealed_by_the_clock_and_never_twice(store, append, make_rows, noon):
    await append(store, make_rows(30, noon))
    for _ in range(2):
        assert await store.append([], now_us=noon + MINUTE_US) == 0
    totals = await store.totals(noon, noon + HOUR_US, groups=ALL)
    assert totals.counts.tolist() == [[30]]


async def test_a_clock_that_jumps_back_moves_no_operation_into_the_past(store, append, make_rows, noon):
    await append(store, make_rows(30, noon))
    await append(store, make_rows(5, noon - HOUR_US), now_us=noon - HOUR_US)
    status = await store.status()
    assert status.clock.clamped == 5
    assert status.last_end_us == noon + 29_000_000
    assert (await store.totals(noon, noon + MINUTE_US, groups=ALL)).counts.tolist() == [[35]]
    # Sealed by a clock that then jumps back: the next one ends behind the sealed minute.
    await store.append([], now_us=noon + MINUTE_US)
    await append(store, [(1, noon + 30_000_000, 5, 0, None, None)])
    assert (await store.status()).last_end_us == noon + MINUTE_US


async def test_folding_again_writes_nothing(store, append, make_rows, noon):
    await append(store, make_rows(300, noon, gap_us=MINUTE_US))
    assert await store.fold(now_us=noon + 3 * HOUR_US) == 3
    assert await store.fold(now_us=noon + 3 * HOUR_US) == 0
    assert await store.fold(now_us=noon + DAY_US) == 3  # two hours and the day that ended meanwhile
    totals = await store.totals(noon, noon + 5 * HOUR_US, groups=ALL)
    assert totals.counts.tolist() == [[300]]


async def test_a_minute_that_comes_after_its_hour_was_folded_is_counted_in_it(store, append, make_rows, noon):
    await append(store, make_rows(10, noon))
    await store.append([], now_us=noon + MINUTE_US)
    await store.fold(now_us=noon + DAY_US)
    late = make_rows(10, noon + 30 * MINUTE_US)
    await append(store, late, now_us=noon + DAY_US)
    await store.fold(now_us=noon + DAY_US)
    for until in (noon + HOUR_US, noon + DAY_US):
        assert (await store.totals(noon - noon % DAY_US, until, groups=ALL)).counts.tolist() == [[20]]
    later = make_rows(10, noon + 3 * HOUR_US)
    await append(store, later, now_us=noon + DAY_US)
    await store.fold(now_us=noon + DAY_US)
    for until in (noon + 4 * HOUR_US, noon + DAY_US):
        assert (await store.totals(noon - noon % DAY_US, until, groups=ALL)).counts.tolist() == [[30]]


async def test_the_version_of_an_hour_changes_with_its_statistics(store, append, make_rows, noon):
    everything = (noon - DAY_US, noon + DAY_US)
    await append(store, make_rows(30, noon))
    await store.append([], now_us=noon + MINUTE_US)
    await append(store, make_rows(30, noon + 20 * MINUTE_US))
    await store.fold(now_us=noon + HOUR_US)
    assert await store.hour_versions(*everything) == {}  # its last minute is open
    await append(store, make_rows(30, noon + 30 * MINUTE_US))  # these minutes are added to the folded hour
    await append(store, make_rows(30, noon + 2 * HOUR_US))
    await store.fold(now_us=noon + 2 * HOUR_US)
    first = await store.hour_versions(*everything)
    assert list(first) == [noon]
    await append(store, make_rows(30, noon + 3 * HOUR_US))
    await store.fold(now_us=noon + 3 * HOUR_US)
    assert (await store.hour_versions(*everything)).items() > first.items()
    assert await store.hour_versions(noon, noon + HOUR_US - 1) == {}
    assert await store.hour_versions(noon, noon + HOUR_US) == first
    await append(store, make_rows(1, noon + 2 * DAY_US))  # the last minute before is no longer open
    await store.fold(now_us=noon + 2 * DAY_US)
    await store.clean(Retention(raw_hours=1, hour_hours=1), now_us=noon + 2 * DAY_US)
    assert await store.hour_versions(*everything) is None  # only days are left


async def test_recent_lists_the_newest_first_and_only_what_was_asked(store, append, make_rows, noon):
    rows = make_rows(200, noon)
    await append(store, rows)
    ends = [one.end_us for one in await store.recent([1], noon, noon + 150_000_001, limit=5)]
    assert ends == [end for series, end, *_ in reversed(rows) if series == 1 and end <= noon + 150_000_000][:5]
    failed = await store.recent([1, 2, 3], noon, noon + HOUR_US, limit=100, failed=True)
    assert [one.end_us for one in failed] == [row[1] for row in reversed(rows) if row[3] == 1]
    assert await store.recent([], noon, noon + HOUR_US, limit=5) == []
    assert await store.recent([1], noon, noon + HOUR_US, limit=0) == []
    assert await store.recent([1], noon + HOUR_US, noon, limit=5) == []


async def test_slowest_lists_the_slowest_first_and_of_equal_ones_the_newest(store, append, noon):
    rows = [(1, noon + i * MINUTE_US, 500 if i % 7 else 900, 0, None, None) for i in range(100)]
    await append(store, rows)
    await store.fold(now_us=noon + DAY_US)
    found = await store.slowest([1, 2], noon, noon + DAY_US, limit=17)
    expected = sorted(rows, key=lambda row: (-row[2], -row[1]))[:17]
    assert [(one.end_us, one.duration_us) for one in found] == [(row[1], row[2]) for row in expected]
    assert await store.slowest([1], noon, noon + DAY_US, limit=0) == []


async def test_clean_removes_old_operations_and_the_hours_and_days_keep_their_figures(
    backend, store, append, make_rows, noon
):
    await append(store, make_rows(3000, noon, gap_us=2 * MINUTE_US))  # 100 hours
    now_us = noon + 100 * HOUR_US
    await store.append([], now_us=now_us)
    await store.fold(now_us=now_us)
    cleaned = await store.clean(Retention(raw_hours=10, hour_hours=48), now_us=now_us)
    removed = (backend.raw_cut(now_us, 10) - noon) // (2 * MINUTE_US)
    assert cleaned.operations == removed
    assert cleaned.slots == removed + 36  # noon of day 0 to midnight of day 2: 36 hours
    status = await store.status()
    assert (status.operations, status.first_end_us) == (3000 - removed, noon + removed * 2 * MINUTE_US)
    totals = await store.totals(noon + HOUR_US, now_us, groups=ALL)
    assert totals.since_us == noon - 12 * HOUR_US
    assert totals.counts.tolist() == [[3000]]
    assert len(await store.slowest([1, 2, 3], noon, now_us, limit=1000)) == 3000 - removed
    assert await store.clean(Retention(raw_hours=10, hour_hours=48), now_us=now_us) == type(cleaned)()


async def test_the_first_time_is_that_of_the_finest_stored_slots(store, append, make_rows, noon):
    assert await store.first_us() is None
    await append(store, make_rows(1, noon + 5_000_000))
    assert noon <= await store.first_us() <= noon + 5_000_000  # its minute may not be sealed yet
    now_us = noon + 100 * HOUR_US
    await append(store, make_rows(1, now_us))
    await store.fold(now_us=now_us)
    assert await store.first_us() == noon
    await store.clean(Retention(raw_hours=10, hour_hours=200), now_us=now_us)
    assert await store.first_us() == noon
    await store.clean(Retention(raw_hours=10, hour_hours=48), now_us=now_us)
    assert await store.first_us() == noon - 12 * HOUR_US  # the day is all that is left of it


async def test_clean_keeps_what_is_not_sealed_or_not_folded_yet(backend, store, append, make_rows, noon):
    await append(store, make_rows(90, noon))
    later = noon + 1000 * DAY_US
    cleaned = await store.clean(Retention(), now_us=later)
    assert (cleaned.operations, cleaned.slots) == (60 if backend.raw_width_us == HOUR_US else 0, 0)  # one day is left
    assert (await store.totals(noon, noon + HOUR_US, groups=ALL)).counts.tolist() == [[90]]


async def test_ids_continue_after_everything_was_removed(backend, append, make_rows, noon):
    now_us = noon + 10 * DAY_US
    async with backend.store() as store:
        await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
        await append(store, make_rows(50, noon), now_us=now_us)
        (last,) = await store.recent([1, 2, 3], 0, now_us, limit=1)
        await store.fold(now_us=now_us)
        await store.clean(Retention(), now_us=now_us)
        assert (await store.status()).operations == 0
        await append(store, make_rows(1, now_us))
        (first,) = await store.recent([1], 0, now_us + 1, limit=10)
    async with backend.store() as store:
        await store.append([], now_us=now_us + HOUR_US)
        await store.fold(now_us=now_us + DAY_US)
        await store.clean(Retention(), now_us=now_us + 10 * DAY_US)
    async with backend.store() as store:
        await append(store, make_rows(1, now_us + 10 * DAY_US))
        (second,) = await store.recent([1], 0, now_us + 11 * DAY_US, limit=10)
    assert last.id < first.id < second.id


async def test_clean_and_fold_run_during_appends(backend, store, append, make_rows, noon):
    await append(store, make_rows(24_000, noon, gap_us=MINUTE_US // 10))  # 40 hours
    now_us = noon + 40 * HOUR_US
    await store.fold(now_us=now_us)
    cleaning = asyncio.create_task(store.clean(Retention(raw_hours=1), now_us=now_us))
    appended = 0
    while not cleaning.done():
        await append(store, make_rows(10, now_us + appended * 100_000, gap_us=100_000))
        appended += 10
        await asyncio.sleep(0)
    assert (await cleaning).operations == (backend.raw_cut(now_us, 1) - noon) // (MINUTE_US // 10)
    assert appended > 10
    totals = await store.totals(noon, now_us + DAY_US, groups=ALL)
    assert totals.counts.tolist() == [[24_000 + appended]]


async def test_totals_read_while_minutes_are_sealed_never_lose_or_double_one(store, append, make_rows, noon):
    rows = make_rows(3000, noon, gap_us=10_000_000)
    written = [0]

    async def write():
        for start in range(0, len(rows), 5):
            await append(store, rows[start : start + 5])
            written[0] = start + 5

    async def read():
        while written[0] < len(rows):
            low = written[0]
            count = int((await store.totals(noon, noon + 10 * DAY_US, groups=ALL)).counts.sum())
            assert low <= count <= written[0] + 5
            assert count % 5 == 0

    await asyncio.gather(write(), read())


async def test_an_append_whose_slices_fail_leaves_nothing(store, append, make_rows, noon):
    def slices():
        yield make_rows(100, noon)
        yield make_rows(100, noon + HOUR_US)
        raise RuntimeError("conversion failed")

    with pytest.raises(RuntimeError, match="conversion failed"):
        await store.append(slices(), now_us=noon + DAY_US)
    assert (await store.status()).operations == 0
    assert await append(store, make_rows(10, noon)) == 10
    ids = [one.id for one in await store.recent([1, 2, 3], noon, noon + HOUR_US, limit=20)]
    assert ids == [*range(ids[-1] + 9, ids[-1] - 1, -1)]


async def test_rows_that_cannot_be_counted_are_refused_and_leave_nothing(store, noon):
    with pytest.raises(ValueError, match="outcome"):
        await store.append([[(1, noon, 1, 7, None, None)]], now_us=noon)
    assert (await store.status()).operations == 0


async def test_a_cancelled_append_has_written_all_or_nothing(store, make_rows, noon):
    expected = 0
    for turns in range(25):
        rows = make_rows(500, noon + turns * 10_000_000, gap_us=20_000)
        task = asyncio.create_task(store.append([rows[i : i + 50] for i in range(0, 500, 50)], now_us=rows[-1][1]))
        for _ in range(turns):
            await asyncio.sleep(0.0003)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.append([], now_us=noon)  # waits behind the roll-back
        count = (await store.status()).operations
        assert count in (expected, expected + 500)
        expected = count
        totals = await store.totals(noon, noon + HOUR_US, groups=ALL)
        assert totals.counts.tolist() == [[expected]]


async def test_status_returns_the_extent(backend, store, append, make_rows, noon):
    empty = await store.status()
    assert (empty.operations, empty.first_end_us, empty.last_end_us, empty.last_write_us) == (0, None, None, None)
    await append(store, make_rows(10, noon))
    status = await store.status()
    assert (status.operations, status.series, status.url) == (10, 3, backend.shown_url)
    assert (status.first_end_us, status.last_end_us) == (noon, noon + 9_000_000)
    assert status.size_bytes > 0
    assert status.last_write_us is not None


async def test_everything_is_there_again_after_reopening(backend, append, make_rows, noon):
    rows = make_rows(150, noon)
    async with backend.store() as store:
        await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
        await append(store, rows)
    async with backend.store() as store:
        before = await store.totals(noon, noon + HOUR_US, groups=ALL)
        await append(store, make_rows(30, noon + 150_000_000))
        await store.append([], now_us=noon + HOUR_US)
        after = await store.totals(noon, noon + HOUR_US, groups=ALL)
    assert (before.counts.tolist(), after.counts.tolist()) == ([[150]], [[180]])
    assert np.array_equal(before.sum_us, [[sum(row[2] for row in rows)]])


async def test_reading_continues_while_another_process_or_connection_writes(backend, store, append, make_rows, noon):
    async with backend.store(read_only=True) as reading:
        for part in range(3):
            await append(store, make_rows(50, noon + part * 50_000_000))
            totals = await reading.totals(noon, noon + HOUR_US, groups=ALL)
            assert totals.counts.tolist() == [[50 * (part + 1)]]
        assert len(await reading.recent([1], noon, noon + HOUR_US, limit=5)) == 5
        assert (await reading.status()).operations == 150


async def test_a_store_opened_for_reading_refuses_to_write(backend, store, noon):
    async with backend.store(read_only=True) as reading:
        for write in (
            reading.append([], now_us=noon),
            reading.series_ids([("a", "b")]),
            reading.fold(now_us=noon),
            reading.clean(Retention(), now_us=noon),
            reading.add_marker(Marker(noon, "mark", "deployed")),
            reading.add_traces([TraceRecord(noon, "a", "b", 1, Outcome.OK, None, 0, ())]),
            reading.add_samples(noon, {"a": 1.0}),
        ):
            with pytest.raises(StorageError, match="reading only") as caught:
                await write
            assert caught.value.permanent


async def test_a_closed_store_says_so(backend, noon):
    async with backend.store() as store:
        pass
    await store.close()
    for call in (store.append([], now_us=noon), store.series(), store.totals(0, 1, groups={})):
        with pytest.raises(StorageError, match="closed") as caught:
            await call
        assert caught.value.permanent
