"""Properties of the tables of errors that only the file shows."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from cogmeter_storage import Cleaned, Retention, open_store
from cogmeter_storage.errors import Frame
from cogmeter_storage.model import DAY_US

TABLES = ("error_group", "error_count", "error_person", "error_example")


def read(path, *queries):
    with contextlib.closing(sqlite3.connect(path)) as raw:
        return [raw.execute(query).fetchall() for query in queries]


def rows(path):
    return {table: len(read(path, f"SELECT * FROM {table}")[0]) for table in TABLES}


async def test_the_view_of_errors_shows_place_people_and_times(path, url, make_errors, noon):
    store = await open_store(url)
    people = {"users": frozenset("xy"), "guilds": frozenset("g")}
    await store.errors.add([make_errors("a", noon, count=7, version="1.4", **people), make_errors("b", place=None)])
    await store.errors.mute(1, until_us=noon + 2_000_000, actor="Ann", now_us=noon)
    await store.errors.resolve(1, actor="Ann", now_us=noon + 1_000_000)
    await store.close()
    names = "SELECT name FROM pragma_table_info('errors')"
    (shown, other), columns = read(path, "SELECT * FROM errors ORDER BY id", names)
    assert dict(zip((name for (name,) in columns), shown, strict=True)) == {
        "id": 1,
        "kind": "failed",
        "type": "RuntimeError",
        "message": "no answer from a",
        "file": "bot/answers.py",
        "line": 42,
        "function": "Answers.a",
        "total": 7,
        "users": 2,
        "guilds": 1,
        "first_seen": "2025-06-16T12:00:00.000Z",
        "last_seen": "2025-06-16T12:00:00.000Z",
        "first_version": "1.4",
        "last_version": "1.4",
        "resolved": "2025-06-16T12:00:01.000Z",
        "resolved_by": "Ann",
        "reopened": None,
        "muted_until": "2025-06-16T12:00:02.000Z",
        "fingerprint": "000000000000000a",
    }
    assert other[4:10] == (None, None, None, 1, 0, 0)


async def test_nothing_of_a_removed_group_is_left_in_its_tables(path, url, make_errors, noon):
    store = await open_store(url)
    await store.errors.add([make_errors("a", noon, users="xy", guilds=frozenset("g"))])
    assert await store.clean(Retention(), now_us=noon + 100 * DAY_US) == Cleaned(errors=1)
    await store.close()
    assert rows(path) == dict.fromkeys(TABLES, 0)


@pytest.mark.parametrize("at", ["an addition", "a check"])
async def test_a_damaged_group_is_moved_away_with_what_belongs_to_it_and_begins_again(url, path, make_errors, noon, at):
    store = await open_store(url)
    await store.errors.add([make_errors("a", noon, count=5, users="xy"), make_errors("b", noon, users="x")])
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE error_group SET last_us = 'x' WHERE id = 1")
    if at == "a check":
        assert (await store.verify()).rows == 1
        assert rows(path) == dict.fromkeys(TABLES, 1)
    (change,) = await store.errors.add([make_errors("a", noon)])
    assert (change.group.id, change.group.total, change.group.users, change.reopened) == (3, 1, 0, False)
    assert (await store.verify()).rows == 1
    assert (await store.errors.group(2))[0].users == 1
    await store.close()
    assert rows(path) == {"error_group": 2, "error_count": 2, "error_person": 1, "error_example": 2}


@pytest.mark.parametrize("loss", ["the database", "the log"])
async def test_errors_that_only_the_open_files_contain_are_written_again_exactly(url, path, make_errors, noon, loss):
    """Counts of groups that the database file has already rise, at first in the write-ahead log only."""
    store = await open_store(url)
    await store.errors.add([make_errors("a", noon, users="x"), make_errors("b", noon)])
    await store.errors.resolve(2, actor="Ann", now_us=noon)
    await store.close()
    store = await open_store(url)
    await store.errors.add([make_errors("a", noon + 1, count=3, users="xy"), make_errors("c", noon + 1)])
    await store.errors.add([make_errors("b", noon + DAY_US, count=4), *(make_errors("a", noon + 2) for _ in range(9))])
    before = await store.errors.groups(0, 2**60), await store.errors.group(1)
    names = [path.name] if loss == "the database" else [f"{path.name}-wal", f"{path.name}-shm"]
    for name in names:
        path.with_name(name).unlink()
    store, _ = await store.reopen()
    assert (await store.errors.groups(0, 2**60), await store.errors.group(1)) == before
    assert [group.total for group in before[0]] == [5, 13, 1]
    assert await store.errors.add([make_errors("a", noon + 3)]) == []
    await store.close()


async def test_a_backup_has_the_errors(url, tmp_path, make_errors, noon):
    store = await open_store(url)
    await store.errors.add([make_errors("a", noon, users="x", place=Frame("a.py", "f", 1, own=False))])
    await store.backup(tmp_path / "copy.db")
    copy = await open_store(f"sqlite:///{tmp_path / 'copy.db'}", read_only=True)
    assert await copy.errors.group(1) == await store.errors.group(1)
    await copy.close()
    await store.close()


async def test_queries_use_the_indexes(url, path):
    """A bot with many groups and days is listed without reading all of them."""
    await (await open_store(url)).close()
    counts = "SELECT 1 FROM error_count WHERE error_group = error_group.id AND day BETWEEN 1 AND 2"
    plans = read(
        path,
        "EXPLAIN QUERY PLAN SELECT id FROM error_group WHERE last_us >= 5 ORDER BY last_us DESC, id DESC LIMIT 5",
        f"EXPLAIN QUERY PLAN SELECT id FROM error_group WHERE EXISTS ({counts})",
        "EXPLAIN QUERY PLAN SELECT id FROM error_example WHERE error_group = 1 ORDER BY at_us DESC, id DESC LIMIT 5",
    )
    texts = ["; ".join(row[3] for row in plan) for plan in plans]
    assert "error_group_last_us (last_us>?)" in texts[0]
    assert "PRIMARY KEY (error_group=? AND day>? AND day<?)" in texts[1]
    assert "error_example_group (error_group=?)" in texts[2]
    assert "TEMP B-TREE" not in texts[0] + texts[2]
