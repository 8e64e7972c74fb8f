"""Reads that fail for a moment, or permanently: a sound database is never set aside for them."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import sys

import pytest

from cogmeter_storage import CorruptStoreError, StorageError, open_store
from cogmeter_storage.model import HOUR_US
from cogmeter_storage.sqlite.connection import snapshot
from cogmeter_storage.sqlite.recovery import is_damaged

START = """
import asyncio, sys
from cogmeter_storage import StorageError, open_store

async def main():
    try:
        store = await open_store(sys.argv[1], replace_corrupt=True)
    except StorageError as error:
        print("refused", error.permanent, error)
        return
    try:
        print("opened", (await store.status()).operations)
    except StorageError:  # a read that fails after the start
        print("opened")
    await store.close()

asyncio.run(main())
"""

BACKUP = """
import asyncio, os, pathlib, signal, sys
from cogmeter_storage import open_store

async def main():
    store = await open_store(sys.argv[1], read_only=True)
    await store.backup(pathlib.Path(sys.argv[2]), progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))

asyncio.run(main())
"""


@pytest.fixture
async def sound(path, url, append, make_rows, noon):
    """The content of a database with 3000 operations."""
    store = await open_store(url)
    await store.series_ids([("a", "b"), ("a", "c"), ("a", "d")])
    await append(store, make_rows(3000, noon))
    await store.fold(now_us=noon + HOUR_US)
    await store.close()
    return path.read_bytes()


@pytest.fixture
def start(url, disk_faults):
    """Open the store in a child process whose calls fail; return its output."""

    def start():
        environment = os.environ | disk_faults.environment
        command = [sys.executable, "-c", START, url]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return start


@pytest.mark.parametrize("skip", [0, 1, 2, 5, 10, 14])
def test_reads_that_fail_for_a_moment_set_no_sound_database_aside(sound, path, start, disk_faults, skip):
    disk_faults.on(calls="read", rate=1, skip=skip, limit=4, path=path.name, errno=errno.EIO)
    assert start() == "opened 3000\n"
    assert disk_faults.count == 4
    assert not list(path.parent.glob("*.corrupt*"))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.2, 1])
def test_reads_that_keep_failing_set_no_sound_database_aside(sound, path, start, disk_faults, rate):
    disk_faults.on(calls="read", rate=rate, seed=3, path=path.name, errno=errno.EIO)
    said = start()
    assert disk_faults.count
    assert said == "opened 3000\n" if rate == 0.02 else said.startswith(("opened", "refused False"))
    assert rate < 1 or "disk" in said
    assert not list(path.parent.glob("*.corrupt*"))
    disk_faults.off()
    assert start() == "opened 3000\n"


def test_a_damaged_database_is_set_aside_also_when_a_few_reads_fail(sound, path, start, disk_faults):
    path.write_bytes(sound[:4096] + b"\xa5" * (len(sound) - 4096))
    disk_faults.on(calls="read", rate=1, skip=3, limit=3, path=path.name, errno=errno.EIO)
    assert start() == "opened 0\n"
    (aside,) = path.parent.glob("*.corrupt-*Z")
    assert aside.read_bytes()[4096:] == b"\xa5" * (len(sound) - 4096)


def test_writes_and_fsync_that_fail_refuse_the_start_and_leave_the_database_alone(sound, path, start, disk_faults):
    disk_faults.on(calls="write,fsync", rate=1, path=path.name, errno=errno.EIO)
    assert "reading or writing fails on the disk" in start()
    assert disk_faults.count
    assert not list(path.parent.glob("*.corrupt*"))
    disk_faults.off()
    assert start() == "opened 3000\n"


def test_the_check_distinguishes_a_sound_database_from_a_damaged_one(sound, path):
    error = CorruptStoreError("as SQLite says")
    assert not is_damaged(path, error)
    path.write_bytes(sound[: len(sound) // 2])
    assert is_damaged(path, error)


@pytest.mark.skipif(not hasattr(os, "kill"), reason="kills a process as POSIX systems do")
async def test_a_backup_that_is_killed_midway_leaves_no_file_of_its_name(sound, url, tmp_path):
    target = tmp_path / "copy.db"
    killed = subprocess.run([sys.executable, "-c", BACKUP, url, target], capture_output=True, check=False)
    assert killed.returncode < 0
    assert not target.exists()
    store = await open_store(url, read_only=True)
    await store.backup(target)
    await store.close()
    copy = await open_store(f"sqlite:///{target}", read_only=True)
    assert (await copy.status()).operations == 3000
    await copy.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
async def test_a_pipe_in_the_place_of_the_database_is_refused(path, url):
    os.mkfifo(path)
    with pytest.raises(StorageError, match="not a file"):
        await open_store(url)


def test_a_read_that_ends_its_transaction_by_failing_raises_its_own_error(sound, path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        with pytest.raises(sqlite3.OperationalError, match="disk I/O error"), snapshot(raw):
            raw.execute("ROLLBACK")  # as SQLite does then
            raise sqlite3.OperationalError("disk I/O error")
        with snapshot(raw):
            assert raw.in_transaction
        assert not raw.in_transaction
