"""Brings the write-ahead log into the database beside the writer, so that hardly any commit has to wait for it."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from cogmeter_storage.sqlite.database_file import connect

if TYPE_CHECKING:
    import sqlite3
    from contextlib import ExitStack
    from types import TracebackType
    from typing import Self

    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.writer import Writer

_INTERVAL_S = 0.25  # each one waits for the disk, and would have little to do right after another


class Checkpoints:
    """Open as long as a job runs: checkpoints by a connection of its own, now and then and at the end.

    They are passive: neither the writer nor a reader waits for one, and it takes what they let it take.
    """

    _connection: Connection

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._stack = AsyncExitStack()
        self._last_s = time.perf_counter()

    async def __aenter__(self) -> Self:
        """Open the connection."""
        self._connection = await self._stack.enter_async_context(self._writer.beside(self._opened))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Make the last checkpoint, unless the job failed, and close the connection."""
        async with self._stack:
            if kind is None:
                await self._connection.run(self._checkpoint)

    async def make(self) -> None:
        """Make a checkpoint, unless there has been one a moment ago."""
        if time.perf_counter() - self._last_s >= _INTERVAL_S:
            await self._connection.run(self._checkpoint)
            self._last_s = time.perf_counter()

    def _opened(self, stack: ExitStack) -> sqlite3.Connection:
        raw = connect(self._writer.path, "rw")
        stack.callback(raw.close)
        return raw

    def _checkpoint(self, raw: sqlite3.Connection) -> None:
        # A log without a name must not go into the database, which others may have changed since.
        self._writer.identity.check()
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._writer.identity.check()  # notes what the file holds now
