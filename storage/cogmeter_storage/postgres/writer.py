"""The writing side: one connection, one run of the process, and the position after its last operation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg

from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import DAY_US
from cogmeter_storage.postgres.future_rows import has_future_rows, move_future_rows
from cogmeter_storage.postgres.leases import resign
from cogmeter_storage.postgres.session import storable_text
from cogmeter_storage.postgres.slots import SEQUENCE_BITS, write_slot
from cogmeter_storage.rollup import PendingAppend, WritePosition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cogmeter_storage.model import BatchId, Row
    from cogmeter_storage.postgres.connection import PostgresConnection
    from cogmeter_storage.postgres.session import PostgresSession
    from cogmeter_storage.process import Process
    from cogmeter_storage.rollup import SealedSlot

P = ParamSpec("P")
T = TypeVar("T")

_COPY: Final = "COPY operation (id, series, end_us, duration_us, outcome, error, metadata) FROM STDIN (FORMAT BINARY)"
_TYPES: Final = ("int8", "int4", "int8", "int8", "int2", "text", "text")
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"  # of the server: processes' clocks differ
_HEARTBEAT_US: Final = 5_000_000
_CONFIRM: Final = (
    f"UPDATE run SET next_id = ?, last_end_us = ?, last_write_us = ?, clamped = ?, seen_us = {_NOW}"  # noqa: S608 - the constant above
    " WHERE id = ? AND next_id = ? AND ended_us IS NULL"
)


class PostgresWriter:
    """Appends through one connection. Every start is a run; another process may end one that shows no sign of life."""

    def __init__(self, connection: PostgresConnection, process: Process) -> None:
        """Call ``begin_run`` before the first append."""
        self.process = process
        self.position = WritePosition()
        self.run_id = 0
        self.runs: set[int] = set()  # since it opened the store
        self.last_write_us: int | None = None
        self.reached_us = 0  # the latest time that an append has reached
        self._connection = connection
        self._lock = asyncio.Lock()
        self.days: set[int] = set()  # that have a partition
        self.unconfirmed: WritePosition | None = None  # after an append whose commit may have succeeded
        self.heartbeat_us = 0  # of the last sign of life

    @property
    def name(self) -> str:
        """The server and database."""
        return self._connection.name

    async def begin_run(self) -> None:
        """Begin a run: operations continue after the last end time of the process."""
        await self._connection.run(self.start_run)

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int, batch: BatchId | None = None) -> int:
        """Implement Store.append."""
        async with self._lock:
            already = await self._written_before() if self.unconfirmed is not None else 0
            writing = _Batch(self, now_us, batch)
            upcoming = _without_first(slices, already)
            following: Sequence[Row] | None = None
            try:
                rows = next(upcoming, ())
                while (following := next(upcoming, None)) is not None:
                    await self._connection.run_once(writing.write, rows)
                    rows = following
                await self._connection.run_once(writing.finish, rows)
            except _StoredBeforeError:
                already = writing.claimed_rows + len(following or ())
                for rows in upcoming:
                    already += len(rows)
                    await asyncio.sleep(0)  # the caller converts them on the loop
                await self._continue_in_new_run(writing)
                return already
            except BaseException:
                self._connection.run_later(writing.abandon)
                raise
        return already + writing.rows

    async def _continue_in_new_run(self, batch: _Batch) -> None:
        """Begin a new run: the position after a batch that turned out to be stored is not known."""
        self._connection.run_later(batch.abandon)
        await self._connection.run(self._end_run)
        await self._connection.run(self.start_run)

    async def run(self, function: Callable[Concatenate[PostgresSession, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that is one transaction, between two others."""
        async with self._lock:
            return await self._connection.run(function, *args, **kwargs)

    async def run_long(
        self, function: Callable[Concatenate[PostgresSession, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function that may take long, between two transactions."""
        async with self._lock:
            return await self._connection.run_long(function, *args, **kwargs)

    async def end(self) -> None:
        """Wait for the running transaction, end the run, and close the connection."""
        async with self._lock:
            with contextlib.suppress(StorageError):  # then another process ends it, after some silence
                await self._connection.run(self._end_run)
            await self._connection.end()

    async def move_future_rows(self, now_us: int) -> bool:
        """Implement Store.move_future_rows; operations continue in a new run."""
        async with self._lock:
            if not await self._connection.run(has_future_rows, self.process.name, now_us):
                return False
            await self._connection.run(self._end_run)
            await self._connection.run(move_future_rows, self.process.name, now_us)
            await self._connection.run(self.start_run)
            self.reached_us = min(self.reached_us, now_us)
            return True

    def forget_partitions(self) -> None:
        """Look up the partitions again: a clean-up has removed some."""
        self.days.clear()

    def start_run(self, session: PostgresSession) -> None:
        """Begin a run, on the connection's thread."""
        name = storable_text(self.process.name)
        with session.transaction("runs"):
            (last,) = session.execute("SELECT coalesce(max(id), 0) FROM run").fetchone() or (0,)
            find = "SELECT coalesce(max(last_end_us), 0) FROM run WHERE process = ?"
            (last_end_us,) = session.execute(find, (name,)).fetchone() or (0,)
            number = last + 1
            session.execute(
                "INSERT INTO run (id, process, host, pid, version, shards, started_us, seen_us, next_id, last_end_us,"  # noqa: S608 - the constant above
                f" clamped) VALUES (?, ?, ?, ?, ?, ?, {_NOW}, {_NOW}, ?, ?, 0)",
                (
                    *(number, name, socket.gethostname(), os.getpid(), self.process.version, self.process.shards),
                    *((number << SEQUENCE_BITS) + 1, last_end_us),
                ),
            )
        self.run_id = number
        self.runs.add(number)
        self.position = WritePosition(next_id=(number << SEQUENCE_BITS) + 1, last_end_us=last_end_us)
        self.unconfirmed = None

    def _end_run(self, session: PostgresSession) -> None:
        with session.transaction():
            # Later than the last sign of life, which is the end of a run that another process ended.
            later = f"greatest({_NOW}, seen_us + 1)"
            session.execute(f"UPDATE run SET ended_us = {later} WHERE id = ? AND ended_us IS NULL", (self.run_id,))  # noqa: S608 - the text above
            session.execute("UPDATE slot SET sealed = TRUE WHERE run = ? AND NOT sealed", (self.run_id,))
            resign(session, self.run_id)

    async def _written_before(self) -> int:
        """Return how many rows the last append has written, whose commit was not confirmed; they come again."""
        assert self.unconfirmed is not None
        (next_id,) = await self._connection.run(self._stored_next_id)
        unconfirmed, self.unconfirmed = self.unconfirmed, None
        if next_id != unconfirmed.next_id or next_id == self.position.next_id:
            return 0
        rows = unconfirmed.next_id - self.position.next_id
        self.position = unconfirmed
        return rows

    def _stored_next_id(self, session: PostgresSession) -> tuple[int]:
        # A change, not only a reading: it waits for a transaction that is still about to commit, and its own commit
        # proves that what it has read is on a synchronous standby, too. An old primary that was cut off shows commits
        # that no standby has.
        confirm = "UPDATE run SET next_id = next_id WHERE id = ? RETURNING next_id"
        with session.transaction():
            row: tuple[int] = session.execute(confirm, (self.run_id,)).fetchone() or (0,)
        return row

    def make_partitions(self, session: PostgresSession, days: set[int]) -> None:
        """Create the partitions of these days (since 1970) that do not exist, in the caller's transaction.

        A new table is attached: other processes can write during that, unlike CREATE TABLE ... PARTITION OF.
        """
        for day in sorted(days - self.days):
            session.execute("SELECT 1 FROM area WHERE name = 'partitions' FOR UPDATE")
            name = f"operation_{day}" if day >= 0 else f"operation_before_{-day}"
            (known,) = session.execute("SELECT to_regclass(?)", (name,)).fetchone() or (None,)
            if known is None:
                session.execute(f"CREATE TABLE {name} (LIKE operation INCLUDING ALL)")
                session.execute(
                    f"ALTER TABLE operation ATTACH PARTITION {name}"
                    f" FOR VALUES FROM ({day * DAY_US}) TO ({(day + 1) * DAY_US})"
                )


class _Batch:
    """The rows of one append, in one transaction."""

    def __init__(self, writer: PostgresWriter, now_us: int, batch: BatchId | None) -> None:
        self.rows = 0
        self.claimed_rows = 0  # that were about to be written when the batch turned out to be stored
        self._id = batch
        self._writer = writer
        self._now_us = now_us
        self._pending = PendingAppend(writer.position)
        self._sealed: list[SealedSlot] = []
        self._days: set[int] = set()  # with partitions that this transaction has created or found
        self._transaction = ExitStack()
        self._copying = ExitStack()
        self._copy: psycopg.Copy | None = None
        self._begun = False

    def write(self, session: PostgresSession, rows: Sequence[Row]) -> None:
        """Write one slice."""
        if not rows:
            return
        first_id = self._pending.next_id
        rows = self._pending.add(rows)
        days = {row[1] // DAY_US for row in (rows[0], rows[-1])}
        days |= set(range(min(days), max(days)))
        if not self._begun:
            self._transaction.enter_context(session.transaction())
            self._begun = True
            if not session.claim("operations", self._id):
                self.claimed_rows = len(rows)
                raise _StoredBeforeError
        if new := days - self._writer.days - self._days:
            self._end_copy()
            self._writer.make_partitions(session, new)
            self._days |= new
        if self._copy is None:
            cursor = self._copying.enter_context(session.connection.cursor())
            self._copy = self._copying.enter_context(cursor.copy(_COPY))
            self._copy.set_types(_TYPES)
        write_row = self._copy.write_row
        for number, row in enumerate(rows, first_id):
            write_row((number, *row) if row[4] is None and row[5] is None else (number, *row[:4], *_texts(row[4:])))
        self.rows += len(rows)
        if self._pending.needs_aggregation:
            self._sealed += self._pending.aggregate()

    def finish(self, session: PostgresSession, rows: Sequence[Row]) -> None:
        """Write the last slice and the slots, commit, and set the new position."""
        self.write(session, rows)
        self._end_copy()
        writer = self._writer
        self._sealed += self._pending.advance_to(self._now_us)
        position = self._pending.position
        # Without rows, the only change is the sign of life.
        if self._begun or self._sealed or clock.now_us() - writer.heartbeat_us >= _HEARTBEAT_US:
            self._commit(session, position)
        writer.position = position
        writer.days |= self._days
        writer.reached_us = max(writer.reached_us, self._now_us, position.last_end_us)

    def _commit(self, session: PostgresSession, position: WritePosition) -> None:
        writer = self._writer
        if not self._begun:
            self._transaction.enter_context(session.transaction())
        for minute in self._sealed:
            write_slot(session, writer.run_id, minute, sealed=True)
        if self._begun and position.open_minute is not None:
            write_slot(session, writer.run_id, position.open_minute.sealed(), sealed=False)
        wrote_us = clock.now_us() if self._begun or self._sealed else writer.last_write_us
        values = (position.next_id, position.last_end_us, wrote_us, position.clamped)
        confirmed = session.execute(_CONFIRM, (*values, writer.run_id, writer.position.next_id)).rowcount
        if not confirmed:
            self.abandon(session)
            writer.start_run(session)
            raise StorageError(
                f"Database {writer.name}: another process ended this run, because it showed no sign of life"
                " for minutes. A new one has begun.",
                permanent=False,
            )
        try:
            self._transaction.close()
        except psycopg.OperationalError:
            writer.unconfirmed = position  # the commit may have arrived before the connection was lost
            raise
        writer.last_write_us = wrote_us
        writer.heartbeat_us = clock.now_us()

    def abandon(self, _session: PostgresSession) -> None:
        """Roll back after a failure; nothing happens after a commit."""
        error = _AbandonedError()
        for stack in (self._copying, self._transaction):
            with contextlib.suppress(_AbandonedError, psycopg.Error):
                stack.__exit__(_AbandonedError, error, None)

    def _end_copy(self) -> None:
        self._copy = None
        self._copying.close()


class _StoredBeforeError(Exception):
    """The batch has been stored by an earlier attempt, whose commit was not confirmed."""


class _AbandonedError(Exception):
    """Ends a transaction without a commit."""


def _texts(texts: tuple[Any, ...]) -> tuple[str | None, ...]:
    return tuple(None if text is None else storable_text(text) for text in texts)


def _without_first(slices: Iterable[Sequence[Row]], count: int) -> Iterator[Sequence[Row]]:
    """Yield the slices without their first rows."""
    for rows in slices:
        left = rows[count:] if count else rows
        count = max(count - len(rows), 0)
        yield left


def series_ids(session: PostgresSession, names: Sequence[tuple[str, str]]) -> list[int]:
    """Implement Store.series_ids; one transaction."""
    stored = {name: tuple(map(storable_text, name)) for name in names}
    known = _known_series(session, set(stored.values()))
    missing = [name for name in dict.fromkeys(stored.values()) if name not in known]
    if missing:
        with session.transaction("series"):
            known |= _known_series(session, set(missing))
            (last,) = session.execute("SELECT coalesce(max(id), 0) FROM series").fetchone() or (0,)
            new = [name for name in missing if name not in known]
            added = {name: last + place for place, name in enumerate(new, 1)}
            session.executemany(
                "INSERT INTO series (id, service, operation) VALUES (?, ?, ?)",
                [(number, *name) for name, number in added.items()],
            )
        known |= added
    return [known[stored[name]] for name in names]


def _known_series(session: PostgresSession, names: set[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    services = [service for service, _ in names]
    rows = session.execute("SELECT service, operation, id FROM series WHERE service = ANY(?)", (services,))
    return {(service, operation): number for service, operation, number in rows}
