"""Copies the whole database: to another file while it is in use, or into itself without its free room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
import threading
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import StorageError
from cogmeter_storage.sqlite.errors import SQLITE_ERRORS, primary_code, storage_error
from cogmeter_storage.sqlite.rows import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cogmeter_storage.sqlite.connection import Connection

_PAGES: Final = 1_000  # copied in one step: 4 MB
_OF_THE_SOURCE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _StoppedError(Exception):
    """Nobody waits for the copy any more."""


async def backup(
    source: Connection,
    target: Path,
    progress: Callable[[int, int], None] | None,
    *,
    closing: Callable[[], bool] = lambda: False,
) -> None:
    """See Store.backup; ``source`` is busy for as long as it takes. Give up when ``closing`` says so.

    The copy is written under another name, and gets its own when it is complete: whatever ends this process, no file
    of that name is half a database.
    """
    if await asyncio.to_thread(target.exists):
        raise FileExistsError(f"{target} exists already")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    await asyncio.to_thread(part.touch, exist_ok=False)
    stopped = threading.Event()

    def step(_status: int, remaining: int, total: int) -> None:
        if stopped.is_set():
            raise _StoppedError
        if closing():
            raise StorageError(f"The copy {target} was given up: the database is being closed.", permanent=False)
        if progress is not None:
            progress(total - remaining, total)

    copying = asyncio.ensure_future(source.run(_copy, part, step))
    try:
        await asyncio.shield(copying)
        await asyncio.to_thread(rename_new, part, target)
    finally:
        stopped.set()
        await asyncio.wait({copying})  # the thread writes no more from here on
        if not copying.cancelled():
            copying.exception()  # of a copy that was cancelled, nobody asks for it
        await asyncio.to_thread(part.unlink, missing_ok=True)


def rename_new(source: Path, target: Path) -> None:
    """Rename a file, and never replace another one, as far as the file system can.

    Raises:
        FileExistsError: there is one of the new name.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        if target.exists():
            raise FileExistsError(f"{target} exists already") from None
        source.rename(target)
    else:
        source.unlink()


def compact(raw: sqlite3.Connection) -> None:
    """See Store.vacuum."""
    raw.execute("VACUUM")
    # All of it went through the write-ahead log, which is as large as the database now.
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _copy(raw: sqlite3.Connection, target: Path, step: Callable[[int, int, int], None]) -> None:
    try:
        with contextlib.closing(_opened(target)) as copy, snapshot(raw):
            # Reading begins the snapshot: without one, each commit of the writer would begin the copy anew.
            raw.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            raw.backup(copy, pages=_PAGES, progress=step)
        _sync(target)
    except SQLITE_ERRORS as error:
        if primary_code(error) in _OF_THE_SOURCE:
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
