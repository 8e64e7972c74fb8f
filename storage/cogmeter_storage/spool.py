"""Keeps batches of operations in a local SQLite file while the database server cannot be reached.

Batches are added at the end and removed at the beginning, each in one transaction. The names of their series are kept
with them, because a server that is away gives no ids to new ones. A batch keeps its id, which the server records with
its rows: if it was stored, and the process was killed before it was removed here, it is not stored again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter_storage.base import CorruptStoreError, StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import BatchId
from cogmeter_storage.sqlite.connection import SQLITE_ERRORS, Connection, primary_code
from cogmeter_storage.sqlite.session import SqliteSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from cogmeter_storage.model import Row

_PAGE_BYTES: Final = 4096
_SLICE: Final = 128  # rows that are converted in one turn of the loop
_MOST_PROCESSES: Final = 64  # of one name on one machine
_TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS series (
        id INTEGER PRIMARY KEY,
        service TEXT NOT NULL,
        operation TEXT NOT NULL,
        UNIQUE (service, operation)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        number INTEGER NOT NULL,
        now_us INTEGER NOT NULL,
        first_row INTEGER NOT NULL,
        rows INTEGER NOT NULL
    )
    """,
    # The rows of a batch are successive, so they need no index.
    """
    CREATE TABLE IF NOT EXISTS operation (
        id INTEGER PRIMARY KEY,
        series INTEGER NOT NULL,
        end_us INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        outcome INTEGER NOT NULL,
        error TEXT,
        metadata TEXT
    )
    """,
)
_INSERT: Final = (
    "INSERT INTO operation (series, end_us, duration_us, outcome, error, metadata) VALUES (?, ?, ?, ?, ?, ?)"
)

_logger = logging.getLogger("cogmeter.storage")


class SpoolFullError(StorageError):
    """The batch does not fit into the spool, or onto the disk; nothing was added."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Spool {path} is full. To fix it: raise PERFORMANCE_SPOOL_MB.", permanent=False)


class SpooledBatch(NamedTuple):
    """A batch as it was added: the series of a row is a position in ``names``."""

    key: int  # in the spool
    id: BatchId
    now_us: int
    names: list[tuple[str, str]]
    slices: list[list[Row]]


class Spool:
    """A queue of batches in one file, which only one process can have open.

    All methods that return an awaitable raise StorageError when the file cannot be used.
    """

    def __init__(self, connection: Connection, max_bytes: int) -> None:
        """Use ``Spool.open`` instead."""
        self.path = connection.path
        self.max_bytes = max_bytes
        self.batches = self.operations = 0  # that wait
        self.full = False  # since the last batch that did not fit; false again when one is removed
        self._connection = connection
        self._numbers: dict[tuple[str, str], int] = {}  # of the series
        self._lock = asyncio.Lock()  # a transaction takes several calls

    @classmethod
    async def open(cls, folder: Path, process: str, max_bytes: int) -> Spool:
        """Open the spool of a process, with the batches that its last start left; see ``spool_name``.

        A second process of the same name on this machine gets a file of its own. A damaged file is set aside.

        Raises:
            StorageError: there is none that can be opened.
        """
        for number in range(1, _MOST_PROCESSES + 1):
            path = folder / spool_name(process, number)
            try:
                return await cls._open_file(path, max_bytes)
            except CorruptStoreError as error:
                aside = path.with_name(f"{path.name}.corrupt-{clock.now_us()}")
                path.rename(aside)
                _logger.error("%s It has been renamed to %s; a new spool begins.", error, aside.name)  # noqa: TRY400 - expected
                return await cls._open_file(path, max_bytes)
            except _LockedError:
                continue
        raise StorageError(f"All spools of {process} in {folder} are in use.", permanent=True)

    @classmethod
    async def _open_file(cls, path: Path, max_bytes: int) -> Spool:
        def opened(stack: ExitStack) -> SqliteSession:
            return _opened(stack, path, max_bytes)

        connection = Connection(path, opened)
        await connection.open()
        spool = cls(connection, max_bytes)
        try:
            spool.batches, spool.operations = await connection.run(_count)
        except BaseException:
            await connection.end()
            raise
        return spool

    async def series_ids(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """Return the spool's own numbers of these names; add new ones."""
        async with self._lock:
            if new := [name for name in names if name not in self._numbers]:
                self._numbers |= await self._connection.run(_add_names, self.path, new)
        return [self._numbers[name] for name in names]

    async def append(self, slices: Iterable[Sequence[Row]], *, now_us: int, batch: BatchId) -> int:
        """Add a batch, whose series are those of ``series_ids``; return the number of its rows. One transaction.

        Raises:
            SpoolFullError: it does not fit; nothing was added.
        """
        count = 0
        async with self._lock:
            try:
                first_row = await self._connection.run(_begin)
                for rows in slices:
                    await self._connection.run(_insert, self.path, rows)
                    count += len(rows)
                await self._connection.run(_finish, self.path, (*batch, now_us, first_row, count))
            except BaseException as error:
                self._connection.run_later(_roll_back)
                self.full = self.full or isinstance(error, SpoolFullError)
                raise
            self.batches += 1
            self.operations += count
        return count

    async def first(self) -> SpooledBatch | None:
        """Return the first batch; None if the spool is empty."""
        async with self._lock:
            return await self._connection.run(_first)

    async def remove(self, batch: SpooledBatch) -> None:
        """Remove the first batch, which the server has stored."""
        async with self._lock:
            self.batches, self.operations = await self._connection.run(_remove, batch.key)
            self.full = False

    @property
    def size_bytes(self) -> int:
        """The size of the file, with its log."""
        sizes = 0
        for path in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            with contextlib.suppress(OSError):
                sizes += path.stat().st_size
        return sizes

    async def close(self) -> None:
        """Close the file, and delete it if it is empty."""
        await self._connection.end()
        if not self.batches:
            with contextlib.suppress(OSError):
                self.path.unlink()


