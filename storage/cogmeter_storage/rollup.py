"""From rows to slots: the minute that is still filling, its sealing, and what the writer knows of the store's end."""

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

_PENDING_ROWS = 8192  # a minute keeps at most about this many raw rows in memory before it folds them
_PENDING_PARTS = 64
_UNSETTLED_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Columns:
    """Raw rows as columns of the same length, in the order of their ids and end times."""

    id: Int64Array
    end_us: Int64Array
    series: Int64Array
    duration_us: Int64Array
    outcome: Int64Array

    def part(self, start: int, stop: int) -> Columns:
        """The rows from position ``start`` up to ``stop``."""
        return Columns(*(getattr(self, name)[start:stop] for name in self.__slots__))

    def where(self, inside: NDArray[np.bool_]) -> Columns:
        """Return the rows for which ``inside`` is true."""
        return Columns(*(getattr(self, name)[inside] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class SealedSlot:
    """A finished slot, and the ids of the operations that it holds."""

    tier: Tier
    start_us: int
    first_id: int
    last_id: int
    slot: Slot

    @property
    def end_us(self) -> int:
        """When the slot ended."""
        return self.start_us + self.tier.width_us


def fold(slots: Sequence[SealedSlot], tier: Tier) -> SealedSlot:
    """One slot of a tier from finer ones of its stretch of time, or from itself and late finer ones."""
    return SealedSlot(
        tier=tier,
        start_us=slots[0].start_us // tier.width_us * tier.width_us,
        first_id=min(slot.first_id for slot in slots),
        last_id=max(slot.last_id for slot in slots),
        slot=merge([slot.slot for slot in slots]),
    )


@dataclass(frozen=True, slots=True)
class OpenMinute:
    """The minute that is still filling. Never changed in place, so that a reader may keep the one it has."""

    start_us: int
    first_id: int
    last_id: int
    settled: tuple[Slot, ...]  # none or one
    pending: tuple[Columns, ...]

    @classmethod
    def of(cls, rows: Columns) -> OpenMinute:
        """The minute of these rows, which all end in it."""
        start_us = int(rows.end_us[0]) // MINUTE_US * MINUTE_US
        return cls(start_us, int(rows.id[0]), int(rows.id[-1]), (), (rows,))

    def with_rows(self, rows: Columns) -> OpenMinute:
        """The same minute with rows behind those it has."""
        pending = (*self.pending, rows)
        grown = dataclasses.replace(self, last_id=int(rows.id[-1]), pending=pending)
        if len(pending) < _PENDING_PARTS and sum(part.id.size for part in pending) < _PENDING_ROWS:
            return grown
        return dataclasses.replace(grown, settled=(grown.slot(),), pending=())

    def slot(self) -> Slot:
        """The aggregates so far."""
        return merge([*self.settled, *_summaries(self.pending)])

    def sealed(self) -> SealedSlot:
        """The finished slot of the minute."""
        return SealedSlot(Tier.MINUTE, self.start_us, self.first_id, self.last_id, self.slot())


def _summaries(parts: Sequence[Columns]) -> list[Slot]:
    if not parts:
        return []
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("series", "duration_us", "outcome"))
    return [summarise(*columns)]


def extend(minute: OpenMinute | None, rows: Columns) -> tuple[OpenMinute | None, list[SealedSlot]]:
    """The open minute after these rows, and the minutes that they finished."""
    if not rows.id.size:
        return minute, []
    sealed: list[SealedSlot] = []
    minutes = rows.end_us // MINUTE_US
    borders = [0, *(np.flatnonzero(np.diff(minutes)) + 1).tolist(), minutes.size]
    for start, stop in itertools.pairwise(borders):
        part = rows.part(start, stop)
        if minute is not None and minute.start_us == int(minutes[start]) * MINUTE_US:
            minute = minute.with_rows(part)
            continue
        if minute is not None:
            sealed.append(minute.sealed())
        minute = OpenMinute.of(part)
    return minute, sealed


@dataclass(frozen=True, slots=True)
class Head:
    """What the writer knows of the end of the store. Never changed in place: a failed write leaves the old one."""

    next_id: int = 1
    last_end_us: int = 0  # no row may end before: the last row's end, or the end of the last sealed minute
    sealed_id: int = 0  # the last operation that a sealed minute holds
    open: OpenMinute | None = None
    clamped: int = 0  # rows whose end time was moved forward

    def follow(self, columns: Columns) -> tuple[Head, list[SealedSlot]]:
        """The head behind rows that are in order, and the minutes that they finished."""
        if not columns.id.size:
            return self, []
        minute, sealed = extend(self.open, columns)
        head = Head(
            next_id=int(columns.id[-1]) + 1,
            last_end_us=int(columns.end_us[-1]),
            sealed_id=sealed[-1].last_id if sealed else self.sealed_id,
            open=minute,
            clamped=self.clamped,
        )
        return head, sealed

    def passed(self, now_us: int) -> tuple[Head, list[SealedSlot]]:
        """The head when the clock shows ``now_us``, and the minute that ended by then."""
        if self.open is None or self.open.start_us + MINUTE_US > now_us:
            return self, []
        sealed = self.open.sealed()
        last_end_us = max(self.last_end_us, sealed.end_us)
        return dataclasses.replace(self, open=None, sealed_id=sealed.last_id, last_end_us=last_end_us), [sealed]


class Draft:
    """Rows on their way into the store, behind a head; nothing of it counts until they are committed."""

    def __init__(self, head: Head) -> None:
        self.head = head  # behind the rows that have been settled
        self.next_id = head.next_id  # behind all rows
        self._last_end_us = head.last_end_us
        self._clamped = 0
        self._series: list[int] = []
        self._end_us: list[int] = []
        self._duration_us: list[int] = []
        self._outcome: list[int] = []

    def add(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Take rows (at least one); returns them as they are to be written, none before the one before it."""
        series, ends, durations, outcomes, _, _ = zip(*rows, strict=True)
        if ends[0] < self._last_end_us or list(ends) != sorted(ends):
            floors = list(itertools.islice(itertools.accumulate((self._last_end_us, *ends), max), 1, None))
            self._clamped += sum(map(operator.ne, floors, ends))
            rows = [(row[0], end, *row[2:]) for row, end in zip(rows, floors, strict=True)]
            ends = tuple(floors)
        self._series += series
        self._end_us += ends
        self._duration_us += durations
        self._outcome += outcomes
        self._last_end_us = ends[-1]
        self.next_id += len(rows)
        return rows

    @property
    def full(self) -> bool:
        """Whether so many rows wait that settling them all would hold the interpreter's lock too long."""
        return len(self._series) >= _UNSETTLED_ROWS

    def settle(self) -> list[SealedSlot]:
        """Bring the head behind the rows taken so far; returns the minutes that they finished.

        Raises:
            ValueError: an outcome or a series id cannot be.
        """
        if not self._series:
            return []
        columns = Columns(
            np.arange(self.head.next_id, self.next_id),
            *(np.array(one, np.int64) for one in (self._end_us, self._series, self._duration_us, self._outcome)),
        )
        _check(columns)
        head, sealed = self.head.follow(columns)
        self.head = dataclasses.replace(head, clamped=head.clamped + self._clamped)
        self._clamped = 0
        for one in (self._end_us, self._series, self._duration_us, self._outcome):
            one.clear()
        return sealed

    def passed(self, now_us: int) -> list[SealedSlot]:
        """Settle, then let the clock show ``now_us``; returns the minutes that ended."""
        sealed = self.settle()
        self.head, last = self.head.passed(now_us)
        return [*sealed, *last]


def _check(columns: Columns) -> None:
    """Refuse what no later step could count, before anything is committed."""
    if columns.outcome.min() < 0 or columns.outcome.max() >= len(Outcome):
        raise ValueError(f"an outcome is 0 to {len(Outcome) - 1}, not {np.unique(columns.outcome).tolist()}")
    if columns.series.min() < 1:
        raise ValueError(f"a series id is what series_ids() gave, not {int(columns.series.min())}")
