"""Copies the whole database: to another file while it is in use, or into itself without its free room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Final

from cogmeter_storage.sqlite.connection import Connection
from cogmeter_storage.sqlite.errors import storage_error
from cogmeter_storage.sqlite.file import Readable
from cogmeter_storage.sqlite.rows import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PAGES: Final = 1_000  # copied in one step: 4 MB
_OF_THE_SOURCE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _StoppedError(Exception):
    """Nobody waits for the copy any more."""


async def backup(source: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    """See Store.backup; by a connection of its own, so that no other question waits for it."""
    await asyncio.to_thread(target.touch, exist_ok=False)
    try:
        await _copied(source, target, progress)
    except BaseException:
        await asyncio.to_thread(target.unlink, missing_ok=True)
        raise


async def _copied(source: Path, target: Path, progress: Callable[[int, int], None] | None) -> None:
    stopped = threading.Event()
    connection = Connection(source, Readable(source))
    await connection.open()
    try:
        await connection.run(_copy, target, progress, stopped)
    finally:
        stopped.set()
        await connection.end()  # its thread writes no more from here on


def compact(raw: sqlite3.Connection) -> None:
    """See Store.vacuum."""
    raw.execute("VACUUM")
    # All of it went through the write-ahead log, which is as large as the database now.
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _copy(
    raw: sqlite3.Connection, target: Path, progress: Callable[[int, int], None] | None, stopped: threading.Event
) -> None:
    def step(_status: int, remaining: int, total: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        if progress is not None:
            progress(total - remaining, total)

    try:
        with contextlib.closing(_opened(target)) as copy, snapshot(raw):
            # Reading begins the snapshot: without one, each commit of the writer would begin the copy anew.
            raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            raw.backup(copy, pages=_PAGES, progress=step)
        _sync(target)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", -1) & 0xFF in _OF_THE_SOURCE:
            raise
        raise storage_error(error, target) from error


def _opened(target: Path) -> sqlite3.Connection:
    """The copy's connection: without a journal, since a copy that fails is thrown away."""
    copy = sqlite3.connect(target, isolation_level=None)
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    return copy


def _sync(target: Path) -> None:
    with target.open("rb+") as file:
        os.fsync(file.fileno())
