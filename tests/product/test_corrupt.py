"""Databases that are damaged, foreign, too new, locked, or on a bad disk: the bot continues, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.alerts.model import Subject
from cogmeter_storage import open_store
from cogmeter_storage.alerting import AlertState, Mute

PROGRAM = Path(__file__).with_name("troubled_bot.py")
DATABASE = Path("data/performance.db")
EXTENSION = "cogmeter.cog"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


@pytest.fixture
async def bot(host_folder, monkeypatch):
    """A host bot in an empty folder, with a recorder that holds nothing from before."""
    monkeypatch.setattr("cogmeter.recording.flusher.FIRST_RETRY_S", 0.1)
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")  # a stall of a busy machine is an operation, too
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        yield bot


@pytest.fixture
def troubled(host_folder, clean_environment):
    """Runs a scenario of the troubled bot to its end; gives what it printed."""

    def run(scenario, *, folder=None, **options):
        done = subprocess.run(
            [sys.executable, PROGRAM, scenario],
            cwd=folder or host_folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            **options,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def small_disk(host_folder, needed):
    """A file system of one megabyte."""
    folder = host_folder / "disk"
    folder.mkdir()
    mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    with contextlib.suppress(OSError):
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        needed(mounted, "the right to mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def record(*numbers):
    for number in numbers:
        cogmeter.record("host", "write", duration_ms=1, metadata={"number": number})


def stored(path=DATABASE):
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT json_extract(metadata, '$.number') FROM operations WHERE service = 'host' ORDER BY id"
        ).fetchall()
    return [number for (number,) in rows]


async def store_some(bot):
    """A database as an earlier run left it, with the operations 0, 1 and 2."""
    await bot.load_extension(EXTENSION)
    record(0, 1, 2)
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 2]


async def until(condition):
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


async def refusal(bot):
    """The line that the load fails with; the bot is as it was."""
    with pytest.raises(commands.ExtensionFailed) as raised:
        await bot.load_extension(EXTENSION)
    assert not bot.cogs
    assert not bot.tree.get_commands()
    line = str(raised.value.original)
    assert line.startswith("PERFORMANCE_DATABASE_URL=")
    assert "To fix it" in line
    return line


@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
async def test_a_corrupt_database_is_set_aside_loudly_and_a_new_one_is_started(bot, damage, caplog):
    await store_some(bot)
    data = DATABASE.read_bytes()
    noise = random.Random(1).randbytes(len(data) - 4096)
    damaged = data[: len(data) // 2] if damage == "cut off" else data[:4096] + noise
    DATABASE.write_bytes(damaged)
    await bot.load_extension(EXTENSION)
    record(3)
    await bot.unload_extension(EXTENSION)
    (aside,) = DATABASE.parent.glob("performance.db.corrupt-*")
    assert aside.read_bytes() == damaged
    assert stored() == [3]
    errors = [line.getMessage() for line in caplog.records if line.levelname == "ERROR"]
    assert any("is damaged" in error for error in errors)
    assert any(aside.name in error for error in errors)


def damage():
    """Break the table of operations of a database that is in use."""
    with contextlib.closing(sqlite3.connect(DATABASE, isolation_level=None)) as vandal:
        vandal.execute("PRAGMA writable_schema = ON")
        vandal.execute("UPDATE sqlite_schema SET rootpage = 4000 WHERE name = 'operation'")
        vandal.execute("PRAGMA schema_version = 4000")


async def test_a_database_that_is_damaged_while_the_bot_runs_is_replaced_and_no_batch_is_lost(bot, caplog):
    await bot.load_extension(EXTENSION)
    flusher = bot.get_cog("cogmeter").monitor.flusher
    record(0)
    await until(lambda: flusher.written == 1)
    damage()
    record(1, 2)
    await until(lambda: flusher.written == 3)
    record(3)
    monitor = bot.get_cog("cogmeter").monitor
    await until(lambda: flusher.written == 4)
    assert (await monitor.query.summary()).total.operations == 3
    await bot.unload_extension(EXTENSION)
    assert stored() == [1, 2, 3]
    assert len([path for path in DATABASE.parent.glob("*.corrupt-*") if path.suffix.endswith("Z")]) == 1
    assert "is damaged" in caplog.text


async def test_active_alerts_go_into_the_new_database_and_none_is_sent_again(bot, caplog):
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    alerting, key = monitor.alerting, monitor.watcher.tracker.people.key
    for _ in range(60):
        cogmeter.record("web", "fetch", duration_ms=1, error="no")
    await until(lambda: monitor.flusher.written == 60)
    await alerting.check()
    await until(lambda: alerting.delivery.delivered["log"] == 1)
    (alert,) = alerting.engine.active
    at_us = alert.seen_us
    await alerting.engine.mute(Mute("memory", "", at_us, at_us + 3_600_000_000, "Ada"), at_us)
    await monitor.override({"response_time@web": "1s"}, "Ada")
    damage()
    record(1)
    await until(lambda: monitor.flusher.written == 61)
    await alerting.check()
    kept = monitor.store.alerting
    assert [(one.uid, one.state) for one in await kept.alerts()] == [(alert.uid, AlertState.FIRING)]
    assert [one.service for one in await kept.mutes(at_us)] == ["memory"]
    assert await kept.overrides() == {"response_time@web": "1000"}
    await bot.unload_extension(EXTENSION)
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    await monitor.alerting.check()
    assert [one.uid for one in monitor.alerting.engine.active] == [alert.uid]
    assert monitor.alerting.limits.of(Subject("response_time", "web")).threshold == 1_000
    assert monitor.watcher.tracker.people.key == key
    await bot.unload_extension(EXTENSION)
    assert len([line for line in caplog.messages if line.startswith("[ALERT]")]) == 1


@pytest.mark.parametrize("content", [b"dear diary", b"x" * 8192])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(bot, content):
    DATABASE.parent.mkdir()
    DATABASE.write_bytes(content)
    assert "is not an SQLite database" in await refusal(bot)
    assert DATABASE.read_bytes() == content
    DATABASE.rename("diary")
    await store_some(bot)


async def test_another_programs_database_is_refused_and_left_alone(bot):
    DATABASE.parent.mkdir()
    with contextlib.closing(sqlite3.connect(DATABASE)) as other:
        other.execute("CREATE TABLE member (name TEXT)")
        other.commit()
    before = DATABASE.read_bytes()
    assert "belongs to another program" in await refusal(bot)
    assert DATABASE.read_bytes() == before


async def test_a_database_of_a_later_version_is_refused_and_left_alone(bot):
    await store_some(bot)
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        database.execute("PRAGMA user_version = 99")
    before = DATABASE.read_bytes()
    assert "schema version 99" in await refusal(bot)
    assert DATABASE.read_bytes() == before
    assert stored() == [0, 1, 2]


async def test_a_second_bot_on_the_same_database_is_refused_until_the_first_has_ended(bot):
    first = await open_store(f"sqlite:///{DATABASE}")
    assert "being written by another bot" in await refusal(bot)
    await first.close()
    await store_some(bot)


async def test_a_lock_of_another_program_delays_operations_and_loses_none(bot, monkeypatch, caplog):
    monkeypatch.setattr("cogmeter_storage.sqlite.database_file._LOCK_TIMEOUT_S", 0.2)
    await bot.load_extension(EXTENSION)
    monitor = bot.get_cog("cogmeter").monitor
    record(0)
    await until(lambda: monitor.flusher.written == 1)
    hold = (
        f"import sqlite3; one = sqlite3.connect({str(DATABASE)!r}, isolation_level=None);"
        "one.execute('BEGIN IMMEDIATE'); print('locked', flush=True); input(); one.execute('ROLLBACK'); one.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        record(1, 2)
        await until(lambda: monitor.flusher.failures >= 2)
        assert (await monitor.query.summary()).total.operations == 1
        record(3)
        other.communicate("\n", timeout=20)
    await until(lambda: monitor.flusher.written == 4)
    await bot.unload_extension(EXTENSION)
    assert stored() == [0, 1, 2, 3]
    assert "another program has a lock on it" in caplog.text
    assert "works again" in caplog.text


def without_roots_rights():
    """Run in a child before it becomes the program: root, too, then has to keep to the rights of files."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="takes root's rights away as Linux does")
