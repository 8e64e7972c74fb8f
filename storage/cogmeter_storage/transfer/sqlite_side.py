"""An SQLite file as the source or the target of a transfer."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

from cogmeter_storage.clock import clock
from cogmeter_storage.model import LAST_US, Tier
from cogmeter_storage.plan import floor_us
from cogmeter_storage.slot import SlotFormatError, encode
from cogmeter_storage.sqlite.connection import SQLITE_ERRORS, damaged_error, storage_error
from cogmeter_storage.sqlite.damage import DamageLog
from cogmeter_storage.sqlite.database_file import ReadOpener, check_header, check_version, connect, make_folder, migrate
from cogmeter_storage.sqlite.file_identity import acquire_writer_lock, resolve_path
from cogmeter_storage.sqlite.future_rows import clock_steps
from cogmeter_storage.sqlite.reader import unsealed_minutes
from cogmeter_storage.sqlite.slots import extents, read_slots
from cogmeter_storage.transfer.reading import OPERATION_COLUMNS, Clocks, OperationChunk, TransferReader
from cogmeter_storage.transfer.survey import SOUND_OUTCOME
from cogmeter_storage.transfer.tables import NUMBERED, read_rows
from cogmeter_storage.transfer.writing import TransferWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.sqlite.session import SqliteSession
    from cogmeter_storage.transfer.tables import TransferTable

_FOLDERS_LOCK: Final = os.W_OK | os.X_OK


@contextlib.contextmanager
def sqlite_reader(path: Path) -> Iterator[SqliteTransferReader]:
    """Open a file that no bot uses, and keep bots away from it while the block runs.

    Raises:
        StorageError: it is in use, missing, of another version, or damaged.
    """
    path = resolve_path(path)
    with _translated_errors(path), contextlib.ExitStack() as stack:
        if path.exists() and os.access(path.parent, _FOLDERS_LOCK):
            stack.callback(acquire_writer_lock(path).release)
        raw = ReadOpener(path)(stack)
        raw.text_factory = lambda text: text.decode(errors="replace")
        stack.enter_context(raw.snapshot())
        yield SqliteTransferReader(raw, path)


@contextlib.contextmanager
def sqlite_writer(path: Path) -> Iterator[SqliteTransferWriter]:
    """Open a file to be filled, without what a bot does first with the rows of its last run.

    Raises:
        StorageError: it cannot be created, is in use, or belongs to another program.
    """
    path = resolve_path(path)
    with _translated_errors(path), contextlib.ExitStack() as stack:
        make_folder(path)
        stack.callback(acquire_writer_lock(path).release)
        check_header(path)
        raw = stack.enter_context(contextlib.closing(connect(path, "rwc")))
        migrate(raw, check_version(raw, path))
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = NORMAL")
        yield SqliteTransferWriter(raw, path)


@contextlib.contextmanager
def new_sqlite_file(path: Path) -> Iterator[SqliteTransferWriter]:
    """Open an empty file without a journal, for a copy that is deleted when it fails; it is on the disk at the end."""
    with _translated_errors(path):
        with contextlib.closing(connect(path, "rw")) as raw:
            raw.execute("PRAGMA journal_mode = OFF")
            raw.execute("PRAGMA synchronous = OFF")
            migrate(raw, 0)
            yield SqliteTransferWriter(raw, path)
        with path.open("rb+") as file:
            os.fsync(file.fileno())


class SqliteTransferReader(TransferReader):
    """See TransferReader. The ids and the slots are those of the file; minutes that are not sealed yet are added."""

    def __init__(self, raw: SqliteSession, path: Path, *, is_filled: bool = False) -> None:
        """Use ``sqlite_reader``. ``is_filled``: a transfer fills the file, and no operation waits for being sealed."""
        super().__init__(raw, str(path))
        self._raw = raw
        self._damage = DamageLog(path)
        rows = raw.execute(f"SELECT tier, start_us FROM slot WHERE {raw.sound_rows('slot')}").fetchall()  # noqa: S608 - names of our columns
        self._stored = {tier: frozenset(start_us for number, start_us in rows if number == tier) for tier in Tier}
        stored, sealed_id = extents(raw, self._damage)
        sealed_us = stored[Tier.MINUTE].until_us if Tier.MINUTE in stored else -LAST_US
        self._unsealed = [] if is_filled else unsealed_minutes(raw, self._damage, None, sealed_id, sealed_us)

    def rows(self, table: TransferTable, after: Sequence[Any] | None, limit: int) -> list[tuple[Any, ...]]:
        """Read rows of a table."""
        return read_rows(self._raw, table, after, limit, postgres=False)

    def operations(self, after: list[int] | None, limit: int) -> OperationChunk:
        """Read operations in order of their ids."""
        rows = self._raw.execute(
            f"SELECT {OPERATION_COLUMNS} FROM operation WHERE id > ? AND {self._raw.sound_rows('operation')}"  # noqa: S608 - names of our columns
            f" AND {SOUND_OUTCOME} ORDER BY id LIMIT ?",
            (after[0] if after else 0, limit),
        ).fetchall()
        return OperationChunk(rows, [rows[-1][0]] if rows else after)

    def stored_starts(self) -> Mapping[Tier, frozenset[int]]:
        """Return the times of the slots, and of the minutes that are not sealed."""
        unsealed = {minute.start_us for minute in self._unsealed}
        return {**self._stored, Tier.MINUTE: self._stored[Tier.MINUTE] | unsealed}

    def parts(self, tier: Tier, since_us: int, until_us: int) -> Iterator[SealedSlot]:
        """Read the slots of a tier, finer ones without a slot of this tier, and minutes that are not sealed."""
        found = list(read_slots(self._raw, self._damage, tier, since_us, until_us))
        for finer in Tier:
            if finer < tier:
                found += self._unfolded(finer, tier, since_us, until_us)
        found += [minute for minute in self._unsealed if since_us <= minute.start_us < until_us]
        yield from sorted(found, key=lambda slot: slot.start_us)

    def _unfolded(self, finer: Tier, tier: Tier, since_us: int, until_us: int) -> Iterator[SealedSlot]:
        """Yield the finer slots of a range that no slot up to this tier contains."""
        coarser = [one for one in Tier if finer < one <= tier]
        for start_us in sorted(self._stored[finer]):
            inside = since_us <= start_us < until_us
            if inside and all(floor_us(start_us, one.width_us) not in self._stored[one] for one in coarser):
                yield from read_slots(self._raw, self._damage, finer, start_us, start_us + finer.width_us)

    def lost_slots(self) -> int:
        """Return how many slots are damaged and could not be rebuilt."""
        return self._damage.counts(self._raw).lost_slots

    def numbered(self, slot: SealedSlot) -> SealedSlot:
        """Return the slot, which has its ids."""
        return slot

    def last_ids(self) -> dict[str, int]:
        """Read the sequences of the tables that have one; the last id of the others."""
        sequences = dict(self._raw.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        for table in NUMBERED:
            (last,) = self._raw.execute(f"SELECT ifnull(max(id), 0) FROM {table.name}").fetchone()  # noqa: S608 - one of our tables
            sequences[table.name] = max(last, sequences.get(table.name, 0))
        return sequences

    def clocks(self) -> Clocks:
        """Return the clamped operations; the last write is not stored."""
        return Clocks(clock_steps(self._raw).clamped, None)


class SqliteTransferWriter(TransferWriter):
    """See TransferWriter."""

    run = 0

    def __init__(self, raw: SqliteSession, path: Path) -> None:
        """Use ``sqlite_writer`` or ``new_sqlite_file``."""
        self.session = raw
        self.name = str(path)
        self._raw = raw
        self._path = path

    def begin(self) -> None:
        """Do nothing: a file has one writer."""

    def insert(self, table: TransferTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows."""
        more = table.only_sqlite or {}
        columns = (*table.columns(postgres=False), *more)
        values = tuple(more.values())
        self._insert(table.name, ", ".join(columns), [(*row, *values) for row in rows] if values else rows)

    def insert_operations(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert operations."""
        self._insert("operation", OPERATION_COLUMNS, rows)

    def insert_slots(self, slots: Sequence[tuple[SealedSlot, bool]]) -> None:
        """Insert slots."""
        keys = [(int(slot.tier), slot.start_us, slot.first_id, slot.last_id) for slot, _ in slots]
        rows = [(*key, encode(slot.slot, key)) for key, (slot, _) in zip(keys, slots, strict=True)]
        self._insert("slot", "tier, start_us, first_id, last_id, data", rows)

    def _insert(self, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * (columns.count(",") + 1))
        self._raw.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - names of our tables and columns

    def finish(self, last_ids: Mapping[str, int], clocks: Clocks) -> None:
        """Set the sequences, and the sums of set-apart rows."""
        for table, last in last_ids.items():
            self._set_sequence(table, last)
        find = (
            "SELECT count(*) FILTER (WHERE kind = 'operation'),"
            " count(*) FILTER (WHERE kind IN ('sample', 'trace', 'marker')), min(time_us), max(time_us) FROM set_apart"
            " WHERE kind IN ('operation', 'sample', 'trace', 'marker')"
        )
        apart = self._raw.execute(find).fetchone()
        self._raw.execute("DELETE FROM clock_step")
        if clocks.clamped or any(value is not None and value for value in apart):
            self._raw.execute(
                "INSERT INTO clock_step (id, at_us, clamped, operations, others, first_us, last_us)"
                " VALUES (1, ?, ?, ?, ?, ?, ?)",
                (clock.now_us(), clocks.clamped, *apart),
            )

    def _set_sequence(self, table: str, last: int) -> None:
        """Continue after an id, where the table never gives one again."""
        find = "SELECT 1 FROM sqlite_schema WHERE name = ? AND sql LIKE '%AUTOINCREMENT%'"
        if self._raw.execute(find, (table,)).fetchone() is None:
            return
        changed = self._raw.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, table))
        if not changed.rowcount and last:
            self._raw.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))

    @contextlib.contextmanager
    def reader(self) -> Iterator[TransferReader]:
        """Read what was written."""
        with self._raw.snapshot():
            yield SqliteTransferReader(self._raw, self._path, is_filled=True)


@contextlib.contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except SQLITE_ERRORS as error:
        raise storage_error(error, path) from error
    except SlotFormatError as error:
        raise damaged_error(path, str(error)) from error
