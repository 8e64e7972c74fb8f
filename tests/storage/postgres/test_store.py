"""What only the PostgreSQL store does: lost connections, partitions, damaged slots, and clocks that were ahead."""

from __future__ import annotations

import psycopg
import pytest

from cogmeter_storage import StorageError, open_store
from cogmeter_storage.clock import clock
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.process import Process

ALL = {1: 0, 2: 0, 3: 0}
NAMES = [("alpha", "one"), ("alpha", "two"), ("beta", "one")]


@pytest.fixture
async def store(start):
    store = await start("one")
    await store.series_ids(NAMES)
    return store


def cut_connections(url):
    """End every other connection, as a restart of the server does."""
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cogmeter%'")


async def count(store, since_us, until_us):
    return int((await store.totals(since_us, until_us, groups=ALL)).counts.sum())


async def test_a_read_with_a_lost_connection_is_repeated_and_a_write_is_left_to_the_caller(
    url, store, append, make_rows, noon
):
    await append(store, make_rows(30, noon))
    cut_connections(url)
    assert await count(store, noon, noon + HOUR_US) == 30
    rows = make_rows(30, noon + MINUTE_US)
    with pytest.raises(StorageError, match="cannot be reached") as caught:
        await append(store, rows)
    assert not caught.value.permanent
    assert await append(store, rows) == 30
    assert await count(store, noon, noon + HOUR_US) == 60


async def test_each_day_is_a_partition_that_other_writers_may_use_at_once(url, store, start, append, make_rows, noon):
    other = await start("two")
    for place in range(4):
        await append(store, make_rows(2, noon + place * DAY_US))
        await append(other, make_rows(2, noon + place * DAY_US))
    with psycopg.connect(url) as raw:
        names = raw.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'operation!_%' ESCAPE '!' AND relkind = 'r' ORDER BY 1"
        ).fetchall()
    assert [name for (name,) in names] == [f"operation_{noon // DAY_US + place}" for place in range(4)]


async def test_a_damaged_slot_is_left_out_and_counted_and_the_others_are_folded(
    url, store, append, make_rows, noon, caplog
):
    await append(store, make_rows(180, noon), now_us=noon + 2 * HOUR_US)
    with psycopg.connect(url) as raw:
        raw.execute("UPDATE cogmeter.slot SET data = '\\x0102' WHERE start_us = %s", (noon + MINUTE_US,))
    assert await count(store, noon, noon + HOUR_US) == 120
    assert "is damaged" in caplog.text
    await store.fold(now_us=noon + 2 * HOUR_US)
    assert await store.fold(now_us=noon + 2 * HOUR_US) == 0
    assert await count(store, noon, noon + HOUR_US) == 120
    assert (await store.verify()).lost_slots == 1
    assert len(await store.page(None, noon, noon + HOUR_US, limit=500)) >= 120


async def test_operations_of_a_clock_that_was_ahead_are_set_apart_at_the_next_start(url, start, append, make_rows):
    now_us = clock.now_us()
    store = await start("one")
    await store.series_ids(NAMES)
    await append(store, make_rows(10, now_us - HOUR_US))
    await append(store, make_rows(20, now_us + 30 * DAY_US))
    await store.add_samples(now_us + 30 * DAY_US, {"memory": 1.0})
    await store.close()
    other = await start("two")
    assert await count(other, 0, now_us + 60 * DAY_US) == 30
    again = await start("one")
    assert await count(again, 0, now_us + 60 * DAY_US) == 10
    steps = (await again.status()).clock
    assert (steps.operations, steps.others) == (20, 1)
    await append(again, make_rows(5, now_us))
    assert len(await again.page(None, 0, now_us + DAY_US, limit=100)) == 15


async def test_operations_continue_after_the_last_end_time_of_the_process(start, append, make_rows, noon):
    store = await start("one")
    await store.series_ids(NAMES)
    await append(store, make_rows(10, noon + HOUR_US))
    await store.close()
    again = await start("one")
    await append(again, make_rows(10, noon))  # the clock was set back
    (first, *_) = [one async for chunk in again.stream(None, 0, noon + DAY_US) for one in chunk]
    assert first.end_us == noon + HOUR_US
    assert (await again.status()).clock.clamped == 10


async def test_sealed_minutes_are_those_of_the_own_process_over_its_restarts(start, append, make_rows, noon):
    store, other = await start("one"), await start("two")
    await store.series_ids(NAMES)
    await append(other, make_rows(100, noon))
    await append(store, make_rows(30, noon))
    await store.close()
    again = await start("one")
    await append(again, make_rows(20, noon + 35_000_000))  # in the same minute
    assert await again.sealed_minutes(noon, noon + HOUR_US, limit=10) == []
    await again.append([], now_us=noon + MINUTE_US)
    (minute,) = await again.sealed_minutes(noon, noon + HOUR_US, limit=10)
    assert (minute.start_us, int(sum(minute.slot.counts))) == (noon, 50)


async def test_texts_that_postgresql_cannot_store_are_stored_with_a_replacement(store, append, noon):
    await append(store, [(1, noon, 5, 1, "a\0b \udcff", '{"key": "\\u0000"}')])
    (operation,) = await store.recent([1], noon, noon + HOUR_US, limit=1)
    assert operation.error == "a\N{REPLACEMENT CHARACTER}b ?"


async def test_a_user_without_rights_gets_an_error_that_names_the_fix(url, server):
    with psycopg.connect(url, autocommit=True) as raw:
        raw.execute(
            "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN; REVOKE CREATE ON DATABASE postgres FROM PUBLIC"
        )
    with pytest.raises(StorageError, match="may not do this") as caught:
        await open_store(url.replace("postgres@", "guest@", 1), process=Process("guest"))
    assert caught.value.permanent
