"""A bot whose database is deleted, replaced or stripped of its log: it says so, saves what it can, and writes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.diagnosis import Status
from cogmeter.diagnostics.bot_checks import database as database_health
from cogmeter.diagnostics.doctor import examine

DATABASE = Path("data/performance.db")
EXTENSION = "cogmeter.cog"
PROGRAM = Path(__file__).with_name("troubled_bot.py")


@pytest.fixture
async def bot(host_folder, monkeypatch):
    """A host bot in an empty folder, with a recorder that has nothing from before, and a flusher in a hurry."""
    monkeypatch.setattr("cogmeter.recording.flusher.INTERVAL_S", 0.2)
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        yield bot


def record(*numbers):
    for number in numbers:
        cogmeter.record("host", "write", duration_ms=1, metadata={"number": number})


def stored(path=DATABASE):
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = database.execute("SELECT metadata FROM operations WHERE service = 'host' ORDER BY id").fetchall()
    return [json.loads(metadata)["number"] for (metadata,) in rows]


def recovered():
    return [path for path in DATABASE.parent.glob("performance.db.recovered-*") if path.suffix.endswith("Z")]


def beside(suffix):
    return DATABASE.with_name(f"{DATABASE.name}{suffix}")


async def until(condition):
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


async def flushed(monitor):
    """Wait until all that is recorded is stored; the busy machine may have recorded stalls of its own."""
    await until(lambda: not len(monitor.recorder.buffer) and not monitor.flusher.pending)


async def seen(monitor):
    """The numbers that the reading side sees."""
    ids = [one.id for one in await monitor.query.store.series() if one.service == "host"]
    found = await monitor.query.store.recent(ids, 0, 2**62, limit=100)
    return sorted(one.metadata["number"] for one in found)


async def load(bot):
    """The monitor of a bot that has stored the operations 0 and 1."""
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    record(0, 1)
    await flushed(monitor)
    return monitor


async def findings(monitor):
    return {one.name: one for one in await examine(monitor)}


def delete():
    DATABASE.unlink()


def delete_all():
    for suffix in ("", "-wal", "-shm"):
        beside(suffix).unlink()


def delete_folder():
    shutil.rmtree(DATABASE.parent)


def delete_log():
    beside("-wal").unlink()


def delete_log_and_use():
    """As a tool does that sees no lock, because the folder is shared over a network or with a container."""
    for suffix in ("-wal", "-shm"):
        beside(suffix).unlink()
    script = (
        f"import sqlite3; one = sqlite3.connect({str(DATABASE)!r}); one.execute('PRAGMA user_version'); one.close()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("loss", [delete, delete_all, delete_folder, delete_log, delete_log_and_use])
async def test_files_that_are_deleted_under_a_bot_are_written_again_with_all_that_was_stored(bot, caplog, loss):
    monitor = await load(bot)
    assert (await findings(monitor))["database file"].well
    key = monitor.watcher.tracker.people.key
    loss()
    record(2)
    await flushed(monitor)
    record(3)
    await flushed(monitor)
    assert await seen(monitor) == [0, 1, 2, 3]
    assert monitor.watcher.tracker.people.key == key
    assert monitor.flusher.last_error is None
    finding = (await findings(monitor))["database file"]
    assert not finding.well
    assert "opened again 1 time since" in finding.text
    assert (await database_health(monitor)).status is Status.DEGRADED
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 2, 3]
    errors = [line.getMessage() for line in caplog.records if line.levelname == "ERROR"]
    assert len([one for one in errors if "while the bot has it open." in one]) == 1
    assert len(errors) == 2
    assert not recovered()
    assert "Traceback" not in caplog.text


async def test_a_backup_that_is_put_in_place_of_the_database_is_used_and_what_came_after_it_is_kept(bot, caplog):
    monitor = await load(bot)
    await monitor.store.backup(Path("backup.db"))
    cogmeter.record("a", "1", duration_ms=1)  # the backup knows no series of this and the next
    cogmeter.record("b", "2", duration_ms=1)
    record(2, 3)
    await flushed(monitor)
    Path("backup.db").replace(DATABASE)
    cogmeter.record("b", "2", duration_ms=1)
    record(4)
    await flushed(monitor)
    cogmeter.record("a", "1", duration_ms=1)
    await flushed(monitor)
    assert await seen(monitor) == [0, 1, 4]
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 4]
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        rows = database.execute("SELECT service, operation FROM operations WHERE service IN ('a', 'b') ORDER BY id")
        assert rows.fetchall() == [("b", "2"), ("a", "1")]
    (kept,) = recovered()
    assert stored(kept) == [0, 1, 2, 3]
    assert kept.name in caplog.text


async def test_the_database_of_another_program_in_its_place_is_refused_and_operations_wait(bot, monkeypatch):
    monkeypatch.setattr("cogmeter.recording.flusher.FIRST_RETRY_S", 0.1)
    monitor = await load(bot)
    with contextlib.closing(sqlite3.connect("other.db")) as other:
        other.execute("CREATE TABLE member (name TEXT)")
        other.commit()
    before = Path("other.db").read_bytes()
    Path("other.db").replace(DATABASE)
    record(2)
    await until(lambda: monitor.flusher.failures >= 2)
    assert "another program" in monitor.flusher.problem()
    assert DATABASE.read_bytes() == before
    DATABASE.unlink()
    await flushed(monitor)
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 2]


async def test_the_last_flush_finds_a_deleted_database_and_writes_it_again(bot):
    await load(bot)
    delete()
    record(2)
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 2]


async def test_a_link_to_the_database_does_not_let_a_second_bot_write_it(bot):
    await load(bot)
    link = Path("link.db")
    link.symlink_to(DATABASE)
    os.environ["PERFORMANCE_DATABASE_URL"] = f"sqlite:///{link}"
    try:
        async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as second:
            with pytest.raises(commands.ExtensionFailed, match="another bot"):
                await second.load_extension(EXTENSION)
    finally:
        del os.environ["PERFORMANCE_DATABASE_URL"]
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1]


async def test_a_bot_that_stops_does_not_wait_for_another_programs_lock(bot, monkeypatch, caplog):
    monkeypatch.setattr("cogmeter_storage.sqlite.database_file._LOCK_TIMEOUT_S", 10_000.0)  # it would wait for hours
    monitor = await load(bot)
    hold = (
        f"import sqlite3; one = sqlite3.connect({str(DATABASE)!r}, isolation_level=None);"
        "one.execute('BEGIN IMMEDIATE'); print('locked', flush=True); input(); one.execute('ROLLBACK'); one.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        record(2)
        await until(lambda: monitor.flusher.pending)  # a flush waits for the lock
        async with asyncio.timeout(60):  # the lock is released only after it
            await bot.unload_extension(EXTENSION)
        other.communicate("\n", timeout=20)
    assert "another program has a lock on it" in caplog.text
    assert "Traceback" not in caplog.text
    assert len(cogmeter.default_recorder.buffer)
    await bot.load_extension(EXTENSION)
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX systems do")
def test_a_bot_that_stops_on_a_full_disk_says_so_in_a_line(host_folder, clean_environment):
    done = subprocess.run(
        [sys.executable, PROGRAM, "stop_on_a_full_disk"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Could not store the learned baselines" in done.stderr
    assert "Traceback" not in done.stderr
