"""One SQLite connection with its own thread, its transactions, and SQLite's errors as StorageError."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

import aiosqlite

from cogmeter_storage.base import CorruptStoreError, StorageError
from cogmeter_storage.slot import SlotFormatError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from cogmeter_storage.sqlite.session import SqliteSession

P = ParamSpec("P")
T = TypeVar("T")

# The errors of sqlite3 calls. When a damaged schema puts invalid UTF-8 into SQLite's message, Python raises the
# decoding error instead of SQLite's own.
SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# By primary result code: the meaning, the next step, and whether it is permanent.
_MEANINGS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; writing then continues", False),
    sqlite3.SQLITE_IOERR: ("reading or writing fails on the disk", "check the disk and its free space", False),
    sqlite3.SQLITE_BUSY: ("another program has a lock on it", "end that program's transaction", False),
    sqlite3.SQLITE_LOCKED: ("another program has a lock on it", "end that program's transaction", False),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "make the file and its folder writable for the bot", True),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check that the folder exists and that the bot may read and write in it",
        True,
    ),
    sqlite3.SQLITE_PERM: ("access is refused", "make the file and its folder writable for the bot", True),
}


def primary_code(error: Exception) -> int:
    """Return SQLite's primary result code of one of SQLITE_ERRORS; -1 for an error of the sqlite3 module itself."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else int(code) & 0xFF


def storage_error(error: Exception, path: Path) -> StorageError:
    """Return the StorageError for one of SQLITE_ERRORS."""
    code = primary_code(error)
    if code in _DAMAGED:
        return damaged_error(path, str(error))
    meaning, fix, permanent = _MEANINGS.get(
        code,
        ("SQLite reports an error", "see the log; if it continues, set PERFORMANCE_DATABASE_URL to another file", True),
    )
    return StorageError(f"Database {path}: {meaning} ({error}). To fix it: {fix}.", permanent=permanent)


def damaged_error(path: Path, reason: str) -> CorruptStoreError:
    """Return the error for a damaged database."""
    return CorruptStoreError(
        f"Database {path} is damaged ({reason}). To fix it: move it away (with its -wal and -shm files) or restore a "
        "copy; a new one is started when the file is gone."
    )


def unreadable_error(path: Path) -> StorageError:
    """Return the error for a database whose reads fail, so that it may be damaged or not."""
    return StorageError(
        f"Database {path} cannot be read reliably: reading it fails again and again. It has not been changed. To fix "
        "it: check the disk, or set PERFORMANCE_DATABASE_URL to another file.",
        permanent=False,
    )


def unusable_error(path: Path, reason: str, fix: str) -> StorageError:
    """Return the error for a file that cannot be the bot's database."""
    return StorageError(
        f"Database {path} {reason}. To fix it: {fix}, or set PERFORMANCE_DATABASE_URL to another file.",
        permanent=True,
    )


class Connection(aiosqlite.Connection):
    """One SQLite connection and the only thread that uses it.

    aiosqlite runs one statement per turn of the loop. Here one whole function (write a slice; read and add up a
    thousand slots) runs on the thread, so no row passes through the loop. The queue and the thread of aiosqlite are
    not public, so pyproject.toml limits its version.
    """

    def __init__(self, path: Path, opener: Callable[[ExitStack], SqliteSession]) -> None:
        """``opener`` runs on the thread; whatever it enters into the stack is closed when the thread ends."""
        self.path = path
        self._resources = ExitStack()
        self._stopped: asyncio.Future[Any] | None = None
        super().__init__(partial(opener, self._resources), iter_chunk_size=64)
        # A daemon: a host that exits without closing the store must not wait for this thread; commits are safe.
        self._thread = threading.Thread(
            target=_run_thread, args=(self._thread.run, self._resources), name="cogmeter-storage", daemon=True
        )

    async def open(self) -> None:
        """Start the thread and open the file; after an error or a cancellation no thread is left.

        A second cancellation does not wait for the thread, which then closes the file and ends by itself.

        Raises:
            StorageError: the opener's own error, or its SQLite error, translated.
        """
        try:
            await self
        except BaseException as error:
            await self._wait_for_end()
            if isinstance(error, SQLITE_ERRORS):
                raise storage_error(error, self.path) from error
            raise

    async def run(self, function: Callable[Concatenate[SqliteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function with the sqlite3 connection on the thread, after all earlier calls.

        Cancelling the caller does not stop the function.

        Raises:
            StorageError: SQLite fails, the data is damaged, or the thread has ended (closed, or a forked process).
        """
        if self._connection is None or not self._thread.is_alive():
            raise StorageError(f"Database {self.path} has been closed.", permanent=True)
        try:
            result: T = await self._execute(  # type: ignore[no-untyped-call]  # aiosqlite leaves this one method untyped
                _with_lenient_text, function, self._connection, *args, **kwargs
            )
        except SQLITE_ERRORS as error:
            raise storage_error(error, self.path) from error
        except SlotFormatError as error:
            raise damaged_error(self.path, str(error)) from error
        return result

    def run_later(self, function: Callable[[Any], object]) -> None:
        """Queue a function without waiting for it; its errors are ignored."""
        if self._connection is not None:
            self._tx.put_nowait((None, partial(function, self._connection)))

    def stop(self) -> asyncio.Future[Any] | None:
        """Queue the end of the thread; aiosqlite also calls this when opening fails or nothing was closed."""
        self._tx.put_nowait((None, self._resources.close))
        self._connection = None  # closed with the resources, even if the event loop is closed first
        self._stopped = super().stop()
        return self._stopped

    async def end(self) -> None:
        """Wait until all queued calls are done, the file is closed and the thread has ended.

        A cancellation ends only the waiting.
        """
        self.stop()
        await self._wait_for_end()

    async def _wait_for_end(self) -> None:
        if self._stopped is not None and self._thread.is_alive():
            await self._stopped
        self._thread.join(1.0)  # it has ended already; this takes microseconds


def _run_thread(run: Callable[[], None], resources: ExitStack) -> None:
    """Run aiosqlite's thread function, and close the file in any case.

    The function ends with a RuntimeError when it cannot return a result because the event loop has been closed.
    """
    with resources, contextlib.suppress(RuntimeError):
        run()


def _with_lenient_text(
    function: Callable[Concatenate[SqliteSession, P], T],
    raw: SqliteSession,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call the function; if a stored text is not UTF-8, call it again with the invalid bytes replaced.

    Such a text is damaged, and must not make every query that reads it fail. Only functions that read texts get here,
    and their writes have been rolled back.
    """
    try:
        return function(raw, *args, **kwargs)
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode to UTF-8"):
            raise
    raw.text_factory = _decode_leniently  # only now, because SQLite's own conversion is faster
    return function(raw, *args, **kwargs)


def _decode_leniently(text: bytes) -> str:
    return text.decode(errors="replace")


@contextlib.contextmanager
def transaction(raw: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction: all of it, or nothing."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        yield
        raw.execute("COMMIT")
    finally:
        if raw.in_transaction:
            raw.execute("ROLLBACK")


@contextlib.contextmanager
def snapshot(raw: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one read transaction: all reads see the same state."""
    raw.execute("BEGIN")
    try:
        yield
    finally:
        if raw.in_transaction:  # SQLite ends it when a read fails
            raw.execute("ROLLBACK")
