"""A database that is moved, deleted, replaced or overwritten while it is open: detected, and no data is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings

import pytest

from cogmeter_storage import StorageError, open_store
from cogmeter_storage.base import DetachedStoreError
from cogmeter_storage.factory import is_written
from cogmeter_storage.model import HOUR_US, Marker
from cogmeter_storage.sqlite import recovery
from cogmeter_storage.sqlite.file_identity import SharedLock

USE = """
import sqlite3, sys
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    print(raw.execute(statement).fetchall())
raw.close()
"""
STATEMENTS = ("SELECT count(*) FROM operation", "CREATE INDEX x ON operation (series)", "VACUUM")


def rest(path, *suffixes):
    return [path.with_name(path.name + suffix) for suffix in suffixes]


def remove(path, *suffixes):
    for one in rest(path, *suffixes):
        one.unlink()


def tool(path, *statements):
    """Open the database in another program, run a statement, and close it."""
    done = subprocess.run([sys.executable, "-c", USE, path, *statements], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_by_host(path):
    """Read the file in the same process, as a host does with ``discord.File(path)`` or ``shutil.copytree``."""
    for one in rest(path, "", "-wal", "-shm"):
        one.read_bytes()


def ends(path):
    """The end times of all operations of a sound database."""
    with contextlib.closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [end_us for (end_us,) in raw.execute("SELECT end_us FROM operation ORDER BY id")]


@pytest.fixture
def make_store(url, append, make_rows, noon, tmp_path):
    """Return a store with operations 0 to 99, which a backup has too, and 100 to 199, and a function that adds more."""

    async def make():
        store = await open_store(url)
        await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
        await append(store, make_rows(100, noon))
        await store.backup(tmp_path / "backup.db")
        await append(store, make_rows(100, noon + 100_000_000))
        return store

    return make


@pytest.fixture
def more(append, make_rows, noon):
    async def more(store, number=200):
        await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
        return await append(store, make_rows(100, noon + number * 1_000_000))

    return more


@pytest.fixture
def times(noon):
    return lambda *numbers: [noon + number * 1_000_000 for number in numbers]


LOSSES = {
    "the database deleted": (lambda path, _: remove(path, ""), "deleted"),
    "all files deleted": (lambda path, _: remove(path, "", "-wal", "-shm"), "deleted"),
    "the folder deleted": (lambda path, _: shutil.rmtree(path.parent), "deleted"),
    "moved away": (lambda path, _: path.rename(path.with_name("away.db")), "moved away"),
    "log deleted": (lambda path, _: remove(path, "-wal"), "write-ahead log"),
    "index deleted": (lambda path, _: remove(path, "-shm"), "index"),
    "log and index deleted": (lambda path, _: remove(path, "-wal", "-shm"), "write-ahead log"),
    "log deleted, then a reader": (
        lambda path, _: (remove(path, "-wal", "-shm"), tool(path, "SELECT count(*) FROM operation")),
        "write-ahead log",
    ),
}


@pytest.mark.parametrize(("loss", "words"), LOSSES.values(), ids=LOSSES)
async def test_files_that_are_gone_are_noticed_before_anything_is_written_and_all_is_written_again(
    more, times, tmp_path, loss, words
):
    path = tmp_path / "data" / "performance.db"
    url = f"sqlite:///{path}"
    store = await open_store(url)
    await more(store, 0)
    await more(store, 100)
    marker = await store.add_marker(Marker(1, "mark", "kept"))
    loss(path, None)
    for write in (more(store), store.add_marker(Marker(2, "mark", "refused")), store.fold(now_us=times(400)[0])):
        with pytest.raises(DetachedStoreError, match=words) as caught:
            await write
        assert not caught.value.permanent
    store, done = await store.reopen()
    assert "written again" in done
    assert await more(store) == 100
    assert await store.markers(0, 10) == [marker]
    await store.close()
    assert ends(path) == times(*range(300))


async def test_a_database_that_was_replaced_is_used_as_it_is_and_the_old_one_is_kept(
    make_store, more, times, path, url, tmp_path
):
    store = await make_store()
    (tmp_path / "backup.db").rename(path)
    with pytest.raises(DetachedStoreError, match="replaced"):
        await more(store)
    store, done = await store.reopen()
    await more(store)
    await store.close()
    assert ends(path) == times(*range(100), *range(200, 300))
    (kept,) = path.parent.glob("performance.db.recovered-*Z")
    assert kept.name in done
    assert ends(kept) == times(*range(200))


async def test_a_database_that_was_overwritten_by_a_backup_is_noticed_and_the_backup_stays_whole(
    make_store, more, times, noon, path, tmp_path
):
    store = await make_store()
    await store.fold(now_us=noon + HOUR_US)  # with a checkpoint
    shutil.copy(tmp_path / "backup.db", path)
    with pytest.raises(DetachedStoreError, match="overwritten"):
        await more(store)
    store, _ = await store.reopen()
    await more(store)
    await store.close()
    assert ends(path) == times(*range(100), *range(200, 300))


def write_into(path, data, *, size=None):
    """Write over the beginning of a file, in place; with ``size``, cut it off there."""
    with path.open("r+b") as file:
        file.write(data)
        if size is not None:
            file.truncate(size)


OVERWRITES = {
    "emptied": lambda path: write_into(path, b"", size=0),
    "its first page zeroed": lambda path: write_into(path, bytes(4096)),
    "its first page noise": lambda path: write_into(path, os.urandom(4096)),
    "cut off": lambda path: write_into(path, b"", size=path.stat().st_size // 2 // 4096 * 4096),
    "a text": lambda path: write_into(path, b"hello", size=5),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody write a file that is open")
@pytest.mark.parametrize("folded", [False, True], ids=["all in the log", "all in the database"])
@pytest.mark.parametrize("overwrite", OVERWRITES.values(), ids=OVERWRITES)
async def test_a_database_that_was_overwritten_is_noticed_at_once_and_writing_continues(
    make_store, more, times, noon, path, overwrite, folded
):
    store = await make_store()
    if folded:
        await store.fold(now_us=noon + HOUR_US)
    await more(store)  # begins the log anew where it has been brought into the database
    overwrite(path)
    content = path.read_bytes()
    with pytest.raises(DetachedStoreError, match="overwritten"):
        await more(store, 300)
    store, _ = await store.reopen()
    await more(store, 300)
    await store.verify()
    assert not (await store.status()).damage
    await store.close()
    assert ends(path)[-100:] == times(*range(300, 400))
    kept = [one.read_bytes() for one in path.parent.glob("performance.db.corrupt-*Z")]
    assert kept == [content] * bool(content)


async def test_a_new_and_empty_database_in_the_content_of_the_old_one_is_used(
    make_store, more, times, noon, path, tmp_path
):
    await (await open_store(f"sqlite:///{tmp_path / 'new.db'}")).close()
    store = await make_store()
    await store.fold(now_us=noon + HOUR_US)
    await more(store)
    shutil.copy(tmp_path / "new.db", path)
    with pytest.raises(DetachedStoreError, match="overwritten"):
        await more(store, 300)
    store, done = await store.reopen()
    await more(store, 300)
    await store.close()
    assert ends(path) == times(*range(300, 400))
    assert ".recovered-" in done


async def test_another_programs_database_in_the_content_of_ours_is_refused_and_left_alone(
    make_store, noon, more, path, tmp_path
):
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as raw:
        raw.execute("CREATE TABLE other (x)")
    store = await make_store()
    await store.fold(now_us=noon + HOUR_US)
    shutil.copy(tmp_path / "other.db", path)
    with pytest.raises(DetachedStoreError, match="overwritten"):
        await more(store)
    for _ in range(2):
        with pytest.raises(StorageError, match="another program"):
            await store.reopen()
    assert path.read_bytes() == (tmp_path / "other.db").read_bytes()


@pytest.mark.parametrize("folds", [False, True], ids=["brought in by the tool", "brought in by the bot"])
@pytest.mark.parametrize("vacuum", [False, True])
async def test_the_newest_operations_may_be_deleted_by_another_program(make_store, more, noon, path, folds, vacuum):
    store = await make_store()
    await store.fold(now_us=noon + HOUR_US)
    statements = ["DELETE FROM operation WHERE id > 150", "VACUUM"][: 2 if vacuum else 1]
    tool(path, *statements, *([] if folds else ["PRAGMA wal_checkpoint(PASSIVE)"]))
    for number in range(2):
        await store.fold(now_us=noon + (number + 2) * HOUR_US)
    path.touch()
    assert await more(store) == 100
    await store.close()
    assert len(ends(path)) == 250


async def test_checkpoints_and_clean_up_are_not_taken_for_an_overwritten_database(make_store, more, noon, path):
    store = await make_store()
    for number in range(200, 1000, 100):
        await more(store, number)
        await store.fold(now_us=noon + HOUR_US)
        tool(path, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
    await store.vacuum()
    await more(store, 1000)
    await store.close()
    assert len(ends(path)) == 1100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has locks of open file descriptions")
@pytest.mark.parametrize(
    "statement", ["SELECT count(*) FROM operation", "CREATE INDEX x ON operation (series)", "VACUUM"]
)
async def test_a_host_that_reads_the_files_itself_drops_no_lock(make_store, more, times, path, statement):
    store = await make_store()
    read_by_host(path)
    tool(path, statement)
    assert await more(store) == 100
    assert path.with_name("performance.db-wal").exists()
    await store.close()
    assert ends(path) == times(*range(300))
    assert not path.with_name("performance.db-wal").exists()


@pytest.mark.parametrize(
    "statement", ["SELECT count(*) FROM operation", "CREATE INDEX x ON operation (series)", "VACUUM"]
)
async def test_without_such_locks_the_missing_log_is_noticed_and_the_database_stays_sound(
    make_store, more, times, path, statement, monkeypatch
):
    monkeypatch.setattr(SharedLock, "acquire", lambda *_: None)
    store = await make_store()
    read_by_host(path)
    tool(path, statement)
    with pytest.raises(DetachedStoreError, match="write-ahead log"):
        await more(store)
    store, _ = await store.reopen()
    await more(store)
    await store.close()
    assert ends(path) == times(*range(300))


async def test_a_second_store_that_reads_in_the_same_process_drops_no_lock(
    make_store, more, times, path, url, monkeypatch
):
    monkeypatch.setattr(SharedLock, "acquire", lambda *_: None)
    store = await make_store()
    await (await open_store(url, read_only=True)).close()
    with pytest.raises(StorageError, match="another bot"):
        await open_store(url)
    tool(path, "SELECT count(*) FROM operation")
    assert await more(store) == 100
    await store.close()
    assert ends(path) == times(*range(300))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
async def test_a_child_that_was_forked_off_and_ends_drops_no_lock(make_store, more, times, path):
    store = await make_store()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads; the child uses none
        child = os.fork()
    if not child:
        os.closerange(3, 256)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    tool(path, "CREATE INDEX x ON operation (series)")
    assert await more(store) == 100
    await store.close()
    assert ends(path) == times(*range(300))


async def test_reopening_that_fails_can_be_repeated(make_store, more, times, path, tmp_path):
    store = await make_store()
    path.unlink()
    path.mkdir()
    with pytest.raises(DetachedStoreError):
        await more(store)
    for _ in range(2):
        with pytest.raises(StorageError, match="directory"):
            await store.reopen()
    path.rmdir()
    store, done = await store.reopen()
    assert "written again" in done
    await more(store)
    await store.close()
    assert ends(path) == times(*range(300))


async def test_a_running_copy_is_stopped_when_the_database_is_reopened(
    make_store, more, times, append, make_rows, noon, path, tmp_path
):
    store = await make_store()
    await append(store, make_rows(100_000, noon + 200_000_000, gap_us=1))
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    copying = asyncio.create_task(
        store.backup(tmp_path / "copy.db", progress=lambda *_: loop.call_soon_threadsafe(begun.set))
    )
    await begun.wait()
    path.unlink()
    store, _ = await store.reopen()
    (result,) = await asyncio.gather(copying, return_exceptions=True)
    assert result is None or isinstance(result, StorageError)
    assert not list(tmp_path.glob(".*.part"))
    await store.close()
    assert len(ends(path)) == 100_200


async def test_a_link_to_the_database_does_not_escape_the_writers_lock(path, url, tmp_path):
    store = await open_store(url)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with pytest.raises(StorageError, match="another bot"):
        await open_store(f"sqlite:///{link}")
    await store.close()
    await (await open_store(f"sqlite:///{link}")).close()
    assert not (link.parent / "link.db.lock").exists()


async def test_links_that_lead_in_a_circle_are_named(tmp_path):
    (tmp_path / "a.db").symlink_to(tmp_path / "b.db")
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    with pytest.raises(StorageError, match=r"a\.db"):
        await open_store(f"sqlite:///{tmp_path / 'a.db'}")


async def test_a_host_that_changes_its_folder_keeps_its_database(tmp_path, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    store = await open_store("sqlite:///data/performance.db")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    await more(store, 0)
    await store.backup(tmp_path / "copy.db")
    await store.close()
    assert len(ends(tmp_path / "copy.db")) == 100
    assert not list((tmp_path / "other").iterdir())


async def test_every_table_is_taken_over_or_derived(path, url):
    await (await open_store(url)).close()
    with contextlib.closing(sqlite3.connect(path)) as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for table in recovery.BY_ID:
            assert raw.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = 'id' AND pk", (table,)).fetchone()
    covered = {*recovery.BY_ID, *recovery.BY_KEY, *recovery.CHANGING, *recovery.DERIVED}
    assert tables - {"sqlite_sequence"} == covered


async def test_copies_of_a_database_that_is_replaced_again_and_again_do_not_fill_the_disk(
    make_store, more, path, tmp_path
):
    store = await make_store()
    for number in range(recovery.MAX_COPIES + 2):
        shutil.copy(tmp_path / "backup.db", tmp_path / "again.db")
        (tmp_path / "again.db").replace(path)
        with pytest.raises(DetachedStoreError):
            await more(store)
        store, done = await store.reopen()
        assert ("could not be saved" in done) == (number >= recovery.MAX_COPIES)
    await store.close()
    assert len(list(tmp_path.glob("performance.db.recovered-*"))) == recovery.MAX_COPIES


async def test_a_program_that_asks_whether_the_database_is_in_use_keeps_no_bot_from_starting(path, url):
    ended = threading.Event()

    def ask():
        while not ended.is_set():
            is_written(path)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(20):
            await (await open_store(url)).close()
    finally:
        ended.set()
        asking.join()
    assert not is_written(path)
