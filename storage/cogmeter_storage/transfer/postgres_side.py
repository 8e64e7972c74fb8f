"""A PostgreSQL database as the source or the target of a transfer."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import psycopg

from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US, MINUTE_US, Tier
from cogmeter_storage.plan import floor_us
from cogmeter_storage.postgres.connection import PostgresConnection, connection_values, shown_name
from cogmeter_storage.postgres.damage import PostgresDamage
from cogmeter_storage.postgres.maintenance import SILENT_US, migrate
from cogmeter_storage.postgres.messages import storage_error
from cogmeter_storage.postgres.schema import POSTGRES_VERSION, SCHEMA
from cogmeter_storage.postgres.session import PostgresSession, storable_text
from cogmeter_storage.postgres.slots import SEQUENCE_BITS, read_slots
from cogmeter_storage.postgres.writer import PostgresWriter
from cogmeter_storage.process import Process
from cogmeter_storage.rollup import SealedSlot
from cogmeter_storage.slot import encode
from cogmeter_storage.transfer.reading import (
    OPERATION_COLUMNS,
    Clocks,
    Numbering,
    OperationChunk,
    TransferReader,
)
from cogmeter_storage.transfer.survey import SOUND_OUTCOME
from cogmeter_storage.transfer.tables import NUMBERED, read_rows
from cogmeter_storage.transfer.writing import TransferWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cogmeter_storage.transfer.tables import TransferTable

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_SLOT_COLUMNS: Final = "tier, start_us, run, first_id, last_id, sealed, folded, merged, data"
# By the number of the type: boolean, text, double precision.
_CONVERSIONS: Final[dict[int, Callable[[Any], Any]]] = {16: bool, 25: storable_text, 701: float}


@contextlib.contextmanager
def postgres_reader(url: str, *, force: bool) -> Iterator[PostgresTransferReader]:
    """Read a database that no process writes, in one transaction; with ``force`` processes may still run.

    Raises:
        StorageError: it cannot be reached, has no tables of this version, or is in use.
    """
    with _session(url) as (session, name):
        _check_version(session, name)
        if not force:
            _refuse_live_runs(session, name)
        with session.snapshot():
            yield PostgresTransferReader(session, name)


@contextlib.contextmanager
def postgres_writer(url: str, process: str, *, force: bool) -> Iterator[PostgresTransferWriter]:
    """Open a database to be filled; create its tables.

    Raises:
        StorageError: it cannot be reached or changed, or is in use.
    """
    with _session(url) as (session, name):
        migrate(session, name)
        if not force:
            _refuse_live_runs(session, name)
        # Only its partitions are used; the connection is never opened.
        maker = PostgresWriter(PostgresConnection(url), Process(name=process))
        yield PostgresTransferWriter(session, name, maker)


@contextlib.contextmanager
def _session(url: str) -> Iterator[tuple[PostgresSession, str]]:
    name = shown_name(url)
    values = {"application_name": "cogmeter transfer", **connection_values(url)}
    try:
        with contextlib.closing(psycopg.connect(autocommit=True, prepare_threshold=None, **values)) as connection:
            yield PostgresSession(connection), name
    except psycopg.Error as error:
        raise storage_error(error, name) from error


def _check_version(session: PostgresSession, name: str) -> None:
    row = session.execute(f"SELECT to_regclass('{SCHEMA}.version')").fetchone()
    if row is None or row[0] is None:
        raise StorageError(
            f"Database {name} has no tables of cogmeter. To fix it: name the database that a bot writes.",
            permanent=True,
        )
    (version,) = session.execute("SELECT version FROM version").fetchone() or (0,)
    if version != POSTGRES_VERSION:
        raise StorageError(
            f"Database {name} has schema version {version}, not {POSTGRES_VERSION}. To fix it: use the version of"
            " cogmeter that the bot has, or start the bot once with this one.",
            permanent=True,
        )


def _refuse_live_runs(session: PostgresSession, name: str) -> None:
    rows = session.execute(
        f"SELECT DISTINCT process FROM run WHERE ended_us IS NULL AND seen_us >= {_NOW} - ? ORDER BY process",  # noqa: S608 - the constant above
        (SILENT_US,),
    ).fetchall()
    if rows:
        processes = ", ".join(process for (process,) in rows[:5]) + (", ..." if len(rows) > 5 else "")
        raise StorageError(
            f"Database {name} is in use by {len(rows)} process{'es' if len(rows) > 1 else ''}: {processes}. To fix it:"
            f" stop the bot. A process that was killed counts for {SILENT_US // MINUTE_US} minutes; --force ignores"
            " it.",
            permanent=False,
        )


class PostgresTransferReader(TransferReader):
    """See TransferReader. Operations of all processes are read in order of end time, and get new ids."""

    def __init__(self, session: PostgresSession, name: str) -> None:
        """Use ``postgres_reader``."""
        super().__init__(session, name)
        self._session = session
        self._damage = PostgresDamage(name)

    def rows(self, table: TransferTable, after: Sequence[Any] | None, limit: int) -> list[tuple[Any, ...]]:
        """Read rows of a table."""
        return read_rows(self._session, table, after, limit, postgres=True)

    def operations(self, after: list[int] | None, limit: int) -> OperationChunk:
        """Read operations in order of end time and id. A place is the last one's, and the next new id."""
        conditions, values, next_id = SOUND_OUTCOME, [], 1
        if after is not None:
            *values, next_id = after
            values = [values[0], *values]
            conditions += " AND end_us >= %s AND (end_us, id) > (%s, %s)"  # the first one chooses the partitions
        statement = f"SELECT {OPERATION_COLUMNS} FROM operation WHERE {conditions} ORDER BY end_us, id LIMIT %s"  # noqa: S608 - names of our columns
        rows = self._session.connection.cursor(binary=True).execute(statement.encode(), (*values, limit)).fetchall()
        numbered: list[tuple[Any, ...]] = []
        numbers, minute_us, last = self._numbers, None, None
        for row in rows:
            last = row
            if (start_us := floor_us(row[1], MINUTE_US)) != minute_us:
                minute_us = start_us
                next_id = max(next_id, numbers.ids(Tier.MINUTE, start_us)[0])
            numbered.append((next_id, *row[1:]))
            next_id += 1
        return OperationChunk(numbered, after if last is None else [last[1], last[0], next_id])

    def stored_starts(self) -> Mapping[Tier, frozenset[int]]:
        """Return the times of the slots of all runs."""
        rows = self._session.execute("SELECT DISTINCT tier, start_us FROM slot").fetchall()
        return {tier: frozenset(start_us for number, start_us in rows if number == tier) for tier in Tier}

    def parts(self, tier: Tier, since_us: int, until_us: int) -> Iterator[SealedSlot]:
        """Read the slots of all runs."""
        return read_slots(self._session, self._damage, tier, since_us, until_us)

    def lost_slots(self) -> int:
        """Return how many slots are damaged."""
        return self._damage.counts(0).lost_slots

    def numbered(self, slot: SealedSlot) -> SealedSlot:
        """Return the slot with the new ids of its operations."""
        ids = self._numbers.ids(slot.tier, slot.start_us)
        return SealedSlot(slot.tier, slot.start_us, *ids, slot.slot)

    @cached_property
    def _numbers(self) -> Numbering:
        rows = self._session.execute(
            f"SELECT floor(end_us / {MINUTE_US}.0)::bigint * {MINUTE_US}, count(*) FROM operation"  # noqa: S608 - a constant
            f" WHERE {SOUND_OUTCOME} GROUP BY 1"
        )
        return Numbering(self.counts, dict(rows.fetchall()))

    def last_ids(self) -> dict[str, int]:
        """Read the sequences."""
        return {
            table.name: self._session.execute(
                f"SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table.name}', 'id')::regclass), 0)"
            ).fetchall()[0][0]
            for table in NUMBERED
        }

    def clocks(self) -> Clocks:
        """Return the sums of all runs."""
        row = self._session.execute("SELECT coalesce(sum(clamped), 0), max(last_write_us) FROM run").fetchone()
        assert row is not None
        clamped, last_write_us = row
        return Clocks(int(clamped), last_write_us)


