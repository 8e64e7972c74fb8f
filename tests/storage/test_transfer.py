"""Transfers between stores of any engine: everything is the same afterwards, also after interruptions."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from postgres_server import PROGRAMS
from transfer_stores import HOSTILE, answers, answers_of, fill_small_tables, metadata_of, opened, rows_of

from cogmeter_storage import Marker, Retention, StorageError, open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US
from cogmeter_storage.postgres.schema import SCHEMA
from cogmeter_storage.process import Process
from cogmeter_storage.sqlite.damage import columns
from cogmeter_storage.transfer import IMPORTED, transfer
from cogmeter_storage.transfer.tables import TABLES

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
EXAMPLES = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
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


@pytest.mark.timeout(400)
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


# A process adds to a minute whose hour is folded and old enough to be removed.
LATE_MINUTE = [
    *[("append", [(1, 0, 0, 0)])] * 2,
    ("fold", None),
    ("wait", 0),
    ("wait", DAY_US),
    ("append", [(1, 0, 0, 0), (2, DAY_US, 9, 1), (3, DAY_US, 9, 2)]),
    ("small", None),
    ("fold", None),
    ("small", None),
    *[("append", [(4, DAY_US, 7, 3), (4, 7 * HOUR_US, 8, 1)])] * 2,
    ("clean", None),
]


@pytest.mark.timeout(400)
@EXAMPLES
@example(LATE_MINUTE, [18, 8])
@example([*LATE_MINUTE[:5], ("fold", None), ("clean", None)], [1, 1])
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


# What a copy needs, and what it refuses


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite"])
def ways(request, tmp_path):
    """The URLs of a source and of a target."""
    if request.param == "sqlite to sqlite":
        return file_url(tmp_path, "source.db"), file_url(tmp_path, "target.db")
    urls = file_url(tmp_path, "one.db"), request.getfixturevalue("postgres_url")
    return urls if request.param == "sqlite to postgresql" else urls[::-1]


STEPS_OF_ONE_DAY = [
    ("append", [(1 + i % 3, 90_000_000, 5_000 + i, i % 5) for i in range(300)]),
    ("small", None),
    ("wait", 5 * HOUR_US),
    ("fold", None),
    ("small", None),
]


@pytest.fixture
def filled(ways):
    """A source with something in every table, and an empty target."""
    asyncio.run(play(ways[0], STEPS_OF_ONE_DAY))
    return ways


def test_no_table_is_forgotten(postgres_url, tmp_path):
    """A new table belongs into TABLES, or into one of these lists with the reason."""
    copied = {table.name for table in TABLES} | {"operation", "slot"}
    of_sqlite = {"clock_step", "sqlite_sequence"}  # its sums are set from the rows of set_apart; ids are continued
    of_a_fleet = {"stored_batch", "lease", "version", "area", "run"}  # the schema, rows to lock, and a new run
    asyncio.run(play(file_url(tmp_path), [("small", None)]))
    asyncio.run(play(postgres_url, [("small", None)]))
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables == copied | of_sqlite
    with psycopg.connect(postgres_url) as raw:
        find = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename NOT LIKE 'operation\\_%%'"
        found = {name for (name,) in raw.execute(find, (SCHEMA,))}
        assert found == copied | of_a_fleet
        for table in TABLES:
            find = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            names = {name for (name,) in raw.execute(find, (SCHEMA, table.name))}
            assert {name.strip('"') for name in table.columns(postgres=True)} == names
            ours = {name.strip('"') for name in table.columns(postgres=False)}
            assert ours | set(table.only_sqlite or {}) == set(columns(table.name))


def test_the_stores_of_these_tests_have_rows_in_every_table(filled):
    empty = [name for name, rows in rows_of(filled[0]).items() if not rows]
    assert empty == ["set_apart", "damage"]


def test_a_target_with_other_data_is_refused_and_stays_as_it_is(filled):
    source, target = filled
    asyncio.run(play(target, [("append", [(1, 0, 5, 0)])]))
    before = asyncio.run(answers_of(target, NOON, NOON + DAY_US))
    with pytest.raises(StorageError, match=r"has other data \(in series, operation.*\); it has not been changed"):
        transfer(source, target)
    assert asyncio.run(answers_of(target, NOON, NOON + DAY_US)) == before


def test_a_store_in_use_is_refused_on_both_sides(filled):
    source, target = filled
    for url in filled:

        async def refused(url=url):
            async with opened(url, process=Process("shard-7")):
                with pytest.raises(StorageError, match=r"in use by 1 process: shard-7|being written by another bot"):
                    await asyncio.to_thread(transfer, source, target)

        asyncio.run(refused())
    assert transfer(source, target).copied


def test_force_copies_from_postgresql_though_a_process_seems_to_run(postgres_url, tmp_path):
    asyncio.run(play(postgres_url, STEPS_OF_ONE_DAY))

    async def beside():
        async with opened(postgres_url):
            return await asyncio.to_thread(transfer, postgres_url, file_url(tmp_path), force=True)

    assert asyncio.run(beside()).survey.operation_count == 300


def test_a_source_that_changed_after_an_interruption_is_refused_by_what_changed(filled):
    source, target = filled
    interrupted(source, target, 5)

    async def change():
        async with opened(source) as store:
            await store.alerting.override({"error_rate": "0.9"}, now_us=NOON, actor="Ann")

    asyncio.run(change())
    with pytest.raises(StorageError, match=r"changed since the copy was begun \(table threshold_override: 6 rows, 7"):
        transfer(source, target)


def test_a_target_that_changed_after_an_interruption_is_refused(filled):
    source, target = filled
    interrupted(source, target, 5)
    change_past_the_store(target, "DELETE FROM series WHERE id = 1")
    with pytest.raises(StorageError, match=r"changed since the copy was begun \(series: 3 rows instead of 4\)"):
        transfer(source, target)


def test_a_part_of_another_copy_is_refused(filled, tmp_path):
    source, target = filled
    other = file_url(tmp_path, "other.db")
    asyncio.run(play(other, STEPS_OF_ONE_DAY))
    interrupted(source, target, 5)
    with pytest.raises(StorageError, match=r"has a copy of .*, or a part of it"):
        transfer(other, target)
    assert transfer(source, target).resumed


def test_a_difference_is_an_error_that_names_it(filled):
    source, target = filled

    def spoil(done, total):
        if done == total:
            change_past_the_store(target, "DELETE FROM operation WHERE series = 1")
            change_past_the_store(target, "DELETE FROM marker WHERE id = 1")

    with pytest.raises(StorageError, match="differs from") as raised:
        transfer(source, target, step=spoil)
    assert "table marker: 6 rows, 5 in the copy" in str(raised.value)
    assert "operations of series 1: 100 of " in str(raised.value)
    assert ", none in the copy" in str(raised.value)
    with pytest.raises(StorageError, match="has changed since"):
        transfer(source, target)


def test_a_finished_copy_is_checked_again_and_nothing_is_copied_twice(filled):
    first = transfer(*filled)
    assert (first.copied, first.resumed) == (first.survey.rows, False)
    again = transfer(*filled)
    assert (again.copied, again.resumed, again.survey) == (0, True, first.survey)


def test_two_copies_into_one_database_never_mix(postgres_url, tmp_path):
    source, same = file_url(tmp_path, "one.db"), tmp_path / "elsewhere"
    asyncio.run(play(source, STEPS_OF_ONE_DAY))
    results = []

    def second(done, total):
        if done and not results:
            (tmp_path / "one.db.lock").rename(same)  # as on another machine that reads the same file
            results.append(transfer(source, postgres_url))

    with pytest.raises(StorageError, match="Another program writes into database"):
        transfer(source, postgres_url, step=second)
    assert results[0].resumed
    assert rows_of(postgres_url) == rows_of(source)


def test_a_database_is_never_copied_onto_itself(tmp_path, postgres_url):
    url = file_url(tmp_path)
    asyncio.run(play(url, STEPS_OF_ONE_DAY))
    (tmp_path / "link.db").symlink_to(tmp_path / "copy.db")
    for source, target in ((url, url), (url, file_url(tmp_path, "link.db")), (postgres_url, postgres_url)):
        with pytest.raises(StorageError, match="are the same database"):
            transfer(source, target)


def test_a_missing_source_is_refused_and_no_target_is_made(tmp_path, postgres_url):
    with pytest.raises(StorageError, match=r"none\.db does not exist"):
        transfer(file_url(tmp_path, "none.db"), file_url(tmp_path, "target.db"))
    with pytest.raises(StorageError, match="has no tables of cogmeter"):
        transfer(postgres_url, file_url(tmp_path, "target.db"))
    assert not list(tmp_path.glob("*.db"))


def test_ids_that_were_given_are_never_given_again(filled):
    source, target = filled

    async def newest(url):
        async with opened(url) as store:
            await fill_small_tables(store, NOON, 77, 1)
            (entry,) = await store.alerting.audit(limit=1)
            return entry.id, [one.id for one in await store.alerting.alerts()]

    change_past_the_store(source, "DELETE FROM alert")
    change_past_the_store(source, "DELETE FROM audit")
    transfer(source, target)
    entry, alerts = asyncio.run(newest(source))
    assert entry > 9
    assert alerts == [7]
    assert asyncio.run(newest(target)) == (entry, alerts)


def test_hours_and_days_whose_operations_are_gone_are_copied_as_slots(ways):
    source, target = ways
    days = [("append", [(1 + i % 3, 50 * MINUTE_US, 5_000 + i, i % 5) for i in range(200)]), ("wait", DAY_US)]
    now_us = asyncio.run(play(source, [*days, ("fold", None), ("clean", None)]))
    done = transfer(source, target)
    assert done.survey.operation_count < done.survey.slots["day"][1] == 200
    span = NOON - DAY_US, now_us
    assert asyncio.run(answers_of(target, *span)) == asyncio.run(answers_of(source, *span))


async def test_what_depends_on_sealed_slots_is_the_same(postgres_url, tmp_path):
    source = file_url(tmp_path)
    now_us = await play(source, [*STEPS_OF_ONE_DAY, ("wait", DAY_US), ("fold", None)])
    await asyncio.to_thread(transfer, source, postgres_url, process="shard-0")
    span = NOON - DAY_US, now_us
    async with opened(source) as one, opened(postgres_url, process=Process("shard-0")) as other:
        assert (await one.hour_versions(*span)).keys() == (await other.hour_versions(*span)).keys()
        assert await other.append([[(1, now_us, 1, 0, None, None)]], now_us=now_us) == 1
        minutes, same = [await store.sealed_minutes(*span, limit=999) for store in (one, other)]
        assert [(slot.tier, slot.start_us) for slot in minutes] == [(slot.tier, slot.start_us) for slot in same]
        assert await other.fold(now_us=now_us) == 0


def test_rows_of_a_wrong_clock_and_damaged_rows_keep_their_records(postgres_url, tmp_path):
    source, back = file_url(tmp_path, "source.db"), file_url(tmp_path, "back.db")
    now_us = asyncio.run(play(source, STEPS_OF_ONE_DAY))

    async def move():
        async with opened(source) as store:
            await store.add_marker(Marker(now_us + DAY_US, "version", "later"))
            await store.move_future_rows(now_us=now_us + HOUR_US)
            return (await store.status()).clock

    clock = asyncio.run(move())
    assert clock.others == 1
    change_past_the_store(source, "UPDATE trace SET outcome = 'x' WHERE id = 1")
    assert transfer(source, postgres_url).damaged == 1
    assert transfer(postgres_url, back).damaged == 0

    async def known(url):
        async with opened(url, read_only=True) as store:
            return (await store.status()).clock, len(await store.traces(None, None, 0, limit=9))

    assert asyncio.run(known(postgres_url)) == asyncio.run(known(back)) == (clock, 5)
    assert rows_of(back)["set_apart"] == rows_of(source)["set_apart"]


def test_a_damaged_slot_does_not_disturb_the_others(ways):
    source, target = ways
    asyncio.run(play(source, STEPS_OF_ONE_DAY))
    first = "tier = 0 AND start_us = (SELECT min(start_us) FROM slot WHERE tier = 0)"
    zero = "x'00'" if source.startswith("sqlite") else "'\\x00'"
    change_past_the_store(source, f"UPDATE slot SET data = {zero} WHERE {first}")
    done = transfer(source, target)
    rebuilt = source.startswith("sqlite")  # from its operations, as in every query
    assert (done.damaged, done.survey.operation_count) == (0 if rebuilt else 1, 300)
    assert transfer(source, target).copied == 0
    span = NOON - DAY_US, NOON + DAY_US
    before, after = (asyncio.run(answers_of(url, *span)) for url in ways)
    for name in ("status", "first"):  # PostgreSQL's count the time of a damaged slot
        before.pop(name)
    assert {name: after[name] for name in before} == before


def test_processes_of_one_postgresql_become_one_process_in_another(request, postgres_url):
    server = request.getfixturevalue("postgres_server")
    with psycopg.connect(postgres_url, autocommit=True) as raw:
        raw.execute("DROP DATABASE IF EXISTS other")
        raw.execute("CREATE DATABASE other")
    other = server.url("other")
    now_us = asyncio.run(play(postgres_url, STEPS_OF_ONE_DAY * 2, ("one", "two")))
    transfer_with_cuts(postgres_url, other, (12, 30), process="shard-0")
    assert rows_of(other) == rows_of(postgres_url)
    span = NOON - DAY_US, now_us
    assert asyncio.run(answers_of(other, *span)) == asyncio.run(answers_of(postgres_url, *span))
    with psycopg.connect(other, options=f"-c search_path={SCHEMA}") as raw:
        find = "SELECT process, id, next_id - (id << 33) - 1, ended_us IS NOT NULL FROM run"
        assert raw.execute(find).fetchall() == [("shard-0", 1, 600, True)]
        assert raw.execute("SELECT count(*), min(id) >> 33, max(id) >> 33 FROM operation").fetchone() == (600, 1, 1)


def test_it_goes_through_pgbouncer(request, needed, postgres_url, tmp_path):
    needed(shutil.which("pgbouncer"), "PgBouncer")
    url = request.getfixturevalue("bouncer").url("postgres")
    source, back = file_url(tmp_path, "source.db"), file_url(tmp_path, "back.db")
    asyncio.run(play(source, STEPS_OF_ONE_DAY))
    transfer_with_cuts(source, url, (9, 20))
    transfer_with_cuts(url, back, (9, 20))
    assert rows_of(back) == rows_of(source)


def test_the_progress_is_no_part_of_the_next_copy(filled, tmp_path):
    source, target = filled
    transfer(source, target)
    third = file_url(tmp_path, "third.db")
    transfer(target, third)
    assert rows_of(third) == rows_of(source)


def interrupted(source, target, chunks):
    """Begin a copy, and stop it after so many chunks."""
    left = [chunks]

    def step(done, total):
        left[0] -= 1
        if not left[0]:
            raise StoppedError

    with pytest.raises(StoppedError):
        transfer(source, target, step=step)


def change_past_the_store(url, statement):
    """Change a database without a store."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)) as raw, raw:
            raw.execute(statement)
        return
    with psycopg.connect(url, options=f"-c search_path={SCHEMA}") as raw:
        raw.execute(statement)
