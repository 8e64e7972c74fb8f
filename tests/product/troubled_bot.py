"""A bot whose disk fails it, in a process of its own: ``python troubled_bot.py SCENARIO``, a function below.

The working directory is where its database is. Each scenario fails the process if it must.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import discord
from discord.ext import commands

import cogmeter
import cogmeter.recording.flusher
from cogmeter.query.records import Period

os.environ["PERFORMANCE_WATCH_STALLS"] = "false"  # a stall of a busy machine is an operation, too
DATABASE = Path("data/performance.db")
BEFORE, MEANWHILE = 200, 500


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def have(self, part: str) -> bool:
        return any(part in text for text in self.texts)


def make_bot() -> commands.Bot:
    return commands.Bot(command_prefix="!", intents=discord.Intents.none())


async def read_only() -> None:
    """A folder, and then a database, that cannot be written: the load fails and names the setting and the mend."""
    async with make_bot() as bot:
        try:
            await bot.load_extension("cogmeter.cog")
        except commands.ExtensionFailed as error:
            print(error.original)
        assert not bot.cogs
        cogmeter.record("host", "goes-on", duration_ms=1)


async def full_by_limit() -> None:
    """The kernel refuses to let files grow, as it does on a full disk, until the limit is lifted."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    await run_on_a_disk_that_fills_up(limited)


async def full() -> None:
    """A disk with no room left, until a file on it is removed."""
    await run_on_a_disk_that_fills_up(filled)


async def stop_on_a_full_disk() -> None:
    """No room is left when the extension is unloaded."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING)
    async with make_bot() as bot:
        await bot.load_extension("cogmeter.cog")
        monitor = bot.get_cog("cogmeter").monitor
        record(range(BEFORE))
        await until(lambda: monitor.flusher.written == BEFORE)
        with limited():
            record(range(BEFORE, BEFORE + MEANWHILE))
            await bot.unload_extension("cogmeter.cog")
    assert len(cogmeter.default_recorder.buffer) >= MEANWHILE


async def deleted_on_a_full_disk() -> None:
    """Its database is deleted while the disk takes no copy of it; then there is room again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    cogmeter.recording.flusher.FIRST_RETRY_S = 0.1
    lines = Lines()
    logging.getLogger("cogmeter").addHandler(lines)
    async with make_bot() as bot:
        await bot.load_extension("cogmeter.cog")
        monitor = bot.get_cog("cogmeter").monitor
        record(range(BEFORE))
        await until(lambda: monitor.flusher.written == BEFORE)
        with limited(4096):
            DATABASE.unlink()
            record(range(BEFORE, BEFORE + MEANWHILE))
            await until(lambda: monitor.flusher.failures >= 2)
            assert "cannot be saved" in monitor.flusher.last_error, monitor.flusher.last_error
            assert (await monitor.query.summary(Period.HOUR)).total.operations == BEFORE
        await until(lambda: monitor.flusher.written == BEFORE + MEANWHILE)
        assert lines.have("It was written again from its open files"), lines.texts
    assert stored() == list(range(BEFORE + MEANWHILE))


@contextlib.contextmanager
def limited(size: int | None = None) -> Iterator[None]:
    """Limit the size of all files; without ``size``, so that the log can hardly grow."""
    if size is None:
        size = DATABASE.with_name(f"{DATABASE.name}-wal").stat().st_size + 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def filled() -> Iterator[None]:
    ballast = Path("ballast")
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    try:
        yield
    finally:
        ballast.unlink()


async def run_on_a_disk_that_fills_up(trouble: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
    cogmeter.recording.flusher.FIRST_RETRY_S = 0.1
    lines = Lines()
    logging.getLogger("cogmeter").addHandler(lines)
    async with make_bot() as bot:
        await bot.load_extension("cogmeter.cog")
        monitor = bot.get_cog("cogmeter").monitor
        record(range(BEFORE))
        await until(lambda: monitor.flusher.written == BEFORE)
        with trouble():
            record(range(BEFORE, BEFORE + MEANWHILE))
            await until(lambda: monitor.flusher.failures >= 2)
            assert (await monitor.query.summary(Period.HOUR)).total.operations == BEFORE
            assert stored() == list(range(BEFORE))
        assert lines.have("Could not store"), lines.texts
        await until(lambda: monitor.flusher.written == BEFORE + MEANWHILE)
        await until(lambda: lines.have("works again"))  # logged after the write is counted
    assert stored() == list(range(BEFORE + MEANWHILE))
    assert cogmeter.default_recorder.buffer.dropped == 0
    print(next(text for text in lines.texts if "Could not store" in text))


def record(numbers: range) -> None:
    for number in numbers:
        cogmeter.record("host", "write", duration_ms=1, metadata={"number": number, "text": os.urandom(64).hex()})


def stored() -> list[int]:
    with contextlib.closing(sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [
            json.loads(text)["number"]
            for (text,) in database.execute("SELECT metadata FROM operations WHERE service = 'host' ORDER BY id")
        ]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    scenarios = (read_only, full_by_limit, full, stop_on_a_full_disk, deleted_on_a_full_disk)
    asyncio.run({one.__name__: one for one in scenarios}[sys.argv[1]]())
