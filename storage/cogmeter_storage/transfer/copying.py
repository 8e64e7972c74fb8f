"""Copies one store into another in chunks; after an interruption the same call continues.

The progress is a row of the target's table ``memory``, written in the transaction of each chunk: a chunk is in the
target if and only if the progress says so.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter_storage.base import StorageError
from cogmeter_storage.model import LAST_US, Tier
from cogmeter_storage.plan import floor_us
from cogmeter_storage.transfer.reading import whole_slots
from cogmeter_storage.transfer.survey import Survey
from cogmeter_storage.transfer.tables import KEY, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.transfer.reading import TransferReader
    from cogmeter_storage.transfer.writing import TransferWriter

CHUNK_ROWS: Final = 20_000  # in one transaction; a second or less
_SLOTS_PER_CHUNK: Final = 500
_OPERATIONS, _SLOTS, _END, _DONE = "operations", "slots", "end", "done"
_STAGES: Final = (*(table.name for table in TABLES), _OPERATIONS, _SLOTS, _END, _DONE)
_COARSER: Final = {Tier.MINUTE: Tier.HOUR, Tier.HOUR: Tier.DAY}


class Transferred(NamedTuple):
    """The result of a transfer."""

    source: str  # without a password
    target: str
    survey: Survey  # of both
    damaged: int  # rows and slots of the source that could not be copied
    copied: int  # rows by this call; an interrupted one may have copied others
    resumed: bool


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """The progress, as the target's memory has it."""

    source: str
    survey: dict[str, Any]
    stage: str = _STAGES[0]
    after: list[Any] | None = None  # place in the stage: the last key
    done: dict[str, int] = field(default_factory=dict)  # rows copied, by stage
    run: int = 0  # of the target, for the operations

    def encoded(self) -> bytes:
        """Return the bytes to store."""
        return json.dumps(asdict(self)).encode()


