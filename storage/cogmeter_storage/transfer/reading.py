"""Reads a store in the form that every engine can be given: one sequence of ids, one slot for each time of a tier.

A slot that counts in finer ones only (a late minute, or an hour of one process whose folding waits) is put into the
coarser slots that must have it: on SQLite, a coarser slot has everything of its time, and none is missing before the
last one.
"""

from __future__ import annotations

import bisect
import itertools
from abc import ABC, abstractmethod
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter_storage.model import DAY_US, LAST_US, Tier
from cogmeter_storage.plan import floor_us
from cogmeter_storage.rollup import SealedSlot, fold
from cogmeter_storage.transfer.survey import Survey, sum_operations, tier_name
from cogmeter_storage.transfer.tables import TABLES, count_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter_storage.sql.session import Session
    from cogmeter_storage.transfer.tables import TransferTable

OPERATION_COLUMNS: Final = "id, end_us, series, duration_us, outcome, error, metadata"
_WINDOW_US: Final = {Tier.MINUTE: DAY_US, Tier.HOUR: 30 * DAY_US, Tier.DAY: 400 * DAY_US}  # of slots in memory
_NO_STARTS: Final[frozenset[int]] = frozenset()


class OperationChunk(NamedTuple):
    """Rows of OPERATION_COLUMNS in order of their ids, and the place after them, as JSON can store it."""

    rows: list[tuple[Any, ...]]
    after: list[int] | None


class Clocks(NamedTuple):
    """Facts that only the writer of a store knows."""

    clamped: int  # operations whose end times were moved forward
    last_write_us: int | None


class TransferReader(ABC):
    """One store during a transfer, in one read transaction."""

    def __init__(self, session: Session, name: str) -> None:
        """``name`` is the store in messages, without a password."""
        self.session = session
        self.name = name

    @cached_property
    def starts(self) -> dict[Tier, list[int]]:
        """The times that get a slot of each tier, in order."""
        return whole_starts(self.stored_starts())

    @cached_property
    def counts(self) -> dict[Tier, dict[int, int]]:
        """The number of operations in each slot, by tier and time."""
        return {tier: {slot.start_us: operations_in(slot) for slot in whole_slots(self, tier)} for tier in Tier}

    def survey(self) -> tuple[Survey, int]:
        """Return counts and sums, and the number of damaged rows and slots, which are not copied."""
        tables, damaged = {}, 0
        for table in TABLES:
            tables[table.name], unsound = count_rows(self.session, table)
            damaged += unsound
        slots = {tier_name(tier): [len(self.counts[tier]), sum(self.counts[tier].values())] for tier in Tier}
        return Survey(tables, sum_operations(self.session), slots), damaged + self.lost_slots()

    @abstractmethod
    def rows(self, table: TransferTable, after: Sequence[Any] | None, limit: int) -> list[tuple[Any, ...]]:
        """Return the next rows of a table after a key."""

    @abstractmethod
    def operations(self, after: list[int] | None, limit: int) -> OperationChunk:
        """Return the next operations after a place."""

    @abstractmethod
    def stored_starts(self) -> Mapping[Tier, frozenset[int]]:
        """Return the times that have a slot of each tier."""

    @abstractmethod
    def parts(self, tier: Tier, since_us: int, until_us: int) -> Iterator[SealedSlot]:
        """Yield slots of this tier and finer ones that together count each operation once, in order of time."""

    @abstractmethod
    def lost_slots(self) -> int:
        """Return how many slots could not be read so far."""

    @abstractmethod
    def numbered(self, slot: SealedSlot) -> SealedSlot:
        """Return a slot with the ids of its operations in the sequence of ``operations``."""

    @abstractmethod
    def last_ids(self) -> dict[str, int]:
        """Return the last id that each of NUMBERED has ever given, where it is known."""

    @abstractmethod
    def clocks(self) -> Clocks:
        """Return what the writer knows."""


def whole_starts(stored: Mapping[Tier, frozenset[int]]) -> dict[Tier, list[int]]:
    """Return the times that get a slot of each tier, in order."""
    minutes, hours, days = (stored.get(tier, _NO_STARTS) for tier in Tier)
    last_day, last_hour = max(days, default=-LAST_US), max(hours, default=-LAST_US)
    all_days = days | {day for at_us in minutes | hours if (day := floor_us(at_us, DAY_US)) < last_day}
    all_hours = set(hours)
    for at_us in minutes:
        hour_us = floor_us(at_us, Tier.HOUR.width_us)
        if hour_us < last_hour or floor_us(at_us, DAY_US) in all_days:
            all_hours.add(hour_us)
    return {Tier.MINUTE: sorted(minutes), Tier.HOUR: sorted(all_hours), Tier.DAY: sorted(all_days)}


def whole_slots(reader: TransferReader, tier: Tier, *, after_us: int = -LAST_US) -> Iterator[SealedSlot]:
    """Yield the slots of a tier that start after a time, in order; leave out those that cannot be read."""
    starts = reader.starts[tier]
    starts = starts[bisect.bisect_right(starts, after_us) :]
    for _, window in itertools.groupby(starts, key=lambda start_us: floor_us(start_us, _WINDOW_US[tier])):
        wanted = list(window)
        parts = reader.parts(tier, wanted[0], wanted[-1] + tier.width_us)
        known = set(wanted)
        for start_us, same in itertools.groupby(parts, key=lambda part: floor_us(part.start_us, tier.width_us)):
            if start_us in known:
                yield fold(list(same), tier)


def operations_in(slot: SealedSlot) -> int:
    """Return the number of operations that a slot counts."""
    return int(slot.slot.counts.sum(dtype="i8"))


class Numbering:
    """Gives operations of many processes one sequence of ids, in order of end time.

    Operations that were removed have ids, too: as many as their slots count. So an id is the place of an operation
    among all that were ever recorded, and the ids of a slot span as many as it counts.
    """

    def __init__(self, counts: Mapping[Tier, Mapping[int, int]], stored: Mapping[int, int]) -> None:
        """``counts`` are those of TransferReader, ``stored`` the number of stored operations by minute."""
        minutes = {
            start_us: max(counts[Tier.MINUTE].get(start_us, 0), stored.get(start_us, 0))
            for start_us in {*counts[Tier.MINUTE], *stored}
        }
        self._sizes: dict[Tier, dict[int, int]] = {Tier.MINUTE: minutes}
        entries = list(minutes.items())
        finer = minutes
        for tier in (Tier.HOUR, Tier.DAY):
            inside: dict[int, int] = defaultdict(int)
            for start_us, size in finer.items():
                inside[floor_us(start_us, tier.width_us)] += size
            # The finer slots that are gone were the first ones of their time.
            gone = {start_us: count - inside[start_us] for start_us, count in counts[tier].items()}
            entries += [(start_us, size) for start_us, size in gone.items() if size > 0]
            sizes = {start_us: inside[start_us] + max(size, 0) for start_us, size in gone.items()}
            self._sizes[tier] = sizes
            finer = {**inside, **sizes}
        entries.sort()
        self._times = [start_us for start_us, _ in entries]
        self._before = [0, *itertools.accumulate(size for _, size in entries)]

    def ids(self, tier: Tier, start_us: int) -> tuple[int, int]:
        """Return the ids of the first and the last operation of a slot."""
        last = self._before[bisect.bisect_left(self._times, start_us + tier.width_us)]
        return last - self._sizes[tier].get(start_us, 0) + 1, last
