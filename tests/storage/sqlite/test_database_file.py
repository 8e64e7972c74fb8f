"""The database file: created with its folders, and refused if it is of another program."""

from __future__ import annotations

import logging
import re
import sqlite3

import pytest

from cogmeter_storage import CorruptStoreError, StorageError, open_store
from cogmeter_storage.model import HOUR_US
from cogmeter_storage.schema import APPLICATION_ID, SQLITE_VERSION

TRY_TO_WRITE = """
import asyncio, sys
from cogmeter_storage import StorageError, open_store

async def main():
    try:
        store = await open_store(sys.argv[1])
    except StorageError as error:
        print(error.permanent, error)
        return
    (series,) = await store.series_ids([("a", "b")])
    written, failed = 0, None
    for turn in range(400):
        rows = [(series, turn * 1_000_000 + i, 5, 0, None, "x" * 100) for i in range(100)]
        try:
            written += await store.append([rows], now_us=rows[-1][1])
        except StorageError as error:
            failed = failed or error
    totals = await store.totals(0, 10**12, groups={series: 0})
    print(failed.permanent, failed, "|", written, totals.counts.tolist()[0][0], (await store.status()).operations)
    await store.close()

asyncio.run(main())
"""


async def filled(url, append, make_rows, noon, count=3000):
    store = await open_store(url)
    await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
    await append(store, make_rows(count, noon))
    await store.fold(now_us=noon + HOUR_US)
    await store.close()


def damage(path, start, stop):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (stop - start))


async def refused(url, match, **options):
    with pytest.raises(StorageError, match=match) as caught:
        await open_store(url, **options)
    assert caught.value.permanent
    assert "PERFORMANCE_DATABASE_URL" in str(caught.value)
    return caught.value


async def test_missing_folders_are_made(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path}/a/b/performance.db")
    await store.close()
    assert (tmp_path / "a/b/performance.db").stat().st_size > 0


async def test_a_new_file_says_whose_it_is_and_of_which_version(path, url):
    await (await open_store(url)).close()
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert raw.execute("PRAGMA user_version").fetchone() == (SQLITE_VERSION,)
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()


@pytest.mark.parametrize("replace_corrupt", [False, True])
async def test_a_file_that_is_not_a_database_is_refused_and_not_changed(path, url, replace_corrupt):
    path.write_bytes(b"shopping list\n" * 500)
    await refused(url, "not an SQLite database", replace_corrupt=replace_corrupt)
    assert path.read_bytes() == b"shopping list\n" * 500


@pytest.mark.parametrize("replace_corrupt", [False, True])
async def test_the_database_of_another_program_is_refused_and_not_changed(path, url, replace_corrupt):
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE levels (user_id, xp)")
    raw.close()
    before = path.read_bytes()
    await refused(url, "another program", replace_corrupt=replace_corrupt)
    assert path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_later_version_is_refused_and_not_changed(path, url, read_only):
    await (await open_store(url)).close()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA user_version = {SQLITE_VERSION + 1}")
    raw.close()
    before = path.read_bytes()
    await refused(url, f"schema version {SQLITE_VERSION + 1}", read_only=read_only)
    assert path.read_bytes() == before


async def test_a_damaged_first_page_is_reported(path, url, append, make_rows, noon):
    await filled(url, append, make_rows, noon)
    damage(path, 100, 4000)
    with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
        await open_store(url)


@pytest.mark.parametrize("where", [(16, 24), (100, 4000)], ids=["header", "schema"])
async def test_a_damaged_database_is_set_aside_and_a_new_one_started(path, url, append, make_rows, noon, caplog, where):
    await filled(url, append, make_rows, noon)
    damage(path, *where)
    kept = path.read_bytes()
    path.with_name("performance.db-wal").write_bytes(b"old log")
    with caplog.at_level(logging.ERROR, "cogmeter.storage"):
        store = await open_store(url, replace_corrupt=True)
    assert (await store.status()).operations == 0
    await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
    await append(store, make_rows(10, noon))
    await store.close()
    assert not path.with_name("performance.db-wal").exists()
    (aside,) = path.parent.glob("performance.db.corrupt-*Z")
    assert aside.read_bytes() == kept
    assert aside.name in caplog.text
    assert all(record.name == "cogmeter.storage" for record in caplog.records if record.levelno >= logging.ERROR)


