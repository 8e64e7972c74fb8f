"""The writing side: one connection, one transaction at a time, and what is known of the store's end."""

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
from cogmeter_storage.rollup import Draft
from cogmeter_storage.sqlite.connection import Connection
from cogmeter_storage.sqlite.database_file import recover
from cogmeter_storage.sqlite.errors import primary_code
from cogmeter_storage.sqlite.future_rows import has_future, note_clamped, set_apart
from cogmeter_storage.sqlite.rows import transaction
from cogmeter_storage.sqlite.slots import seal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from cogmeter_storage.model import Row
    from cogmeter_storage.rollup import Head, SealedSlot
    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.identity import Identity

P = ParamSpec("P")
T = TypeVar("T")

LAST_PATIENCE_S = 2.0  # for locks of other programs while the bot stops

_INSERT = "INSERT INTO operation (series, end_us, duration_us, outcome, error, metadata) VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_AT = (
    "INSERT INTO operation (id, series, end_us, duration_us, outcome, error, metadata) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Writer:
    """Appends through one connection.

    ``head`` is replaced on the connection's thread right after the commit, so that it agrees with the file even
    when the caller has been cancelled meanwhile.
    """

    def __init__(
        self, connection: Connection, head: Head, identity: Identity, damage: DamageLog, *, patience_s: float
    ) -> None:
        """``patience_s`` is how long a transaction waits for another program's lock."""
        self.head = head
        self.identity = identity
        self.damage = damage
        self.patience_s = patience_s
        self.last_write_us: int | None = None
        self._connection = connection
        self._lock = asyncio.Lock()
        self._latest_s = math.inf  # until when any transaction waits, by time.perf_counter
        self._closing = False
        self._others = 0  # connections that are open beside this one
        self._alone = asyncio.Event()
        self._alone.set()

    @property
    def path(self) -> Path:
        """The file."""
        return self._connection.path

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int) -> int:
        """See Store.append."""
        async with self._lock:
            draft = Draft(self.head)
            first_id = draft.next_id
            upcoming = iter(slices)
            try:
                rows = next(upcoming, ())
                # The last slice goes with the commit, in one call: most appends are a single slice.
                while (following := next(upcoming, None)) is not None:
                    await self._connection.run(self._patiently, _write, self.damage, draft, rows)
                    rows = following
                await self._connection.run(self._patiently, self._finish, draft, rows, now_us)
            except BaseException:
                self._connection.run_later(_roll_back)
                raise
        return draft.next_id - first_id

    async def set_apart(self, *, now_us: int) -> bool:
        """See Store.set_apart. No append comes in between: it would be written behind what is to be moved."""
        async with self._lock:
            return await self._connection.run(self._set_apart, now_us)

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function that is one transaction, between two others."""
        async with self._lock:
            return await self._connection.run(self._patiently, function, *args, **kwargs)

    @asynccontextmanager
    async def beside(self, opener: Callable[[ExitStack], sqlite3.Connection]) -> AsyncIterator[Connection]:
        """Open another connection to the same files for as long as the block runs.

        Raises:
            StorageError: it cannot be opened, or the files are gone. SQLite would let it share the index of the old
                files, and read another log by it.
        """

        def checked(stack: ExitStack) -> sqlite3.Connection:
            self.identity.check()
            return opener(stack)

        if self._closing:
            raise StorageError(f"Database {self.path} has been closed.", permanent=True)
        connection = Connection(self.path, checked)
        self._others += 1
        self._alone.clear()
        try:
            await connection.open()
            try:
                yield connection
            finally:
                await connection.end()
        finally:
            self._others -= 1
            if not self._others:
                self._alone.set()

    @property
    def hurried(self) -> bool:
        """Whether the bot is about to stop."""
        return self._latest_s < math.inf

    def hurry(self) -> None:
        """Wait for locks of other programs for two seconds more, all in all."""
        self._latest_s = time.perf_counter() + LAST_PATIENCE_S

    async def end(self, *, alone: bool = False) -> None:
        """Let a running transaction come to its end, then give the file back.

        ``alone`` waits until no connection is left beside it, and lets none be opened any more.
        """
        self._closing = self._closing or alone
        try:
            if alone:
                await self._alone.wait()
            async with self._lock:
                pass
        finally:
            await self._connection.end()

    def _patiently(
        self,
        raw: sqlite3.Connection,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call a function that begins a transaction first; again while another program holds the lock.

        SQLite's own wait cannot be ended early, so the connection waits in short steps.

        Raises:
            DetachedStoreError: the files are gone; nothing was written.
        """
        self.identity.check()
        until_s = time.perf_counter() + self.patience_s
        while True:
            begun = raw.in_transaction
            try:
                result = function(raw, *args, **kwargs)
            except sqlite3.OperationalError as error:
                busy = primary_code(error) == sqlite3.SQLITE_BUSY
                if begun or raw.in_transaction or not busy or time.perf_counter() >= min(until_s, self._latest_s):
                    raise
            else:
                self.identity.follow()
                return result

    def _set_apart(self, raw: sqlite3.Connection, now_us: int) -> bool:
        self.identity.check()
        if not has_future(raw, now_us):
            return False
        set_apart(raw, self.damage, now_us)
        clamped = self.head.clamped
        self.head = replace(recover(raw, self.damage), clamped=clamped)
        self.identity.follow()
        return True

    def _finish(self, raw: sqlite3.Connection, draft: Draft, rows: Sequence[Row], now_us: int) -> None:
        """Write the last slice, seal what ended, commit, and let the new head count."""
        _write(raw, self.damage, draft, rows)
        _seal(raw, self.damage, draft.passed(now_us))
        if raw.in_transaction:
            if draft.head.clamped > self.head.clamped:
                note_clamped(raw, draft.head.clamped - self.head.clamped, now_us)
            raw.execute("COMMIT")
            self.head, self.last_write_us = draft.head, clock.now_us()


def _write(raw: sqlite3.Connection, damage: DamageLog, draft: Draft, rows: Sequence[Row]) -> None:
    """Write one slice, and what it finished once in a while."""
    if not rows:
        return
    first_id = draft.next_id
    if raw.in_transaction:
        raw.executemany(_INSERT, draft.add(rows))
    else:
        raw.execute("BEGIN IMMEDIATE")  # before the draft takes the rows: it may be called again
        rows = draft.add(rows)
        # SQLite numbers rows behind the last one that is there; a clean-up may have removed that.
        raw.execute(_INSERT_AT, (first_id, *rows[0]))
        raw.executemany(_INSERT, rows[1:])
    if draft.full:
        _seal(raw, damage, draft.settle())


def _seal(raw: sqlite3.Connection, damage: DamageLog, minutes: Sequence[SealedSlot]) -> None:
    if minutes and not raw.in_transaction:
        raw.execute("BEGIN IMMEDIATE")
    for minute in minutes:
        seal(raw, damage, minute)


def _roll_back(raw: sqlite3.Connection) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")


def series_ids(raw: sqlite3.Connection, names: Sequence[tuple[str, str]]) -> list[int]:
    """See Store.series_ids; one transaction."""
    find = "SELECT id FROM series WHERE service = ? AND operation = ?"
    found = [raw.execute(find, name).fetchone() for name in names]
    if None in found:
        with transaction(raw):
            raw.executemany("INSERT OR IGNORE INTO series (service, operation) VALUES (?, ?)", names)
        found = [raw.execute(find, name).fetchone() for name in names]
    return [number for (number,) in found]