class StoreTransfer:
    """One copy of everything from a source to a target."""

    def __init__(
        self,
        source: TransferReader,
        target: TransferWriter,
        step: Callable[[int, int], None],
        *,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        """``step`` is called after each chunk with the rows done and in total; what it raises ends the copy."""
        self._source = source
        self._target = target
        self._step = step
        self._chunk_rows = chunk_rows
        self._survey, self._damaged = source.survey()
        self._progress = TransferProgress(source.name, self._survey.as_json())

    def run(self) -> Transferred:
        """Copy what is left, and compare both stores.

        Raises:
            StorageError: the target has other data, one of the two was changed after an earlier call, or they differ.
        """
        resumed = self._begin()
        copied = 0
        self._report()
        while (stage := self._progress.stage) != _DONE:
            if added := self._copy_chunk(stage):
                copied += added
                self._report()
        self._compare()
        return Transferred(self._source.name, self._target.name, self._survey, self._damaged, copied, resumed)

    def forget(self) -> None:
        """Remove the progress from the target."""
        with self._target.session.transaction():
            self._target.session.execute("DELETE FROM memory WHERE name = ?", (KEY,))

    def _report(self) -> None:
        self._step(sum(self._progress.done.values()), self._survey.rows)

    def _begin(self) -> bool:
        """Read the progress of an earlier call, or store a first one; return whether there was one."""
        session = self._target.session
        row = session.execute("SELECT value FROM memory WHERE name = ?", (KEY,)).fetchone()
        with self._target.reader() as target:
            found, _ = target.survey()
        if row is None:
            self._require_empty(found)
            with session.transaction():
                self._target.begin()
                self._progress = replace(self._progress, run=self._target.run)
                insert = "INSERT INTO memory (name, value) VALUES (?, ?)"
                session.execute(insert, (KEY, self._progress.encoded()))
            return False
        stored = TransferProgress(**json.loads(bytes(row[0])))
        self._check(stored, found)
        self._progress, self._target.run = stored, stored.run
        return True

    def _require_empty(self, found: Survey) -> None:
        parts = [name for name, count in found.tables.items() if count]
        parts += ["operation"] if found.operations else []
        parts += ["slot"] if any(number for number, _ in found.slots.values()) else []
        if parts:
            raise StorageError(
                f"Database {self._target.name} has other data (in {', '.join(parts[:3])}); it has not been changed. To"
                " fix it: name an empty or a new database.",
                permanent=True,
            )

    def _check(self, stored: TransferProgress, found: Survey) -> None:
        """Check that an earlier call copied the same data, and that it has not changed."""
        name = self._target.name
        if stored.source != self._source.name:
            raise StorageError(
                f"Database {name} has a copy of {stored.source}, or a part of it. To fix it: name an empty database,"
                " or the same source again.",
                permanent=True,
            )
        if stored.survey != self._survey.as_json():
            change = next(Survey(**stored.survey).differences(self._survey), "other data")
            raise StorageError(
                f"Database {self._source.name} has changed since the copy was begun ({change}). To fix it: copy it into"
                " an empty database.",
                permanent=True,
            )
        copied = {table.name: found.tables[table.name] for table in TABLES} | {
            _OPERATIONS: found.operation_count,
            _SLOTS: sum(number for number, _ in found.slots.values()),
        }
        for stage, count in copied.items():
            if count != stored.done.get(stage, 0):
                raise StorageError(
                    f"Database {name} has changed since the copy was begun ({stage}: {count:,} rows instead of"
                    f" {stored.done.get(stage, 0):,}). To fix it: copy into an empty database.",
                    permanent=True,
                )

    def _copy_chunk(self, stage: str) -> int:
        """Copy the next rows of a stage in one transaction, with the progress; return how many."""
        if stage == _END:
            return self._finish()
        if stage == _SLOTS:
            return self._copy_slots()
        if stage == _OPERATIONS:
            chunk = self._source.operations(self._progress.after, self._chunk_rows)
            return self._write(len(chunk.rows), chunk.after, lambda: self._target.insert_operations(chunk.rows))
        table = TABLES[_STAGES.index(stage)]
        rows = self._source.rows(table, self._progress.after, table.rows_per_chunk(self._chunk_rows))
        after = [rows[-1][place] for place in table.key_places] if rows else None
        return self._write(len(rows), after, lambda: self._target.insert(table, rows))

    def _copy_slots(self) -> int:
        slots = list(itertools.islice(self._slots_left, min(_SLOTS_PER_CHUNK, self._chunk_rows)))
        after = [int(slots[-1][0].tier), slots[-1][0].start_us] if slots else None
        return self._write(len(slots), after, lambda: self._target.insert_slots(slots))

    @cached_property
    def _slots_left(self) -> Iterator[tuple[SealedSlot, bool]]:
        """The slots after the stored place, each with whether a coarser one contains it."""
        first, after_us = self._progress.after or (Tier.MINUTE, -LAST_US)
        for tier in Tier:
            if tier < first:
                continue
            coarser = _COARSER.get(tier)
            containing = set() if coarser is None else set(self._source.starts[coarser])
            width_us = 1 if coarser is None else coarser.width_us
            for slot in whole_slots(self._source, tier, after_us=after_us if tier == first else -LAST_US):
                yield self._source.numbered(slot), floor_us(slot.start_us, width_us) in containing

    def _finish(self) -> int:
        last_ids, clocks = self._source.last_ids(), self._source.clocks()
        return self._write(0, None, lambda: self._target.finish(last_ids, clocks))

    def _write(self, count: int, after: list[Any] | None, insert: Callable[[], None]) -> int:
        """Write rows and the progress in one transaction; without rows, the next stage begins."""
        progress = self._progress
        if count:
            done = {**progress.done, progress.stage: progress.done.get(progress.stage, 0) + count}
            new = replace(progress, after=after, done=done)
        else:
            new = replace(progress, after=None, stage=_STAGES[_STAGES.index(progress.stage) + 1])
        session = self._target.session
        with session.transaction():
            if count or progress.stage == _END:
                insert()
            # The old bytes are a condition, so that two copies into the same target cannot both go on.
            update = "UPDATE memory SET value = ? WHERE name = ? AND value = ?"
            if not session.execute(update, (new.encoded(), KEY, progress.encoded())).rowcount:
                raise StorageError(
                    f"Another program writes into database {self._target.name}. To fix it: stop it, and copy again.",
                    permanent=False,
                )
        self._progress = new
        return count

    def _compare(self) -> None:
        with self._target.reader() as target:
            found, _ = target.survey()
        differences = list(self._survey.differences(found))
        if differences:
            raise StorageError(
                f"The copy in {self._target.name} differs from {self._source.name}: {'; '.join(differences[:5])}. To"
                " fix it: copy into an empty database again; if that does not help, report it.",
                permanent=True,
            )