@pytest.mark.parametrize("what", ["folder", "database"])
async def test_a_database_that_is_not_writable_is_refused_with_the_fix_and_left_alone(bot, troubled, what):
    await store_some(bot)
    DATABASE.with_name("performance.db.lock").unlink(missing_ok=True)
    before, place = DATABASE.read_bytes(), DATABASE.parent if what == "folder" else DATABASE
    mode = place.stat().st_mode
    place.chmod(mode & 0o555)
    try:
        out = troubled("read_only", preexec_fn=without_roots_rights if os.geteuid() == 0 else None)
    finally:
        place.chmod(mode)
    assert out.startswith("PERFORMANCE_DATABASE_URL=")
    assert "writable" in out
    assert DATABASE.read_bytes() == before
    assert stored() == [0, 1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX systems do")
def test_a_disk_that_refuses_writes_delays_operations_and_loses_none(troubled):
    assert "reading or writing fails on the disk" in troubled("full_by_limit")


def test_a_full_disk_delays_operations_and_loses_none(troubled, small_disk):
    assert "the disk is full" in troubled("full", folder=small_disk)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX systems do")
def test_a_database_that_is_deleted_while_the_disk_is_full_is_written_again_as_soon_as_there_is_room(troubled):
    troubled("deleted_on_a_full_disk")
