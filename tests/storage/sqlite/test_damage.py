"""Damage that SQLite itself does not detect: it is rebuilt, or skipped, counted and logged once."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import sqlite3

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cogmeter_storage import Marker, Retention, open_store
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Mute, Step
from cogmeter_storage.base import CorruptStoreError
from cogmeter_storage.costs import CostKey, CostSums
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Damage, Outcome, Person, SpanRecord, Tier, TraceRecord
from cogmeter_storage.slot import decode, encode
from cogmeter_storage.sqlite.damage import DamageLog
from cogmeter_storage.usage import LOCALE, PeopleKind, UsageBatch, people_key

NAMES = [("a", "b"), ("a", "c"), ("a", "d")]
GROUPS = {1: 0, 2: 1, 3: 2}
DAYS = 3
LENGTH_US = DAYS * DAY_US + 2 * HOUR_US + 90_000_000
ABOUT_A_DAY = Retention(raw_hours=24.0, hour_hours=48.0)


HISTORY: list[tuple[int, bytes]] = []  # built once


@pytest.fixture
async def history(url, path, append, noon):
    """Write a closed file with three days of operations, one every five minutes, folded; return their number."""
    if HISTORY:
        path.write_bytes(HISTORY[0][1])
        return HISTORY[0][0]
    store = await open_store(url)
    await store.series_ids(NAMES)
    rows = [
        (i % 3 + 1, noon + at_us, 1000 + 37 * i, i % 5, f"error {i}" if i % 5 else None, None)
        for i, at_us in enumerate(range(0, LENGTH_US, 5 * MINUTE_US))
    ]
    await append(store, rows)
    await store.fold(now_us=noon + LENGTH_US)
    await store.close()
    HISTORY.append((len(rows), path.read_bytes()))
    return len(rows)


@contextlib.contextmanager
def vandal(path):
    """A connection that writes invalid data into the file."""
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        yield raw


@contextlib.asynccontextmanager
async def opened(url, **options):
    store = await open_store(url, **options)
    try:
        yield store
    finally:
        await store.close()


def plain(totals):
    return [column.tobytes() for column in (totals.outcomes, totals.sum_us, totals.max_us, totals.buckets)]


async def figures(store, noon, step_us=None):
    return plain(await store.totals(noon, noon + LENGTH_US, groups=GROUPS, step_us=step_us))


async def truth_of(url, noon):
    async with opened(url, read_only=True) as store:
        return [await figures(store, noon, step_us) for step_us in (None, MINUTE_US * 10)]


def slots(path, tier=None):
    with vandal(path) as raw:
        rows = raw.execute(
            "SELECT tier, start_us, first_id, last_id, data FROM slot ORDER BY tier, start_us"
        ).fetchall()
    return [row for row in rows if tier is None or row[0] == tier]


def without_checksums(path):
    """Bring every slot into the format of schema versions 1 to 3."""
    with vandal(path) as raw:
        for tier, start_us, first_id, last_id, data in raw.execute("SELECT * FROM slot").fetchall():
            assert decode(data, (tier, start_us, first_id, last_id))
            raw.execute("UPDATE slot SET data = ? WHERE (tier, start_us) = (?, ?)", (b"\1" + data[5:], tier, start_us))


@pytest.mark.parametrize(("old", "data"), [(False, b"\x00"), (False, None), (True, "text")])
@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.parametrize("which", ["first", "middle", "last", "all"])
async def test_a_damaged_slot_is_rebuilt_and_all_figures_stay_right(
    url, path, history, noon, caplog, tier, which, data, old
):
    truth = await truth_of(url, noon)
    if old:
        without_checksums(path)
    starts = [row[1] for row in slots(path, tier)]
    chosen = {"first": starts[:1], "middle": starts[len(starts) // 2 :][:1], "last": starts[-1:], "all": starts}[which]
    with vandal(path) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'data BLOB NOT NULL', 'data BLOB') WHERE name = 'slot'"
        )
    with vandal(path) as raw:
        for start_us in chosen:
            raw.execute("UPDATE slot SET data = ? WHERE (tier, start_us) = (?, ?)", (data, tier, start_us))
    async with opened(url, read_only=True) as store:
        assert await figures(store, noon) == truth[0]
        assert await figures(store, noon, MINUTE_US * 10) == truth[1]
    caplog.clear()
    async with opened(url) as store:
        assert await figures(store, noon, MINUTE_US * 10) == truth[1]
        await store.verify()
        assert (await store.status()).damage == Damage(rebuilt_slots=len(chosen))
        assert await figures(store, noon) == truth[0]
    async with opened(url) as store:
        assert await figures(store, noon, MINUTE_US * 10) == truth[1]
        assert (await store.status()).damage == Damage(rebuilt_slots=len(chosen))
    lines = [line for line in caplog.messages if "is damaged" in line]
    assert len(lines) == min(len(chosen), 20)
    assert all(f"The slot of the {tier.name.lower()} from 2025-06-1" in line for line in lines)
    assert all(row[4][0] == 2 for row in slots(path))  # each has a checksum now


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.one_of(
                st.tuples(st.just("flip"), st.integers(0, 10**6)),
                st.tuples(st.just("cut"), st.integers(0, 10**6)),
                st.tuples(st.just("noise"), st.binary(max_size=60)),
                st.tuples(st.sampled_from(["first_id", "last_id"]), st.integers(-(2**63), 2**63 - 1)),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
async def test_whatever_happens_to_slots_totals_are_right_or_the_loss_is_counted(tmp_path_factory, damages, raw_left):
    folder = tmp_path_factory.mktemp("damage")
    path, noon = folder / "performance.db", 1_750_075_200_000_000
    url = f"sqlite:///{path}"
    async with opened(url) as store:
        await store.series_ids(NAMES)
        rows = [(i % 3 + 1, noon + i * 5 * MINUTE_US, 1000 + 37 * i, i % 5, None, None) for i in range(600)]
        await store.append([rows], now_us=rows[-1][1])
        await store.fold(now_us=rows[-1][1])
        if not raw_left:
            await store.clean(Retention(raw_hours=3), now_us=rows[-1][1])
        truth = plain(await store.totals(noon, noon + LENGTH_US, groups=GROUPS))
    for place, (kind, value) in damages:
        stored = slots(path)
        tier, start_us, _, _, data = stored[place % len(stored)]
        if kind == "flip":
            changed = bytearray(data or b"\0")
            changed[value // 8 % len(changed)] ^= 1 << value % 8
            new = bytes(changed)
        else:
            new = value if kind == "noise" else data[: value % len(data)] if kind == "cut" and data else data
        with vandal(path) as raw:
            raw.execute("UPDATE slot SET data = ? WHERE (tier, start_us) = (?, ?)", (new, tier, start_us))
            if kind in {"first_id", "last_id"}:
                raw.execute(f"UPDATE slot SET {kind} = ? WHERE (tier, start_us) = (?, ?)", (value, tier, start_us))
    for read_only in (True, False, True):
        async with opened(url, read_only=read_only) as store:
            found = plain(await store.totals(noon, noon + LENGTH_US, groups=GROUPS))
            if not read_only:
                await store.fold(now_us=rows[-1][1])
                await store.clean(Retention(raw_hours=48), now_us=rows[-1][1])
            damage = await store.verify()
            assert found == truth or damage.lost_slots or damage.rows
            assert plain(await store.totals(noon, noon + LENGTH_US, groups=GROUPS)) == truth or damage.lost_slots
            assert not raw_left or found == truth


async def test_a_slot_without_finer_data_is_skipped_counted_and_kept_for_people(url, path, history, noon, caplog):
    async with opened(url) as store:
        await store.clean(ABOUT_A_DAY, now_us=noon + LENGTH_US)
        before = await store.totals(noon, noon + LENGTH_US, groups=GROUPS)
    (_, start_us, first_id, last_id, data), *_ = slots(path, Tier.DAY)
    with vandal(path) as raw:
        raw.execute("UPDATE slot SET data = x'00' WHERE (tier, start_us) = (2, ?)", (start_us,))
    async with opened(url) as store:
        assert (await store.status()).damage.lost_slots == 0  # nobody has met it
        damage = await store.verify()
        assert damage == Damage(lost_slots=1)
        after = await store.totals(noon, noon + LENGTH_US, groups=GROUPS)
        lost = decode(data, (2, start_us, first_id, last_id))
        assert before.counts.sum() - after.counts.sum() == lost.counts.sum()
    assert len([line for line in caplog.messages if "The slot of the day from 2025-06-16" in line]) == 1
    with vandal(path) as raw:
        ((kind, result, statement),) = raw.execute("SELECT kind, result, statement FROM damage").fetchall()
        assert (kind, result) == ("slot", "lost")
        raw.execute(statement)  # brings the row back as it was
        assert raw.execute("SELECT data FROM slot WHERE (tier, start_us) = (2, ?)", (start_us,)).fetchone() == (b"\0",)


async def test_known_damage_is_forgotten_when_the_operations_of_its_time_are_cleaned_up(url, path, history, noon):
    with vandal(path) as raw:
        raw.execute("UPDATE slot SET data = x'00' WHERE tier = 1")
    async with opened(url) as store:
        assert (await store.verify()).rebuilt_slots == 24 * DAYS + 2
        (at_us,) = await store._reading.run(lambda raw: raw.execute("SELECT max(at_us) FROM damage").fetchone())
        await store.clean(Retention(), now_us=at_us + 6 * DAY_US)
        assert (await store.status()).damage.rebuilt_slots
        await store.clean(Retention(), now_us=at_us + 8 * DAY_US)
        assert not (await store.status()).damage


async def test_slots_that_are_damaged_while_the_store_is_open_stop_neither_folding_nor_clean_up(
    url, path, history, append, noon
):
    async with opened(url) as store:
        truth = await figures(store, noon)
        with vandal(path) as raw:
            raw.execute("UPDATE slot SET data = x'00' WHERE tier = 1 AND start_us >= ?", (noon + DAY_US,))
            raw.execute("UPDATE slot SET data = x'00' WHERE tier = 0 AND start_us % 7 = 0")
        later_us = noon + LENGTH_US + 6 * HOUR_US
        assert await figures(store, noon) == truth
        await append(store, [(1, later_us - 10 * MINUTE_US, 5000, 0, None, None)], now_us=later_us)
        assert await store.fold(now_us=later_us) >= 1
        cleaned = await store.clean(ABOUT_A_DAY, now_us=later_us)
        assert cleaned.operations > history // 2
        assert (await store.status()).first_end_us >= later_us - DAY_US - HOUR_US
        totals = await store.totals(noon, later_us, groups=GROUPS)
        assert totals.counts.sum() == history + 1
        assert (await store.status()).damage.lost_slots == 0


async def test_a_late_minute_joins_an_hour_and_a_day_that_are_damaged(url, path, noon, append):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, [(1, noon + i * MINUTE_US, 1000, 0, None, None) for i in range(40)])
        await store.fold(now_us=noon + DAY_US)
        with vandal(path) as raw:
            raw.execute("UPDATE slot SET data = x'00' WHERE tier > 0")
        await append(store, [(2, noon + 50 * MINUTE_US, 1000, 0, None, None)], now_us=noon + 52 * MINUTE_US)
        await store.fold(now_us=noon + DAY_US)
        assert (await store.totals(noon - 12 * HOUR_US, noon + 12 * HOUR_US, groups=GROUPS)).counts.sum() == 41
        assert (await store.status()).damage == Damage(rebuilt_slots=2)
    for row in slots(path):
        assert decode(row[4], row[:4]).counts.sum() == (1 if row[0] == Tier.MINUTE else 41)


@pytest.mark.parametrize(
    "change",
    [
        "start_us = start_us + 1",
        "start_us = start_us + (1 << 55)",
        "start_us = start_us - (1 << 50)",
        "start_us = 'yesterday'",
        "start_us = 1.5",
        "tier = 7",
        "tier = 'x'",
        "first_id = 'x'",
        "last_id = 9000000000000",
        "last_id = -1",
        "last_id = x'00'",
    ],
)
@pytest.mark.parametrize("tier", list(Tier))
async def test_a_damaged_key_of_the_newest_slot_is_found(url, path, history, noon, append, tier, change):
    truth = await truth_of(url, noon)
    newest = slots(path, tier)[-1][1]
    with vandal(path) as raw:
        raw.execute(f"UPDATE slot SET {change} WHERE (tier, start_us) = (?, ?)", (tier, newest))
    async with opened(url, read_only=True) as store:
        totals = await store.totals(noon, noon + LENGTH_US, groups=GROUPS)
        assert history - 300 <= totals.counts.sum() <= history
        assert await store.verify()
    async with opened(url) as store:
        later_us = noon + LENGTH_US + HOUR_US
        assert await append(store, [(1, later_us, 5000, 0, None, None)], now_us=later_us) == 1
        assert (await store.recent([1], noon, later_us + 1, limit=1))[0].end_us == later_us  # not moved to the future
        await store.fold(now_us=later_us)
        damage = await store.verify()
        found = await figures(store, noon)
        assert found == truth[0] or damage
        assert await store.verify() == damage


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("outcome", 99),
        ("outcome", -1),
        ("outcome", "broken"),
        ("outcome", None),
        ("duration_us", "long"),
        ("duration_us", 2**62),
        ("duration_us", 1.5),
        ("end_us", "now"),
        ("end_us", 2**61),
        ("series", 0),
        ("series", 77),
        ("series", "a"),
        ("series", 2**62),
        ("error", b"\xff\xfe"),
        ("metadata", b"\xff\xfe"),
        ("metadata", 5),
        ("metadata", "[" * 200_000),
    ],
)
@pytest.mark.parametrize("where", ["sealed", "unsealed", "last"])
async def test_an_impossible_operation_is_skipped_by_all_who_read(
    url, path, noon, append, make_rows, column, value, where
):
    count = 130
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(count, noon))
    number = {"sealed": 30, "unsealed": 125, "last": count}[where]
    with vandal(path) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'operation'")
    with vandal(path) as raw:
        raw.execute(f"UPDATE operation SET {column} = ? WHERE id = ?", (value, number))
    for read_only in (True, False):
        async with opened(url, read_only=read_only) as store:
            everything = ([1, 2, 3], noon - DAY_US, noon + DAY_US)
            for found in (
                await store.recent(*everything, limit=1000),
                await store.slowest(*everything, limit=1000),
                await store.page(None, noon - DAY_US, noon + DAY_US, limit=1000),
                [one async for chunk in store.stream(None, noon, noon + DAY_US, rows=7) for one in chunk],
            ):
                ids = {one.id for one in found}
                assert ids >= set(range(1, count + 1)) - {number}
                assert all(type(one.duration_us) is int and isinstance(one.outcome, Outcome) for one in found)
            assert await store.failure_groups(None, noon, noon + DAY_US)
            counted = (await store.totals(noon, noon + DAY_US, groups=GROUPS)).counts.sum()
            assert counted in {count - 1, count}
            assert (await store.status()).last_end_us
    async with opened(url) as store:
        later_us = noon + HOUR_US
        await append(store, [(1, later_us, 5, 0, None, None)], now_us=later_us + MINUTE_US)
        ((newest,),) = [await store.recent([1], noon, later_us + 1, limit=1)]
        assert newest.end_us == later_us
        await store.fold(now_us=later_us + HOUR_US)
        assert (await store.clean(Retention(raw_hours=1), now_us=noon + 9 * HOUR_US)).operations == count + 1


async def test_skipped_operations_are_counted_and_logged_once(url, path, noon, append, make_rows, caplog):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(50, noon))
        with vandal(path) as raw:
            raw.execute("UPDATE operation SET duration_us = 'long' WHERE id IN (7, 9)")
        for _ in range(3):
            assert len(await store.recent([1, 2, 3], noon, noon + HOUR_US, limit=40)) == 40
            assert len(await store.recent([1, 2, 3], noon, noon + HOUR_US, limit=100)) == 48
        assert (await store.status()).damage == Damage(rows=2)
    assert [re.search(r"Row (\d+) of table operation", line)[1] for line in caplog.messages] == ["9", "7"]


async def test_one_row_out_of_order_neither_overwrites_a_minute_nor_moves_all_later_ones(url, path, noon, append):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, [(1, noon + i * 20_000_000, 5000, 0, None, None) for i in range(30)], now_us=noon)
        with vandal(path) as raw:
            raw.execute("DELETE FROM slot")
            raw.execute("UPDATE operation SET end_us = end_us + 1000000000000 WHERE id = 5")
            raw.execute("UPDATE operation SET end_us = end_us - 600000000000 WHERE id = 20")
    async with opened(url, read_only=True) as store:
        assert (await store.totals(noon, noon + HOUR_US, groups=GROUPS)).counts.sum() == 28
    async with opened(url) as store:
        assert (await store.totals(noon, noon + HOUR_US, groups=GROUPS)).counts.sum() == 28
        assert (await store.status()).damage == Damage(rows=2)
        await append(store, [(1, noon + HOUR_US, 5, 0, None, None)])
        assert (await store.recent([1], noon, noon + DAY_US, limit=1))[0].end_us == noon + HOUR_US


def alert_with(uid, at_us, state=AlertState.FIRING):
    return Alert(uid, "slow", "a", "", state, "critical", "m 4711", 1, 2, 2, at_us, at_us, at_us, at_us)


async def fill_small_tables(store, noon, make_errors):
    """Two of everything."""
    for number in (1, 2):
        await store.errors.add([make_errors(f"{number}", noon, users="u")])
        keys, hashes = np.array([people_key(number, PeopleKind.USER)]), np.array([number << 40], np.uint64)
        await store.usage.add(UsageBatch(noon, keys, hashes, {(LOCALE, f"{number}"): 1}))
        alert = alert_with(f"uid{number}", noon)
        change = AlertChange(alert.uid, "fired", AlertState.FIRING, "critical", "m", 2, 1, noon)
        await store.alerting.save([Step(alert, change, ("log",))])
        await store.alerting.add_mute(Mute("a", "slow", noon, noon + DAY_US, "Ann"))
        await store.alerting.override({f"slow{number}": "5"}, now_us=noon, actor="Ann")
        await store.costs.add(
            {CostKey(noon, "a", user=str(number)): CostSums(1, micro_usd=5)}, key=f"costs{number}", state=b"{}"
        )
        await store.add_marker(Marker(noon, "mark", f"deploy {number}"))
        await store.add_samples(noon + number, {"lag": 5.0})
        await store.set_value(f"key{number}", b"value")
        span = SpanRecord(1, 0, "a", "b", 5, 5, Outcome.OK)
        await store.add_traces([TraceRecord(noon, "a", "b", 10 + number, Outcome.OK, None, 0, (span,))])


async def read_small_tables(store, noon):
    """Return the number of rows read from each small table."""
    kept = store.alerting
    groups = await store.errors.groups(noon, noon + 1)
    examples = [await store.errors.group(number) for number in (1, 2)]
    return {
        "error_group": len(groups),
        "error_count": sum(group.count for group in groups),
        "error_person": sum(group.users for group in groups),
        "error_example": sum(len(found[1]) for found in examples if found is not None),
        "alert": len(await kept.alerts()),
        "alert_change": len(await kept.changes()),
        "delivery": len(await kept.due(noon + 1)),
        "mute": len(await kept.mutes(noon + 1)),
        "audit": len(await kept.audit()),
        "threshold_override": len(await kept.overrides()),
        "marker": len(await store.markers(noon, noon + 1)),
        "sample": len((await store.samples(["lag"], noon, noon + 9))["lag"]),
        "memory": [await store.get_value(f"key{number}") for number in (1, 2)].count(b"value"),
        "trace": len(await store.traces(None, None, noon, limit=2)),
        "series": len(await store.series()),
        "usage_part": sum(one.users for one in await store.usage.distinct(noon, noon + 1, groups={1: 0, 2: 1})),
        "usage_count": len(await store.usage.counts(noon, noon + 1, [LOCALE])),
        "usage_last": len(await store.usage.last_use([1, 2])),
        "cost": len(await store.costs.grouped(noon, noon + 1, by=["user"])),
    }


SMALL = {
    "alert": [
        "state = 'lost'",
        "worst = 'x'",
        "changed_us = 'x'",
        "changed_us = 1 << 61",
        "message = x'00'",
        "uid = x'00'",
    ],
    "alert_change": ["state = 'lost'", "at_us = 'x'", "current = x'00'", "kind = x'00'"],
    "delivery": ["due_us = 'x'", "attempts = 'x'"],
    "mute": ["until_us = 'x'", "service = x'00'"],
    "audit": ["at_us = 'x'", "actor = x'00'"],
    "threshold_override": ["value = x'00'"],
    "marker": ["name = x'00'"],
    "sample": ["value = 'x'", "value = 9e999"],
    "memory": ["value = 5", "value = 'text'", "value = 1000000000000"],
    "trace": ["spans = '[[1]]'", "spans = 'x'", "spans = x'ff'", "outcome = 9", "duration_us = 'x'"],
    "series": ["service = x'00'"],
    "error_group": [
        "kind = 'lost'",
        "total = 'x'",
        "total = -1",
        "last_us = 'x'",
        "first_us = 1 << 61",
        "message = x'00'",
        "resolved_by = x'00'",
        "muted_until_us = 'x'",
        "line = 'x'",
        "fingerprint = x'00'",
    ],
    "error_count": ["errors = 'x'", "errors = 0", "errors = 1 << 60", "service = x'00'", "day = 'x'", "day = 1 << 40"],
    "error_person": ["kind = 'lost'", "hash = x'00'"],
    "error_example": ["chain = '[[1]]'", "chain = '[[1,1,[]]]'", "chain = 'x'", "chain = x'ff'", "at_us = 'x'"],
    "usage_part": ["data = x'00'", "data = 'x'", "data = zeroblob(40)", "start_us = 'x'", "start_us = start_us + 1"],
    "usage_count": ["name = x'00'", "count = 'x'", "count = 0", "count = 1 << 60"],
    "cost": ["operations = 0", "micro_usd = -1", "tokens_in = 'x'", "caller = x'00'", "unpriced = 1 << 60"],
    "usage_last": ["at_us = 'x'", "at_us = 1 << 61"],
}
WITHOUT_ROWID = {
    "sample": "at_us = (SELECT min(at_us) FROM sample)",
    "memory": "name = 'key1'",
    "error_count": "error_group = 1",
    "error_person": "error_group = 1",
    "usage_count": "name = '1'",
    "cost": "user = '1'",
}


@pytest.mark.parametrize(("table", "change"), [(table, change) for table, some in SMALL.items() for change in some])
async def test_a_damaged_row_of_any_table_is_skipped_and_the_other_ones_are_read(
    url, path, noon, make_errors, table, change
):
    async with opened(url) as store:
        await store.series_ids(NAMES[:2])
        await fill_small_tables(store, noon, make_errors)
        if table == "usage_last":
            await store.fold(now_us=noon + HOUR_US)
        whole = await read_small_tables(store, noon)
        with vandal(path) as raw:
            one = WITHOUT_ROWID.get(table, f"rowid = (SELECT min(rowid) FROM {table})")
            raw.execute(f"UPDATE {table} SET {change} WHERE {one}")
        found = await read_small_tables(store, noon)
        assert found[table] == whole[table] - 1
        await store.alerting.alert("uid1")
        await store.alerting.next_due_us("log")
        await store.alerting.attempts()
        await store.alerting.shift_times(0, now_us=noon)
        await store.erase_person(Person(("user", "x"), "4711", "Ann"))
        await store.clean(Retention(), now_us=noon)
        damage = await store.verify()
        assert damage.rows == 1
        assert (await read_small_tables(store, noon))[table] == found[table]
    async with opened(url, read_only=True) as store:
        assert (await read_small_tables(store, noon))[table] == found[table]


async def test_a_damaged_change_does_not_block_what_waits_for_the_same_target(url, path, noon):
    async with opened(url) as store:
        alert = alert_with("uid", noon)
        for number, kind in enumerate(("fired", "resolved")):
            change = AlertChange("uid", kind, AlertState.FIRING, "critical", "m", 2, 1, noon + number)
            await store.alerting.save([Step(alert, change, ("log",))])
        with vandal(path) as raw:
            raw.execute("UPDATE alert_change SET state = 'lost' WHERE kind = 'fired'")
        assert await store.alerting.due(noon + 9) == []
        assert await store.alerting.next_due_us("log") is None
        await store.verify()
        (delivery,) = await store.alerting.due(noon + 9)
        assert delivery.change.kind == "resolved"


@pytest.mark.parametrize("noise", [b"\xff\xfe name", b"caf\xe9"])
async def test_a_text_that_is_no_utf8_is_read_with_its_wrong_bytes_replaced(
    url, path, noon, append, make_rows, make_errors, noise
):
    async with opened(url) as store:
        await store.series_ids(NAMES)
        await append(store, make_rows(130, noon))
        await fill_small_tables(store, noon, make_errors)
        for table, column in (
            ("operation", "error"),
            ("operation", "metadata"),
            ("series", "operation"),
            ("alert", "message"),
            ("marker", "name"),
            ("error_group", "message"),
            ("error_count", "service"),
            ("error_person", "hash"),
        ):
            with vandal(path) as raw:
                where = {"operation": "id = 3", "series": "id = 3", "error_count": "error_group = 1"}.get(table, "1")
                raw.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {where}", (noise,))
    for read_only in (True, False):
        async with opened(url, read_only=read_only) as store:
            found = await store.recent([1, 2, 3], noon, noon + HOUR_US, limit=1000)
            assert len(found) == 130
            (damaged,) = [one for one in found if one.id == 3]
            assert "\ufffd" in damaged.metadata["metadata"]
            assert "\ufffd" in damaged.operation
            assert "\ufffd" in (await store.markers(noon, noon + 1))[0].name
            assert "\ufffd" in (await store.alerting.alerts())[0].message
            assert len(await store.series()) >= 1
            group, _ = await store.errors.group(1)
            assert "\ufffd" in group.message
            assert "\ufffd" in group.places[0][0]
            if not read_only:
                await store.erase_person(Person(("user", "x"), "4711", "Ann"))


async def test_what_was_set_aside_is_forgotten_with_the_person(url, path, noon):
    async with opened(url) as store:
        await store.alerting.add_mute(Mute("a", "slow", noon, noon + DAY_US, "Ann", "for 123456789012345678"))
        with vandal(path) as raw:
            raw.execute("UPDATE mute SET since_us = 'x'")
        assert (await store.verify()).rows == 1
        assert (await store.erase_person(Person(("user", "x"), "123456789012345678"))).rows >= 1
    with vandal(path) as raw:
        assert raw.execute("SELECT count(*) FROM damage").fetchone() == (0,)


async def test_an_older_release_refuses_the_file_and_sets_nothing_aside(url, path, history, monkeypatch):
    with monkeypatch.context() as then:
        then.setattr("cogmeter_storage.sqlite.database_file.SQLITE_VERSION", 3)
        with pytest.raises(Exception, match="later than the 3 known here; it has not been changed"):
            await open_store(url, replace_corrupt=True)
    assert list(path.parent.glob("*corrupt*")) == []


async def test_many_damaged_slots_do_not_flood_the_log(url, path, history, noon, caplog):
    with vandal(path) as raw:
        raw.execute("UPDATE slot SET data = x'00'")
    with caplog.at_level(logging.WARNING, "cogmeter.storage"):
        async with opened(url) as store:
            await figures(store, noon, MINUTE_US * 10)
            await store.verify()
    assert len(caplog.messages) == 21
    assert caplog.messages[-1].endswith("more damaged slots are counted, and not logged")


async def test_the_figures_of_a_sound_file_are_read_without_a_word(url, history, noon, caplog):
    async with opened(url) as store:
        assert not await store.verify()
        await store.fold(now_us=noon + LENGTH_US)
    assert caplog.messages == []


def test_random_bits_of_slots_never_decode_to_other_figures(history, path):
    rng = random.Random(5)
    for row in slots(path):
        for _ in range(20):
            damaged = bytearray(row[4])
            bit = rng.randrange(8 * len(damaged))
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ValueError, match=r"checksum|version|bytes|widths|header"):
                decode(bytes(damaged), row[:4])
        assert encode(decode(row[4], row[:4]), row[:4]) == row[4]


async def test_a_table_with_a_damaged_page_keeps_no_other_one_from_being_cleaned_up_and_verified(
    url, path, history, noon, make_errors
):
    async with opened(url) as store:
        await fill_small_tables(store, noon, make_errors)
    with vandal(path) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'trace'").fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        raw.execute("UPDATE marker SET at_us = 'x' WHERE id = 1")
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(bytes(size))
    async with opened(url) as store:
        with pytest.raises(CorruptStoreError, match="damaged"):
            await store.verify()
        assert (await store.status()).damage.rows == 1
        with pytest.raises(CorruptStoreError, match="damaged"):
            await store.clean(ABOUT_A_DAY, now_us=noon + LENGTH_US)
        assert (await store.status()).operations < history // 2
        assert (await store.samples(["lag"], 0, 2**62))["lag"] == []
        assert await store.append([[(1, noon + LENGTH_US, 5, 0, None, None)]], now_us=noon + LENGTH_US) == 1


async def test_a_damaged_schema_whose_error_is_no_utf8_is_damage(url, path, history):
    sound_bytes = path.read_bytes()
    assert b"CREATE TABLE receipt" in sound_bytes
    path.write_bytes(sound_bytes.replace(b"CREATE TABLE receipt", b"CREATE \xff\xfe\xfd\xe0\xff receipt"))
    with pytest.raises(CorruptStoreError, match="is damaged"):
        await open_store(url, read_only=True)
    with pytest.raises(CorruptStoreError):
        await open_store(url)
    async with opened(url, replace_corrupt=True) as store:
        assert (await store.status()).operations == 0
    assert len(list(path.parent.glob("performance.db.corrupt-*"))) == 1


@pytest.mark.parametrize("table", ["slot", "series"])
async def test_an_index_that_lost_entries_is_found_and_rebuilt_and_figures_are_right_again(
    url, path, history, noon, caplog, table
):
    truth = await truth_of(url, noon)
    with vandal(path) as raw:
        find = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        (root,) = raw.execute(find, (f"sqlite_autoindex_{table}_1",)).fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    count = (root - 1) * size + 3  # where the page's header has its number of entries
    with path.open("r+b") as file:
        file.seek(count)
        entries = int.from_bytes(file.read(2), "big")
        file.seek(count)
        file.write((entries - 1).to_bytes(2, "big"))
    async with opened(url, read_only=True) as store:
        with pytest.raises(CorruptStoreError, match="damaged"):
            await store.verify()
    async with opened(url) as store:
        await store.verify()
        assert (await store.status()).damage.rebuilt_slots == 1
        await store.verify()
    assert [line for line in caplog.messages if "index of table" in line and table in line]
    assert await truth_of(url, noon) == truth
    with vandal(path) as raw:
        # A page that the index lost is left unused, which is no fault of the table.
        assert raw.execute(f"PRAGMA integrity_check({table})").fetchall() == [("ok",)]


def test_a_reader_that_began_before_a_repair_counts_the_slot_no_second_time(path):
    log = DamageLog(path)
    log.note_slot(1, 0, "it is short", "rebuilt")
    assert log.unrepaired_slots() == [(1, 0)]
    log.note_repaired_slot(1, 0, "it is short", "rebuilt")
    log.note_slot(1, 0, "it is short", "rebuilt")
    assert log.unrepaired_slots() == []
    log.note_slot(1, HOUR_US, "it is short", "rebuilt")
    assert log.unrepaired_slots() == [(1, HOUR_US)]
