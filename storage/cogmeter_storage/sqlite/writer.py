"""The writing side: one connection, one transaction at a time, and the position at the end of the store."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.rollup import PendingAppend
from cogmeter_storage.sqlite.connection import Connection, primary_code, transaction
from cogmeter_storage.sqlite.database_file import recover_position
from cogmeter_storage.sqlite.future_rows import count_clamped, has_future_rows, move_future_rows
from cogmeter_storage.sqlite.slots import seal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from cogmeter_storage.model import Row
    from cogmeter_storage.rollup import SealedSlot, WritePosition
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.file_identity import Identity
    from cogmeter_storage.sqlite.session import SqliteSession

P = ParamSpec("P")
T = TypeVar("T")

STOP_TIMEOUT_S = 2.0  # for locks of other programs while the bot stops

_INSERT = "INSERT INTO operation (series, end_us, duration_us, outcome, error, metadata) VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_AT = (
    "INSERT INTO operation (id, series, end_us, duration_us, outcome, error, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Writer:
    """Appends through one connection.

    ``position`` is replaced on the connection's thread right after the commit, so it matches the file even when the
    caller has been cancelled.
    """

    def __init__(
        self,
        connection: Connection,
        position: WritePosition,
        identity: Identity,
        damage: DamageLog,
        *,
        lock_timeout_s: float,
    ) -> None:
        """``lock_timeout_s`` is how long a transaction waits for another program's lock."""
        self.position = position
        self.identity = identity
        self.damage = damage
        self.lock_timeout_s = lock_timeout_s
        self.last_write_us: int | None = None
        self._connection = connection
        self._lock = asyncio.Lock()
        self._stop_at_s = math.inf  # deadline of all waits, by time.perf_counter
        self._closing = False
        self._extra_connections = 0  # number of open extra connections
        self._no_extra = asyncio.Event()
        self._no_extra.set()

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self._connection.path

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int) -> int:
        """Implement Store.append."""
        async with self._lock:
            pending = PendingAppend(self.position)
            first_id = pending.next_id
            upcoming = iter(slices)
            try:
                rows = next(upcoming, ())
                # The last slice and the commit are one call: most appends have one slice.
                while (following := next(upcoming, None)) is not None:
                    await self._connection.run(self._retry_while_locked, _write, self.damage, pending, rows)
                    rows = following
                await self._connection.run(self._retry_while_locked, self._finish, pending, rows, now_us)
            except BaseException:
                self._connection.run_later(_roll_back)
                raise
        return pending.next_id - first_id

    async def move_future_rows(self, *, now_us: int) -> bool:
        """Implement Store.move_future_rows. No append runs in between: its rows would follow the rows to be moved."""
        async with self._lock:
            return await self._connection.run(self._move_future_rows, now_us)

    async def run(self, function: Callable[Concatenate[SqliteSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that is one transaction, between two others."""
        async with self._lock:
            return await self._connection.run(self._retry_while_locked, function, *args, **kwargs)

    @asynccontextmanager
    async def extra_connection(self, opener: Callable[[ExitStack], SqliteSession]) -> AsyncIterator[Connection]:
        """Open another connection to the same files while the block runs.

        Raises:
            StorageError: it cannot be opened, or the files are gone. SQLite would let it share the index of the old
                files, and read another log with it.
        """

        def checked(stack: ExitStack) -> SqliteSession:
            self.identity.check()
            return opener(stack)

        if self._closing:
            raise StorageError(f"Database {self.path} has been closed.", permanent=True)
        connection = Connection(self.path, checked)
        self._extra_connections += 1
        self._no_extra.clear()
        try:
            await connection.open()
            try:
                yield connection
            finally:
                await connection.end()
        finally:
            self._extra_connections -= 1
            if not self._extra_connections:
                self._no_extra.set()

    @property
    def stopping(self) -> bool:
        """True if the bot is about to stop."""
        return self._stop_at_s < math.inf

    def stop_waiting(self) -> None:
        """Wait at most two more seconds in total for locks of other programs."""
        self._stop_at_s = time.perf_counter() + STOP_TIMEOUT_S

    async def end(self, *, exclusive: bool = False) -> None:
        """Wait for the running transaction, then close the file.

        ``exclusive`` first waits until all extra connections are closed, and refuses new ones.
        """
        self._closing = self._closing or exclusive
        try:
            if exclusive:
                await self._no_extra.wait()
            async with self._lock:
                pass
        finally:
            await self._connection.end()

    def _retry_while_locked(
        self,
        raw: SqliteSession,
        function: Callable[Concatenate[SqliteSession, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function that begins with a transaction; retry while another program has the lock.

        SQLite's own wait cannot be interrupted, so the connection waits in short steps.

        Raises:
            DetachedStoreError: the files are gone; nothing was written.
        """
        self.identity.check()
        until_s = time.perf_counter() + self.lock_timeout_s
        while True:
            begun = raw.in_transaction
            try:
                result = function(raw, *args, **kwargs)
            except sqlite3.OperationalError as error:
                busy = primary_code(error) == sqlite3.SQLITE_BUSY
                if begun or raw.in_transaction or not busy or time.perf_counter() >= min(until_s, self._stop_at_s):
                    raise
            else:
                self.identity.note_commit()
                return result

    def _move_future_rows(self, raw: SqliteSession, now_us: int) -> bool:
        self.identity.check()
        if not has_future_rows(raw, now_us):
            return False
        move_future_rows(raw, self.damage, now_us)
        clamped = self.position.clamped
        self.position = replace(recover_position(raw, self.damage), clamped=clamped)
        self.identity.note_commit()
        return True

    def _finish(self, raw: SqliteSession, pending: PendingAppend, rows: Sequence[Row], now_us: int) -> None:
        """Write the last slice, seal ended minutes, commit, and set the new position."""
        _write(raw, self.damage, pending, rows)
        _seal(raw, self.damage, pending.advance_to(now_us))
        if raw.in_transaction:
            if pending.position.clamped > self.position.clamped:
                count_clamped(raw, pending.position.clamped - self.position.clamped, now_us)
            raw.execute("COMMIT")
            self.position, self.last_write_us = pending.position, clock.now_us()


def _write(raw: SqliteSession, damage: DamageLog, pending: PendingAppend, rows: Sequence[Row]) -> None:
    """Write one slice, and now and then the minutes that it finished."""
    if not rows:
        return
    first_id = pending.next_id
    if raw.in_transaction:
        raw.executemany(_INSERT, pending.add(rows))
    else:
        raw.execute("BEGIN IMMEDIATE")  # before the rows are added, because this call may be repeated
        rows = pending.add(rows)
        # SQLite continues after the last existing id, whose row a clean-up may have removed.
        raw.execute(_INSERT_AT, (first_id, *rows[0]))
        raw.executemany(_INSERT, rows[1:])
    if pending.needs_aggregation:
        _seal(raw, damage, pending.aggregate())


def _seal(raw: SqliteSession, damage: DamageLog, minutes: Sequence[SealedSlot]) -> None:
    if minutes and not raw.in_transaction:
        raw.execute("BEGIN IMMEDIATE")
    for minute in minutes:
        seal(raw, damage, minute)


def _roll_back(raw: SqliteSession) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")


def series_ids(raw: SqliteSession, names: Sequence[tuple[str, str]]) -> list[int]:
    """Implement Store.series_ids; one transaction."""
    find = "SELECT id FROM series WHERE service = ? AND operation = ?"
    rows = [raw.execute(find, name).fetchone() for name in names]
    if None in rows:
        with transaction(raw):
            raw.executemany("INSERT OR IGNORE INTO series (service, operation) VALUES (?, ?)", names)
        rows = [raw.execute(find, name).fetchone() for name in names]
    return [number for (number,) in rows]
