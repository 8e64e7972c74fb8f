"""Copies the whole database: to another file while it is in use, or into itself without unused space."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import StorageError
from cogmeter_storage.sqlite.connection import SQLITE_ERRORS, primary_code, snapshot, storage_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    from cogmeter_storage.sqlite.connection import Connection

    Step: TypeAlias = Callable[[int, int], None]  # done and total

_PAGES: Final = 1_000  # per step: 4 MB
_OF_THE_SOURCE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _StoppedError(Exception):
    """Nothing waits for the copy any more."""


async def backup(
    source: Connection,
    target: Path,
    progress: Callable[[int, int], None] | None,
    *,
    closing: Callable[[], bool] = lambda: False,
) -> None:
    """Implement Store.backup. ``source`` is busy until the end; the copy is abandoned when ``closing`` returns True."""

    def step(_status: int, remaining: int, total: int, report: Step) -> None:
        report(total - remaining, total)

    def copy(part: Path, report: Step) -> Awaitable[None]:
        return source.run(_copy, part, partial(step, report=report))

    await write_new(target, copy, progress, closing=closing)


async def write_new(
    target: Path,
    copy: Callable[[Path, Step], Awaitable[None]],
    progress: Step | None,
    *,
    closing: Callable[[], bool] = lambda: False,
) -> None:
    """Let ``copy`` fill a new file on another thread; it reports its progress, and ends with what a report raises.

    The file has a temporary name and is renamed when it is complete. So a file of the final name is always a whole
    database.
    """
    if await asyncio.to_thread(target.exists):
        raise FileExistsError(f"{target} exists already")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    await asyncio.to_thread(part.touch, exist_ok=False)
    stopped = threading.Event()

    def report(done: int, total: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        if closing():
            raise StorageError(f"The copy {target} was cancelled: the database is being closed.", permanent=False)
        if progress is not None:
            progress(done, total)

    copying = asyncio.ensure_future(copy(part, report))
    try:
        await asyncio.shield(copying)
        await asyncio.to_thread(rename_new, part, target)
    finally:
        stopped.set()
        await asyncio.wait({copying})  # the thread no longer writes
        if not copying.cancelled():
            copying.exception()  # retrieves the error of a cancelled copy
        await asyncio.to_thread(part.unlink, missing_ok=True)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file without replacing another one, as far as the file system can.

    Raises:
        FileExistsError: the new name exists.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        source.rename(target)
    else:
        source.unlink()


def compact(raw: sqlite3.Connection) -> None:
    """Implement Store.vacuum."""
    raw.execute("VACUUM")
    # VACUUM wrote everything to the write-ahead log, which is as large as the database now.
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _copy(raw: sqlite3.Connection, target: Path, step: Callable[[int, int, int], None]) -> None:
    try:
        with contextlib.closing(_opened(target)) as copy, snapshot(raw):
            # A read starts the snapshot. Without it, each commit of the writer would restart the copy.
            raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            raw.backup(copy, pages=_PAGES, progress=step)
        _sync(target)
    except SQLITE_ERRORS as error:
        if primary_code(error) in _OF_THE_SOURCE:
            raise
        raise storage_error(error, target) from error


def _opened(target: Path) -> sqlite3.Connection:
    """Return a connection to the copy, without a journal: a copy that fails is deleted."""
    copy = sqlite3.Connection(target, isolation_level=None)
    copy.execute("PRAGMA journal_mode = OFF")
    copy.execute("PRAGMA synchronous = OFF")
    return copy


def _sync(target: Path) -> None:
    with target.open("rb+") as file:
        os.fsync(file.fileno())
