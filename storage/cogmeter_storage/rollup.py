"""Aggregation of rows into slots: the open minute, its sealing, and the position at which writing continues."""

from __future__ import annotations

import dataclasses
import itertools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage.model import MINUTE_US, Outcome, Tier
from cogmeter_storage.slot import Slot, merge, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogmeter_storage.model import Int64Array, Row

_PENDING_ROWS = 8192  # raw rows of the open minute in memory before they are aggregated
_PENDING_PARTS = 64
_UNAGGREGATED_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """Raw rows as columns of the same length, in the order of their ids and end times."""

    id: Int64Array
    end_us: Int64Array
    series: Int64Array
    duration_us: Int64Array
    outcome: Int64Array

    def part(self, start: int, stop: int) -> Columns:
        """Return the rows from position ``start`` up to ``stop``."""
        return Columns(*(getattr(self, name)[start:stop] for name in self.__slots__))

    def where(self, inside: NDArray[np.bool_]) -> Columns:
        """Return the rows for which ``inside`` is true."""
        return Columns(*(getattr(self, name)[inside] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class SealedSlot:
    """A finished slot, and the range of ids of its operations."""

    tier: Tier
    start_us: int
    first_id: int
    last_id: int
    slot: Slot

    @property
    def end_us(self) -> int:
        """The end of the slot."""
        return self.start_us + self.tier.width_us


def fold(slots: Sequence[SealedSlot], tier: Tier) -> SealedSlot:
    """Return one slot of a tier from the finer ones of its time range, or from itself and late finer ones."""
    return SealedSlot(
        tier=tier,
        start_us=slots[0].start_us // tier.width_us * tier.width_us,
        first_id=min(slot.first_id for slot in slots),
        last_id=max(slot.last_id for slot in slots),
        slot=merge([slot.slot for slot in slots]),
    )


@dataclass(frozen=True, slots=True)
class OpenMinute:
    """The minute that is not a slot yet; never changed in place, so a reader may keep a reference."""

    start_us: int
    first_id: int
    last_id: int
    aggregated: tuple[Slot, ...]  # none or one
    pending: tuple[Columns, ...]

    @classmethod
    def from_rows(cls, rows: Columns) -> OpenMinute:
        """Return the minute of these rows, which all end in it."""
        start_us = int(rows.end_us[0]) // MINUTE_US * MINUTE_US
        return cls(start_us, int(rows.id[0]), int(rows.id[-1]), (), (rows,))

    def with_rows(self, rows: Columns) -> OpenMinute:
        """Return this minute with rows added at its end."""
        pending = (*self.pending, rows)
        minute = dataclasses.replace(self, last_id=int(rows.id[-1]), pending=pending)
        if len(pending) < _PENDING_PARTS and sum(part.id.size for part in pending) < _PENDING_ROWS:
            return minute
        return dataclasses.replace(minute, aggregated=(minute.slot(),), pending=())

    def slot(self) -> Slot:
        """Return the aggregates so far."""
        return merge([*self.aggregated, *_summaries(self.pending)])

    def sealed(self) -> SealedSlot:
        """Return the finished slot of the minute."""
        return SealedSlot(Tier.MINUTE, self.start_us, self.first_id, self.last_id, self.slot())


def _summaries(parts: Sequence[Columns]) -> list[Slot]:
    if not parts:
        return []
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("series", "duration_us", "outcome"))
    return [summarise(*columns)]


def add_to_minutes(minute: OpenMinute | None, rows: Columns) -> tuple[OpenMinute | None, list[SealedSlot]]:
    """Return the open minute after these rows, and the minutes that they finished."""
    if not rows.id.size:
        return minute, []
    sealed: list[SealedSlot] = []
    minutes = rows.end_us // MINUTE_US
    bounds = [0, *(np.flatnonzero(np.diff(minutes)) + 1).tolist(), minutes.size]
    for start, stop in itertools.pairwise(bounds):
        part = rows.part(start, stop)
        if minute is not None and minute.start_us == int(minutes[start]) * MINUTE_US:
            minute = minute.with_rows(part)
            continue
        if minute is not None:
            sealed.append(minute.sealed())
        minute = OpenMinute.from_rows(part)
    return minute, sealed


@dataclass(frozen=True, slots=True)
class WritePosition:
    """The writer's position at the end of the store; never changed in place, so a failed write leaves the old one."""

    next_id: int = 1
    last_end_us: int = 0  # no row may end before: the last row's end, or the end of the last sealed minute
    sealed_id: int = 0  # the last operation in a sealed minute
    open_minute: OpenMinute | None = None
    clamped: int = 0  # rows whose end time was moved forward

    def after(self, columns: Columns) -> tuple[WritePosition, list[SealedSlot]]:
        """Return the position after rows that are in order, and the minutes that they finished."""
        if not columns.id.size:
            return self, []
        minute, sealed = add_to_minutes(self.open_minute, columns)
        position = WritePosition(
            next_id=int(columns.id[-1]) + 1,
            last_end_us=int(columns.end_us[-1]),
            sealed_id=sealed[-1].last_id if sealed else self.sealed_id,
            open_minute=minute,
            clamped=self.clamped,
        )
        return position, sealed

    def advance_to(self, now_us: int) -> tuple[WritePosition, list[SealedSlot]]:
        """Return the position when the clock shows ``now_us``, and the minute that ended by then."""
        if self.open_minute is None or self.open_minute.start_us + MINUTE_US > now_us:
            return self, []
        sealed = self.open_minute.sealed()
        last_end_us = max(self.last_end_us, sealed.end_us)
        return dataclasses.replace(self, open_minute=None, sealed_id=sealed.last_id, last_end_us=last_end_us), [sealed]


class PendingAppend:
    """Rows that are being written after a position; they count only when they are committed."""

    def __init__(self, position: WritePosition) -> None:
        self.position = position  # after the aggregated rows
        self.next_id = position.next_id  # after all rows
        self._last_end_us = position.last_end_us
        self._clamped = 0
        self._series: list[int] = []
        self._end_us: list[int] = []
        self._duration_us: list[int] = []
        self._outcome: list[int] = []

    def add(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Add rows (at least one); return them as they are to be written, with end times in order."""
        series, ends, durations, outcomes, _, _ = zip(*rows, strict=True)
        if ends[0] < self._last_end_us or list(ends) != sorted(ends):
            clamped_ends = list(itertools.islice(itertools.accumulate((self._last_end_us, *ends), max), 1, None))
            self._clamped += sum(map(operator.ne, clamped_ends, ends))
            rows = [(row[0], end, *row[2:]) for row, end in zip(rows, clamped_ends, strict=True)]
            ends = tuple(clamped_ends)
        self._series += series
        self._end_us += ends
        self._duration_us += durations
        self._outcome += outcomes
        self._last_end_us = ends[-1]
        self.next_id += len(rows)
        return rows

    @property
    def needs_aggregation(self) -> bool:
        """True if the waiting rows must be aggregated now, so that no aggregation holds the GIL too long."""
        return len(self._series) >= _UNAGGREGATED_ROWS

    def aggregate(self) -> list[SealedSlot]:
        """Move the position past the rows added so far; return the minutes that they finished.

        Raises:
            ValueError: an outcome or a series id is invalid.
        """
        if not self._series:
            return []
        columns = Columns(
            np.arange(self.position.next_id, self.next_id),
            *(np.array(column, np.int64) for column in (self._end_us, self._series, self._duration_us, self._outcome)),
        )
        _check(columns)
        position, sealed = self.position.after(columns)
        self.position = dataclasses.replace(position, clamped=position.clamped + self._clamped)
        self._clamped = 0
        for column in (self._end_us, self._series, self._duration_us, self._outcome):
            column.clear()
        return sealed

    def advance_to(self, now_us: int) -> list[SealedSlot]:
        """Aggregate, then advance the clock to ``now_us``; return the minutes that ended."""
        sealed = self.aggregate()
        self.position, last = self.position.advance_to(now_us)
        return [*sealed, *last]


def _check(columns: Columns) -> None:
    """Refuse rows that no later step could count, before anything is committed."""
    if columns.outcome.min() < 0 or columns.outcome.max() >= len(Outcome):
        raise ValueError(f"an outcome is 0 to {len(Outcome) - 1}, not {np.unique(columns.outcome).tolist()}")
    if columns.series.min() < 1:
        raise ValueError(f"a series id is one that series_ids() returned, not {int(columns.series.min())}")