def spool_name(process: str, number: int = 1) -> str:
    """Return the file name of a process's spool, without the operating system's id of this start in its name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", process.removesuffix(f"-{os.getpid()}")).strip("-.")[:80] or "bot"
    return f"spool-{name}.db" if number == 1 else f"spool-{name}-{number}.db"


class _LockedError(StorageError):
    """Another process has the file open."""


def _opened(stack: ExitStack, path: Path, max_bytes: int) -> SqliteSession:
    """Open the file, alone, on the connection's thread."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Spool {path}: its folder cannot be created ({error}).", permanent=True) from error
    raw = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, factory=SqliteSession)
    stack.callback(raw.close)
    try:
        raw.execute("PRAGMA locking_mode = EXCLUSIVE")  # before the journal mode: no memory is shared then
        raw.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            raw.execute(statement)
        raw.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            raise _LockedError(f"Another process has the spool {path} open.", permanent=True) from error
        raise
    raw.execute("PRAGMA synchronous = NORMAL")
    raw.execute(f"PRAGMA max_page_count = {max(max_bytes // _PAGE_BYTES, 1)}")  # a larger file keeps its size
    return raw


def _count(raw: SqliteSession) -> tuple[int, int]:
    """Return the numbers of batches and of operations."""
    batches, operations = raw.execute("SELECT count(*), coalesce(sum(rows), 0) FROM batch").fetchone()
    return batches, operations


def _add_names(raw: SqliteSession, path: Path, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Add names that are new; return the numbers of all."""
    with _full(path), raw.transaction():
        raw.executemany(
            "INSERT INTO series (service, operation) VALUES (?, ?) ON CONFLICT DO NOTHING", map(_storable_all, names)
        )
        find = "SELECT id FROM series WHERE service = ? AND operation = ?"
        return {name: raw.execute(find, _storable_all(name)).fetchone()[0] for name in names}


def _begin(raw: SqliteSession) -> int:
    """Begin a transaction; return the id of the next row."""
    raw.execute("BEGIN IMMEDIATE")
    (last,) = raw.execute("SELECT coalesce(max(id), 0) FROM operation").fetchone()
    return int(last) + 1


def _insert(raw: SqliteSession, path: Path, rows: Sequence[Row]) -> None:
    with _full(path):
        raw.executemany(_INSERT, [row if row[4] is None and row[5] is None else _storable_row(row) for row in rows])


def _finish(raw: SqliteSession, path: Path, values: tuple[object, ...]) -> None:
    with _full(path):
        raw.execute("INSERT INTO batch (source, number, now_us, first_row, rows) VALUES (?, ?, ?, ?, ?)", values)
        raw.execute("COMMIT")


def _roll_back(raw: SqliteSession) -> None:
    if raw.in_transaction:
        raw.execute("ROLLBACK")


@contextlib.contextmanager
def _full(path: Path) -> Iterator[None]:
    """Raise SpoolFullError where SQLite reports that the file has its maximum size, or the disk is full."""
    try:
        yield
    except SQLITE_ERRORS as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise SpoolFullError(path) from error
        raise


def _first(raw: SqliteSession) -> SpooledBatch | None:
    row = raw.execute("SELECT id, source, number, now_us, first_row, rows FROM batch ORDER BY id LIMIT 1").fetchone()
    if row is None:
        return None
    key, source, number, now_us, first_row, count = row
    found = raw.execute("SELECT id, service, operation FROM series ORDER BY id").fetchall()
    place = {series: place for place, (series, *_) in enumerate(found)}
    rows = raw.execute(
        "SELECT series, end_us, duration_us, outcome, error, metadata FROM operation"
        " WHERE id >= ? AND id < ? ORDER BY id",
        (first_row, first_row + count),
    )
    slices = []
    while some := rows.fetchmany(_SLICE):
        slices.append([(place[series], *values) for series, *values in some])
    return SpooledBatch(key, BatchId(source, number), now_us, [(service, name) for _, service, name in found], slices)


def _remove(raw: SqliteSession, key: int) -> tuple[int, int]:
    """Remove a batch; return the numbers of batches and operations that are left."""
    with raw.transaction():
        row = raw.execute("DELETE FROM batch WHERE id = ? RETURNING first_row, rows", (key,)).fetchone()
        if row is not None:
            raw.execute("DELETE FROM operation WHERE id >= ?1 AND id < ?1 + ?2", row)
        left = _count(raw)
    if not left[0]:
        raw.execute("VACUUM")  # of an empty file: a moment, and it needs no disk space any more
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return left


def _storable_all(name: tuple[str, str]) -> tuple[str, ...]:
    return tuple(map(_storable, name))


def _storable_row(row: Row) -> tuple[object, ...]:
    return (*row[:4], *(None if text is None else _storable(text) for text in row[4:]))


def _storable(text: str) -> str:
    """Return the text without unpaired surrogates."""
    return text if text.isascii() else text.encode(errors="replace").decode()
