"""Transfers between stores of any engine: everything is the same afterwards, also after interruptions."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgres_server import PROGRAMS
from transfer_stores import HOSTILE, answers, answers_of, fill_small_tables, metadata_of, opened, rows_of

from cogmeter_storage import Retention, StorageError, open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.postgres.schema import SCHEMA
from cogmeter_storage.process import Process
from cogmeter_storage.sqlite.damage import columns
from cogmeter_storage.transfer import IMPORTED, transfer
from cogmeter_storage.transfer.tables import KEY, TABLES

NOON = 1_750_075_200_000_000
NAMES = [("alpha", "one"), ("alpha", "two"), ("beta", "one"), (HOSTILE, HOSTILE)]
RETENTION = Retention(raw_hours=3, hour_hours=30)
GAPS = st.one_of(
    st.integers(0, 20_000_000),
    st.sampled_from([0, MINUTE_US, MINUTE_US - 1, 20 * MINUTE_US, HOUR_US, 7 * HOUR_US, DAY_US]),
)
OPERATIONS = st.tuples(st.integers(1, 4), GAPS, st.one_of(st.integers(0, 9), st.integers(0, 10**10)), st.integers(0, 4))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(OPERATIONS, min_size=1, max_size=40)),
        st.tuples(st.just("wait"), GAPS),
        st.tuples(st.sampled_from(["fold", "clean", "reopen", "small"]), st.none()),
    ),
    min_size=1,
    max_size=12,
)
CUTS = st.lists(st.integers(1, 25), min_size=2, max_size=2)  # chunks before each interruption
import os
from hypothesis import Phase

EXAMPLES = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate] if os.environ.get("NOSHRINK") else list(Phase),
    max_examples=int(os.environ.get("EX", 25)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class StoppedError(Exception):
    """Ends a transfer."""


@pytest.fixture
def postgres_url(needed, request):
    """An empty PostgreSQL database."""
    needed(PROGRAMS, "PostgreSQL")
    server = request.getfixturevalue("postgres_server")
    server.clear("postgres")
    return server.url("postgres")


@pytest.fixture
def clear(needed, request):
    """Empties the PostgreSQL database again."""
    return lambda: request.getfixturevalue("postgres_server").clear("postgres")


def file_url(folder, name="copy.db"):
    return f"sqlite:///{Path(folder) / name}"


def transfer_with_cuts(source, target, cuts=(), **options):
    """Transfer, interrupted after so many chunks, and again; then to the end."""
    for cut in cuts:
        left = [cut]

        def step(done, total, left=left):
            assert done <= total
            left[0] -= 1
            if not left[0]:
                raise StoppedError

        with contextlib.suppress(StoppedError):
            transfer(source, target, step=step, chunk_rows=7, **options)
    seen = []
    done = transfer(source, target, step=lambda *both: seen.append(both), chunk_rows=7, **options)
    assert all(one[0] <= one[1] for one in seen)
    if seen:
        assert seen[-1][0] == seen[-1][1]
    return done


async def play(url, steps, processes=("one",)):
    """Run the steps on a store, by several processes in turn, and close it; return the time at the end."""
    now_us = NOON
    stores = [await open_store(url, process=Process(name)) for name in processes]
    try:
        await stores[0].series_ids(NAMES)
        for number, (step, value) in enumerate(steps):
            place = number % len(stores)
            store = stores[place]
            if step == "append":
                rows = []
                for series, gap, duration, outcome in value:
                    now_us += gap
                    error = f"{HOSTILE} {duration % 3}" if outcome else None
                    rows.append((series, now_us, duration, outcome, error, metadata_of(duration)))
                await store.append((rows[i : i + 7] for i in range(0, len(rows), 7)), now_us=now_us)
            elif step == "wait":
                now_us += value
                await store.append([], now_us=now_us)
            elif step == "fold":
                await store.fold(now_us=now_us)
            elif step == "small":
                await fill_small_tables(store, now_us, number)
            elif step == "clean":
                await store.append([], now_us=now_us)
                await store.clean(RETENTION, now_us=now_us)
            else:
                await store.close()
                stores[place] = await open_store(url, process=Process(processes[place]))
    finally:
        for store in stores:
            await store.close()
    return now_us


async def go_on(url, now_us, **options):
    """Use a store further: later operations, and folding; return its answers then."""
    async with opened(url, process=Process(IMPORTED), **options) as store:
        await store.append([], now_us=now_us + MINUTE_US)
        rows = [(1 + i % 3, now_us + HOUR_US + i * MINUTE_US, i, i % 5, None, None) for i in range(99)]
        await store.append([rows], now_us=rows[-1][1])
        await store.fold(now_us=now_us + 3 * DAY_US)
        return await answers(store, NOON - DAY_US, now_us + DAY_US)


async def seal(url, now_us):
    """End the last minute: a copy has no open one."""
    async with opened(url) as store:
        await store.append([], now_us=now_us + MINUTE_US)


@EXAMPLES
@given(STEPS, CUTS)
def test_sqlite_to_postgresql_and_back_changes_no_answer(postgres_url, clear, steps, cuts):
    clear()
    with tempfile.TemporaryDirectory() as folder:
        first, second = file_url(folder, "first.db"), file_url(folder, "second.db")
        now_us = asyncio.run(play(first, steps))
        span = NOON - DAY_US, now_us + HOUR_US
        before = rows_of(first)
        transfer_with_cuts(first, postgres_url, cuts)
        assert rows_of(postgres_url) == before
        transfer_with_cuts(postgres_url, second, cuts)
        assert rows_of(second) == before
        asyncio.run(seal(first, now_us))
        wanted = asyncio.run(answers_of(first, *span))
        assert asyncio.run(answers_of(postgres_url, *span)) == wanted
        assert asyncio.run(answers_of(second, *span)) == wanted
        wanted = asyncio.run(go_on(first, now_us))
        assert asyncio.run(go_on(second, now_us)) == wanted
        assert asyncio.run(go_on(postgres_url, now_us)) == wanted


@EXAMPLES
@given(STEPS, CUTS)
def test_processes_of_postgresql_become_one_sequence_in_sqlite(postgres_url, clear, steps, cuts):
    clear()
    with tempfile.TemporaryDirectory() as folder:
        now_us = asyncio.run(play(postgres_url, steps, ("one", "two", "three")))
        span = NOON - DAY_US, now_us + HOUR_US
        before, wanted = rows_of(postgres_url), asyncio.run(answers_of(postgres_url, *span))
        copy = file_url(folder)
        transfer_with_cuts(postgres_url, copy, cuts, force=True)
        assert rows_of(copy) == before
        assert asyncio.run(answers_of(copy, *span)) == wanted
        assert asyncio.run(go_on(copy, now_us)) == asyncio.run(go_on(postgres_url, now_us))
        ids_are_in_order_and_fit_the_slots(copy)


def ids_are_in_order_and_fit_the_slots(url):
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw:
        rows = raw.execute("SELECT id, end_us FROM operation ORDER BY id").fetchall()
        assert [end_us for _, end_us in rows] == sorted(end_us for _, end_us in rows)
        assert [number for number, _ in rows] == list(range(rows[0][0], rows[0][0] + len(rows))) if rows else True
        slots = raw.execute("SELECT first_id, last_id, start_us FROM slot WHERE tier = 0").fetchall()
    for first_id, last_id, start_us in slots:
        inside = [number for number, end_us in rows if start_us <= end_us < start_us + MINUTE_US]
        assert not inside or (inside[0], inside[-1]) == (first_id, last_id)
