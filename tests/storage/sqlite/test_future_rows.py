"""Rows recorded while the clock was ahead are set apart, and do not hide later rows."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter_storage import Marker, Retention, open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Mute, Step
from cogmeter_storage.clock import AHEAD_US
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Outcome, Person, SpanRecord, TraceRecord
from cogmeter_storage.sqlite import future_rows, maintenance
from cogmeter_storage.sqlite.damage import DamageLog
from cogmeter_storage.sqlite.session import SqliteSession

NAMES = [("a", "b"), ("a", "c"), ("a", "d")]
GROUPS = {1: 0, 2: 1, 3: 2}
NOW_US = 1_800_000_000_000_000
YEARS_US = 3650 * DAY_US


@pytest.fixture
def wall(monkeypatch):
    """``wall(us)`` sets the wall clock."""

    def put(now_us):
        monkeypatch.setattr(time, "time_ns", lambda: now_us * 1000)

    put(NOW_US)
    return put


@contextlib.asynccontextmanager
async def opened(url, **options):
    store = await open_store(url, **options)
    try:
        yield store
    finally:
        await store.close()


async def count(store, since_us, until_us):
    return int((await store.totals(since_us, until_us, groups=GROUPS)).counts.sum())


def read(path, query):
    with contextlib.closing(sqlite3.connect(path)) as raw:
        return raw.execute(query).fetchall()


async def test_a_start_ten_years_ahead_hides_nothing_that_comes_after(url, path, wall, append, make_rows):
    wall(NOW_US + YEARS_US)
    async with opened(url) as store:
        await store.series_ids(NAMES)
        rows = make_rows(3000, NOW_US + YEARS_US - 3_000_000_000)
        await append(store, rows)
        await store.fold(now_us=NOW_US + YEARS_US)
    wall(NOW_US)
    async with opened(url) as store:
        assert await append(store, make_rows(50, NOW_US)) == 50
        assert await count(store, NOW_US - DAY_US, NOW_US + HOUR_US) == 50
        assert [one.end_us for one in await store.recent([1, 2, 3], 0, 2**60, limit=1)] == [NOW_US + 49_000_000]
        status = await store.status()
        assert (status.operations, status.clock.operations, status.clock.clamped) == (50, 3000, 0)
        assert (status.clock.first_us, status.clock.last_us) == (rows[0][1], rows[-1][1])
        assert not status.damage
    assert not read(path, f"SELECT tier FROM slot WHERE start_us > {NOW_US + DAY_US}")


async def test_what_was_recorded_before_the_clock_ran_ahead_stays_in_every_figure(
    url, path, wall, append, make_rows, slots_agree_with_rows
):
    wall(NOW_US)
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(5000, NOW_US - 5000 * 30_000_000, 30_000_000), now_us=NOW_US)
        await store.fold(now_us=NOW_US)
        ahead_us = NOW_US + HOUR_US
        wall(ahead_us)
        await append(store, make_rows(500, ahead_us))
        await store.fold(now_us=ahead_us + 2 * HOUR_US)
        wall(NOW_US + 600_000_000)
        assert await store.move_future_rows(now_us=NOW_US + 600_000_000)
        assert not await store.move_future_rows(now_us=NOW_US + 600_000_000)
        await append(store, make_rows(100, NOW_US + 600_000_000))
        assert await count(store, 0, NOW_US + 3 * HOUR_US) == 5100
        await store.fold(now_us=NOW_US + DAY_US)
        assert await count(store, 0, NOW_US + 2 * DAY_US) == 5100
        assert (await store.status()).clock.operations == 500
    slots_agree_with_rows(path)


async def test_a_roll_up_that_a_correction_overtakes_ends_no_hour_before_its_time(url, wall, append, make_rows):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        present_us = NOW_US + 600_000_000  # ten minutes into an hour
        await append(store, make_rows(200, NOW_US + 400_000_000))
        wall(NOW_US + YEARS_US)
        await append(store, make_rows(10, NOW_US + YEARS_US))
        writer, ended = store._writer, []
        run = writer.run

        async def overtaken(function, *args):
            result = await run(function, *args)
            if function is maintenance.unfolded_starts and result and not ended:
                ended.extend(result)
                wall(present_us)
                assert await store.move_future_rows(now_us=present_us)
            return result

        writer.run = overtaken
        await store.fold(now_us=NOW_US + YEARS_US)
        assert NOW_US in ended
        assert await append(store, make_rows(50, present_us + 1_000_000)) == 50
        assert await count(store, NOW_US, NOW_US + HOUR_US) == 250


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.sampled_from([1, 1_000_000, 40_000_000, 7 * MINUTE_US, 3 * HOUR_US, DAY_US]), max_size=40),
    cut=st.floats(0, 1),
    fold=st.booleans(),
)
async def test_any_cut_leaves_the_operations_before_it_and_nothing_else(
    tmp_path_factory, slots_agree_with_rows, gaps, cut, fold
):
    path = tmp_path_factory.mktemp("cut") / "performance.db"
    ends = [NOW_US - 400 * DAY_US]
    for gap in gaps:
        ends.append(ends[-1] + gap)
    now_us = ends[0] + int((ends[-1] - ends[0]) * cut)
    async with opened(f"sqlite:///{path}") as store:
        await store.series_ids(NAMES)
        await store.append([[(1, end_us, 5, 0, None, None) for end_us in ends]], now_us=ends[-1])
        if fold:
            await store.fold(now_us=ends[-1] + 2 * DAY_US)
        moved = await store.move_future_rows(now_us=now_us)
        left = [end_us for end_us in ends if end_us <= now_us] if moved else ends
        assert moved == (ends[-1] > now_us + AHEAD_US)
        assert await count(store, 0, ends[-1] + 10 * DAY_US) == len(left)
        await store.append([[(1, left[-1], 5, 0, None, None)]], now_us=left[-1])
        await store.fold(now_us=ends[-1] + 2 * DAY_US)
        assert await count(store, 0, ends[-1] + 10 * DAY_US) == len(left) + 1
        assert (await store.status()).clock.operations == len(ends) - len(left)
    slots_agree_with_rows(path)


async def test_an_interrupted_setting_apart_continues_at_the_next_start(
    url, path, wall, append, make_rows, monkeypatch
):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(100, NOW_US - 100_000_000))
        await append(store, make_rows(1000, NOW_US + YEARS_US))
    moves = []
    move = future_rows._move

    def fails(raw, step, table, *args, **options):
        if table == "operation":
            moves.append(table)
        if len(moves) == 3:
            raise KeyboardInterrupt
        move(raw, step, table, *args, **options)

    monkeypatch.setattr(future_rows, "_CHUNK_ROWS", 100)
    monkeypatch.setattr(future_rows, "_move", fails)
    with contextlib.closing(SqliteSession(path, isolation_level=None)) as raw, pytest.raises(KeyboardInterrupt):
        future_rows.move_future_rows(raw, DamageLog(path), NOW_US)
    assert read(path, "SELECT count(*) FROM operation") == [(900,)]
    monkeypatch.setattr(future_rows, "_move", move)
    async with opened(url) as store:
        assert await count(store, 0, NOW_US + 2 * YEARS_US) == 100
        assert (await store.status()).clock.operations == 1000


async def test_a_small_step_back_is_clamped_and_counted_for_every_reader(url, append, make_rows):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(10, NOW_US))
        assert not await store.move_future_rows(now_us=NOW_US - AHEAD_US + 10_000_000)
        await append(store, make_rows(5, NOW_US - 60_000_000), now_us=NOW_US)
        await append(store, make_rows(2, NOW_US - 60_000_000), now_us=NOW_US)
        assert (await store.status()).clock.clamped == 7
    async with opened(url, read_only=True) as store:
        assert (await store.status()).clock.clamped == 7


async def test_a_clock_that_cannot_be_right_sets_nothing_apart(url, wall, append, make_rows):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(100, NOW_US))
    wall(0)  # a machine without a battery, before it asks for the time
    async with opened(url) as store:
        await append(store, make_rows(10, 60_000_000), now_us=60_000_000)
        assert (await store.status()).clock.clamped == 10
        assert await count(store, NOW_US, NOW_US + HOUR_US) == 110


async def test_samples_traces_and_markers_of_the_future_leave_the_answers(url, wall):
    trace = TraceRecord(NOW_US, "a", "b", 9, Outcome.OK, None, 0, (SpanRecord(1, 0, "a", "b", 0, 9, Outcome.OK),))
    async with opened(url) as store:
        for at_us in (NOW_US - 1, NOW_US + YEARS_US):
            await store.add_traces([replace(trace, at_us=at_us)])
            await store.add_samples(at_us, {"x": 1.0})
            await store.add_marker(Marker(at_us, "mark", "deployed"))
    async with opened(url) as store:
        assert [one.at_us for one in await store.traces(None, None, 0, limit=9)] == [NOW_US - 1]
        assert [one.at_us for one in await store.markers(0, 2**60)] == [NOW_US - 1]
        assert await store.samples(["x"], 0, 2**60) == {"x": [(NOW_US - 1, 1.0)]}
        clock = (await store.status()).clock
        assert (clock.operations, clock.others) == (0, 3)


async def test_alerts_deliveries_and_mutes_of_the_future_come_back_to_the_present(url, wall):
    then_us = NOW_US + YEARS_US
    alert = Alert(
        uid="u",
        rule="error_rate",
        service="a",
        operation="",
        state=AlertState.FIRING,
        severity="critical",
        message="High",
        threshold=0.05,
        current=0.2,
        worst=0.2,
        started_us=then_us,
        seen_us=then_us,
        changed_us=then_us,
        fired_us=then_us,
    )
    change = AlertChange("u", "fired", AlertState.FIRING, "critical", "High", 0.2, 0.05, then_us)
    async with opened(url) as store:
        await store.alerting.save([Step(alert, change, ("log",))])
        (delivery,) = await store.alerting.due(then_us)
        await store.alerting.begin(delivery.id, now_us=then_us)
        await store.alerting.end(delivery.id, outcome="retry", now_us=then_us, due_us=then_us + MINUTE_US)
        await store.alerting.add_mute(Mute("a", "", then_us, then_us + HOUR_US, "somebody"))
    async with opened(url) as store:
        assert [one.alert.uid for one in await store.alerting.due(NOW_US)] == ["u"]
        (mute,) = await store.alerting.mutes(NOW_US)
        assert (mute.since_us, mute.until_us) == (NOW_US, NOW_US + HOUR_US)
        (found,) = await store.alerting.alerts()
        assert (found.started_us, found.fired_us, found.changed_us) == (NOW_US, NOW_US, NOW_US)


async def test_errors_of_the_future_come_back_to_the_present(url, wall, make_errors):
    then_us, today = NOW_US + YEARS_US, NOW_US // DAY_US
    async with opened(url) as store:
        await store.errors.add([make_errors("a", NOW_US, count=2), make_errors("b", NOW_US)])
        await store.errors.add([make_errors("a", then_us, count=3), make_errors("a", then_us + DAY_US, count=4)])
        await store.errors.mute(1, until_us=then_us, actor="Ann", now_us=NOW_US)
        await store.errors.resolve(1, actor="Ann", now_us=then_us + DAY_US)
    async with opened(url) as store:
        group, examples = await store.errors.group(1)
        assert (group.first_us, group.last_us, group.resolved_us) == (NOW_US, NOW_US, NOW_US)
        assert (group.total, group.days, group.muted_until_us) == (9, ((today, 9),), then_us)
        assert [example.at_us for example in examples] == [NOW_US] * 3
        (change,) = await store.errors.add([make_errors("a", NOW_US + 1)])
        assert change.reopened
        assert not (await store.status()).clock


async def test_rows_that_were_set_apart_can_be_imported_and_are_removed_by_the_time_they_were_set_apart(
    url, path, wall, append, make_rows
):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        rows = make_rows(5, NOW_US + YEARS_US)
        await append(store, rows)
    async with opened(url) as store:
        await store.clean(Retention(), now_us=NOW_US + DAY_US)
        kept = [text for (text,) in read(path, "SELECT statement FROM set_apart WHERE kind = 'operation'")]
        await store.clean(Retention(), now_us=NOW_US + 8 * DAY_US)
        assert not (await store.status()).clock
    assert read(path, "SELECT count(*) FROM set_apart") == [(0,)]
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        for statement in kept:
            raw.execute(statement)
    assert [end for (end,) in read(path, "SELECT end_us FROM operation ORDER BY id")] == [row[1] for row in rows]


async def test_a_person_is_forgotten_in_what_was_set_apart(url, path, wall):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await store.append([[(1, NOW_US + YEARS_US, 5, 0, None, '{"user": "0a1b2c3d"}')]], now_us=NOW_US + YEARS_US)
    async with opened(url) as store:
        assert (await store.status()).clock.operations == 1
        assert (await store.erase_person(Person(("user", "0a1b2c3d"), "123456789012345678"))).rows
    assert b"0a1b2c3d" not in path.read_bytes()