async def test_damage_in_the_middle_is_reported_at_the_latest_when_it_is_read(path, url, append, make_rows, noon):
    await filled(url, append, make_rows, noon, count=20_000)
    size = path.stat().st_size
    damage(path, size // 4 // 4096 * 4096, size * 3 // 4)

    async def use():
        store = await open_store(url)
        try:
            await store.recent([1, 2, 3], noon, noon + 10 * HOUR_US, limit=100_000)
            await store.totals(noon, noon + 10 * HOUR_US - 1, groups={1: 0})
        finally:
            await store.close()

    with pytest.raises(CorruptStoreError, match=re.escape(str(path))):
        await use()


async def test_a_folder_that_cannot_be_created_is_reported_with_path_and_reason(tmp_path):
    (tmp_path / "file").write_text("in the way")
    error = await refused(f"sqlite:///{tmp_path}/file/sub/performance.db", "folder")
    assert str(tmp_path / "file" / "sub") in str(error)
    assert "Not a directory" in str(error)


async def test_a_folder_in_the_place_of_the_file_is_reported(path, url):
    path.mkdir()
    error = await refused(url, "directory")
    assert str(path) in str(error)


async def test_a_failed_opening_gives_the_lock_back(path, url):
    path.write_bytes(b"shopping list\n")
    await refused(url, "not an SQLite database")
    path.unlink()
    await (await open_store(url)).close()


async def test_reading_alone_needs_a_file(path, url):
    await refused(url, "does not exist", read_only=True)
    assert not path.exists()


async def test_the_error_of_a_second_writer_recommends_another_file(url):
    store = await open_store(url)
    error = await refused(url, "another bot")
    assert "stop that bot, or set PERFORMANCE_DATABASE_URL to another file" in str(error)
    await store.close()
    await (await open_store(url)).close()


async def test_a_second_writer_in_another_process_is_refused_too(url, run_python):
    store = await open_store(url)
    finished = run_python(TRY_TO_WRITE, url)
    await store.close()
    assert finished.stdout.startswith("True ")
    assert "another bot" in finished.stdout


async def test_another_programs_lock_is_waited_for_then_reported_and_the_rows_can_come_again(
    path, url, append, make_rows, noon
):
    store = await open_store(url)
    await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
    store._writer.lock_timeout_s = 0.05
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="lock") as caught:
        await append(store, make_rows(10, noon))
    assert not caught.value.permanent
    other.execute("ROLLBACK")
    other.close()
    assert await append(store, make_rows(10, noon)) == 10
    assert (await store.status()).operations == 10
    await store.close()


async def test_when_the_file_may_not_grow_nothing_is_half_written(url, append, make_rows, noon):
    store = await open_store(url)
    await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
    await append(store, make_rows(70, noon))
    connection = store._writer._connection
    await connection.run(lambda raw: raw.execute("PRAGMA max_page_count = 10").fetchall())
    rows = make_rows(20_000, noon + 70_000_000)
    with pytest.raises(StorageError, match="full") as caught:
        await append(store, rows)
    assert not caught.value.permanent
    assert (await store.totals(noon, noon + 100 * HOUR_US, groups={1: 0, 2: 0, 3: 0})).counts.tolist() == [[70]]
    await connection.run(lambda raw: raw.execute("PRAGMA max_page_count = 100000").fetchall())
    assert await append(store, rows) == 20_000
    assert (await store.status()).operations == 20_070
    await store.close()


def test_a_full_disk_is_reported_and_stored_rows_stay(tmp_path, run_python):
    if not run_python.can_mount:
        pytest.skip("this machine lets nobody mount a small disk")
    finished = run_python(
        TRY_TO_WRITE, f"sqlite:///{tmp_path}/performance.db", mounts=f"mount -t tmpfs -o size=2m tmpfs {tmp_path}"
    )
    assert finished.returncode == 0, finished.stderr
    failure, counts = finished.stdout.rsplit("|", 1)
    assert failure.startswith("False ")
    written, counted, rows = map(int, counts.split())
    assert 0 < written == counted == rows < 40_000


def test_a_read_only_folder_is_reported(tmp_path, run_python):
    if not run_python.can_mount:
        pytest.skip("this machine lets nobody mount a folder read-only")
    read_only = f"mount --bind {tmp_path} {tmp_path}\nmount -o remount,bind,ro {tmp_path}"
    finished = run_python(TRY_TO_WRITE, f"sqlite:///{tmp_path}/performance.db", mounts=read_only)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("True ")
    assert "Read-only file system" in finished.stdout
    assert str(tmp_path) in finished.stdout


async def test_the_view_shows_people_names_times_milliseconds_and_words(path, url):
    store = await open_store(url)
    (series,) = await store.series_ids([("knowledge-graph", "query")])
    await store.append([[(series, 1_750_075_200_123_456, 1_500_250, 2, "boom", None)]], now_us=0)
    await store.close()
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT * FROM operations").fetchall() == [
        (
            1,
            "knowledge-graph",
            "query",
            "2025-06-16T11:59:58.623Z",
            "2025-06-16T12:00:00.123Z",
            1500.25,
            "upstream",
            "boom",
            "{}",
        )
    ]
    raw.close()
