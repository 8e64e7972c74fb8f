"""aiosqlite's connection, with whole functions run on its thread and an end that cannot be missed."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import aiosqlite

from cogmeter_storage.base import StorageError
from cogmeter_storage.slot import SlotFormatError
from cogmeter_storage.sqlite.errors import SQLITE_ERRORS, damaged, storage_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

P = ParamSpec("P")
T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """One SQLite connection and the thread that alone uses it.

    aiosqlite runs one statement a turn; here a whole step (write a slice; read and add up a thousand slots) is one
    function on the thread, so that no row passes through the loop. For this it uses the queue that aiosqlite keeps
    for its subclasses' methods.
    """

    def __init__(self, path: Path, opener: Callable[[ExitStack], sqlite3.Connection]) -> None:
        """``opener`` runs on the thread; what it enters into the stack is given back when the thread ends."""
        self.path = path
        self._resources = ExitStack()
        self._stopped: asyncio.Future[Any] | None = None
        super().__init__(partial(opener, self._resources), iter_chunk_size=64)
        # A host that ends without closing the store must not hang on this thread; what is committed is safe anyway.
        self._thread.daemon = True

    async def open(self) -> None:
        """Start the thread and open the file; after an error or a cancellation no thread is left.

        Raises:
            StorageError: what the opener raised, or its sqlite3 error in our words.
        """
        try:
            await self
        except BaseException as error:
            await self._ended()
            if isinstance(error, SQLITE_ERRORS):
                raise storage_error(error, self.path) from error
            raise

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call the function with the sqlite3 connection, on the thread, after all that was asked for before.

        A cancelled caller does not stop the function.

        Raises:
            StorageError: SQLite refused, the data is damaged, or the store has been closed.
        """
        if not self._running or self._connection is None:
            raise StorageError(f"Database {self.path} has been closed.", permanent=True)
        try:
            result: T = await self._execute(  # type: ignore[no-untyped-call]  # aiosqlite leaves this one method untyped
                _tolerating, function, self._connection, *args, **kwargs
            )
        except SQLITE_ERRORS as error:
            raise storage_error(error, self.path) from error
        except SlotFormatError as error:
            raise damaged(self.path, str(error)) from error
        return result

    def run_later(self, function: Callable[[sqlite3.Connection], object]) -> None:
        """Queue a function that nobody waits for; its errors are dropped."""
        if self._connection is not None:
            self._tx.put_nowait((None, partial(function, self._connection)))

    def stop(self) -> asyncio.Future[Any] | None:
        """Queue the end of the thread; aiosqlite calls this too, when opening fails or nobody closed."""
        self._tx.put_nowait((None, self._resources.close))
        self._stopped = super().stop()
        return self._stopped

    async def end(self) -> None:
        """Wait until all that was queued is done, the file is closed and the thread has ended."""
        self.stop()
        await self._ended()

    async def _ended(self) -> None:
        if self._stopped is not None:
            await self._stopped
        self._thread.join(1.0)  # it has told its end already; this takes microseconds


def _tolerating(
    function: Callable[Concatenate[sqlite3.Connection, P], T],
    raw: sqlite3.Connection,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Call the function; where a stored text is no UTF-8, call it again with the wrong bytes replaced.

    Such a text is damaged, and nothing that also holds it should fail for ever. Only functions that read texts come
    here, and what they wrote has been rolled back.
    """
    try:
        return function(raw, *args, **kwargs)
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode to UTF-8"):
            raise
    raw.text_factory = _replacing  # from now on: SQLite's own conversion is faster, so it comes first
    return function(raw, *args, **kwargs)


def _replacing(text: bytes) -> str:
    return text.decode(errors="replace")