class PostgresTransferWriter(TransferWriter):
    """See TransferWriter. Everything belongs to one run, which has ended."""

    def __init__(self, session: PostgresSession, name: str, maker: PostgresWriter) -> None:
        """Use ``postgres_writer``; ``maker`` creates the partitions."""
        self.session = session
        self.name = name
        self.run = 0
        self._session = session
        self._maker = maker
        self._types: dict[str, list[int]] = {}

    def begin(self) -> None:
        """Store the run."""
        self._session.execute("SELECT 1 FROM area WHERE name = 'runs' FOR UPDATE")
        (last,) = self._session.execute("SELECT coalesce(max(id), 0) FROM run").fetchone() or (0,)
        self.run = last + 1
        process = self._maker.process
        values = (self.run, process.name, socket.gethostname(), os.getpid(), process.version, process.shards)
        self._session.execute(
            "INSERT INTO run (id, process, host, pid, version, shards, started_us, seen_us, ended_us, next_id,"  # noqa: S608 - the constant above
            f" last_end_us, clamped) VALUES (?, ?, ?, ?, ?, ?, {_NOW}, {_NOW}, {_NOW}, ?, 0, 0)",
            (*values, self._first_id + 1),
        )

    @property
    def _first_id(self) -> int:
        return self.run << SEQUENCE_BITS

    def insert(self, table: TransferTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Copy rows in; the ids of identity columns are those of the rows."""
        self._copy_in(table.name, ", ".join(table.columns(postgres=True)), rows)

    def insert_operations(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Copy operations into the partitions of their days."""
        self._maker.make_partitions(self._session, {row[1] // DAY_US for row in rows})
        first = self._first_id
        self._copy_in("operation", OPERATION_COLUMNS, [(first + number, *rest) for number, *rest in rows])

    def insert_slots(self, slots: Sequence[tuple[SealedSlot, bool]]) -> None:
        """Copy slots of the run in."""
        rows = []
        for slot, folded in slots:
            ids = slot.first_id + self._first_id, slot.last_id + self._first_id
            data = encode(slot.slot, (slot.tier, slot.start_us, *ids))
            rows.append((int(slot.tier), slot.start_us, self.run, *ids, True, folded, False, data))
        self._copy_in("slot", _SLOT_COLUMNS, rows)

    def _copy_in(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        types = self._column_types(table, columns)
        converted = [(place, _CONVERSIONS[kind]) for place, kind in enumerate(types) if kind in _CONVERSIONS]
        statement = f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)"
        with self._session.connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                values = list(row)
                for place, convert in converted:
                    if values[place] is not None:
                        values[place] = convert(values[place])
                copy.write_row(values)

    def _column_types(self, table: str, columns: str) -> list[int]:
        if table not in self._types:
            found = self._session.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608 - names of our tables and columns
            self._types[table] = [column.type_code for column in found.description or ()]
        return self._types[table]

    def finish(self, last_ids: Mapping[str, int], clocks: Clocks) -> None:
        """Set the sequences, and the position of the run."""
        for table, last in last_ids.items():
            if last:
                self._session.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), ?)", (last,))
        self._session.execute(
            "UPDATE run SET next_id = greatest(?, (SELECT coalesce(max(last_id), 0) + 1 FROM slot WHERE run = ?),"
            " (SELECT coalesce(max(id), 0) + 1 FROM operation)),"
            " last_end_us = (SELECT coalesce(max(end_us), 0) FROM operation), last_write_us = ?, clamped = ?"
            " WHERE id = ?",
            (self._first_id + 1, self.run, clocks.last_write_us, clocks.clamped, self.run),
        )

    @contextlib.contextmanager
    def reader(self) -> Iterator[TransferReader]:
        """Read what was written."""
        with self._session.snapshot():
            yield PostgresTransferReader(self._session, self.name)
