"""Finds single operations without an index: slots tell which stretches of ids can hold what is looked for."""

from __future__ import annotations

import heapq
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cogmeter_storage.model import Operation, Outcome, Tier
from cogmeter_storage.plan import plan
from cogmeter_storage.sqlite.rows import LONGEST_US, first_id_from, snapshot
from cogmeter_storage.sqlite.slots import extents, read_slots
from cogmeter_storage.sqlite.validity import LAST_US, sound
from cogmeter_storage.totals import Lookup

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator

    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.slot import Slot
    from cogmeter_storage.sqlite.damage import DamageLog

COLUMNS = "operation.id, series.service, series.operation, end_us, duration_us, outcome, error, metadata"
# CROSS JOIN keeps SQLite from starting at the series.
SOURCE = (
    "operation CROSS JOIN series ON series.id = operation.series"
    " WHERE operation.id BETWEEN ? AND ? AND operation.series IN (SELECT value FROM json_each(?))"
)
# An outcome is looked up as a bit: asked for by IN, SQLite would build a table of them for every stretch.
_NEWEST = (
    f"SELECT {COLUMNS} FROM {SOURCE} AND max(duration_us, 0) >= ? AND (1 << outcome) & ?"  # noqa: S608 - the constants above
    " ORDER BY operation.id DESC"
)
# A text is larger than any number to SQLite: a damaged row would come first.
_SLOWEST = (
    f"SELECT {COLUMNS} FROM {SOURCE} AND duration_us >= ? AND duration_us <= {LONGEST_US}"  # noqa: S608 - the constants above
    f" AND typeof(end_us) = 'integer' AND outcome BETWEEN 0 AND {len(Outcome) - 1} AND typeof(outcome) = 'integer'"
    " ORDER BY duration_us DESC, operation.id DESC LIMIT ?"
)


_OUTCOMES = {int(outcome): outcome for outcome in Outcome}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What kind of operations is looked for; as it is, every one."""

    outcomes: frozenset[int] = frozenset(Outcome)
    least_us: int = 0  # they took at least so long

    @property
    def bits(self) -> int:
        """The outcomes as the bits of a number."""
        return sum(1 << outcome for outcome in self.outcomes)

    def may_be_in(self, slot: Slot, lookup: Lookup) -> bool:
        """Whether the slot can hold one of the series that ``lookup`` knows."""
        fitting = (lookup(slot.series) >= 0) & (slot.max_us >= self.least_us)
        if not fitting.any():
            return False
        return bool(np.any(np.stack([slot.outcomes[outcome] for outcome in self.outcomes])[:, fitting]))


class _Candidate(NamedTuple):
    """A slot that may hold one of the slowest; sorted by the best that it can hold, the best first."""

    minus_max_us: int
    minus_last_id: int
    first_id: int
    tier: Tier
    start_us: int


class Search:
    """One question about single operations of some series, in a snapshot."""

    def __init__(
        self,
        raw: sqlite3.Connection,
        damage: DamageLog,
        series: Collection[int] | None,
        since_us: int,
        until_us: int,
        *,
        before_id: int | None = None,
    ) -> None:
        """``series`` None: all of them. With ``before_id``, those before it alone."""
        kept, self._sealed_id = extents(raw, damage)
        self._raw, self._damage = raw, damage
        series = known(raw) if series is None else series
        self._lookup = Lookup.of(series)
        self._series = json.dumps(sorted(series))
        self._first_id = first_id_from(raw, since_us)
        self._last_id = first_id_from(raw, until_us) - 1
        if before_id is not None and before_id <= self._last_id:
            self._last_id = before_id - 1
            until_us = _end_of(raw, before_id) + 1  # so that no slot is read that came before it
        self._pieces = plan(since_us, until_us, kept).pieces

    def newest(self, limit: int, wanted: Wanted) -> list[Operation]:
        """The latest ones, newest first."""
        found: list[Operation] = []
        for first_id, last_id in self._newest_first(wanted):
            rows = self._rows(_NEWEST, first_id, last_id, wanted.least_us, wanted.bits)
            found += itertools.islice(rows, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def slowest(self, limit: int) -> list[Operation]:
        """The slowest ones, slowest first; of equal ones the newest first.

        A slot's largest duration bounds what it can hold, so slots are opened in that order, and the search ends when
        the next bound is below the last one found.
        """
        best = list(self._rows(_SLOWEST, self._sealed_id + 1, self._last_id, 0, limit))
        candidates = [one for piece in self._pieces for one in self._bounds(piece.tier, piece.since_us, piece.until_us)]
        heapq.heapify(candidates)
        while candidates:
            bound = heapq.heappop(candidates)
            if len(best) >= limit and _rank(best[-1]) > (-bound.minus_max_us, -bound.minus_last_id):
                break
            finer = list(self._bounds(*_finer(bound.tier, bound.start_us)))
            for one in finer:
                heapq.heappush(candidates, one)
            if not finer:
                floor_us = best[-1].duration_us if len(best) >= limit else 0
                found = self._rows(_SLOWEST, bound.first_id, -bound.minus_last_id, floor_us, limit)
                best = heapq.nlargest(limit, [*best, *found], key=_rank)
        return best

    def _newest_first(self, wanted: Wanted) -> Iterator[tuple[int, int]]:
        """Stretches of ids that can hold what is looked for, newest first."""
        yield self._sealed_id + 1, self._last_id
        for piece in reversed(self._pieces):
            yield from self._stretches(wanted, piece.tier, piece.since_us, piece.until_us)

    def _stretches(self, wanted: Wanted, tier: Tier, since_us: int, until_us: int) -> Iterator[tuple[int, int]]:
        for one in self._slots(tier, since_us, until_us):
            if not wanted.may_be_in(one.slot, self._lookup):
                continue
            finer = self._stretches(wanted, *_finer(tier, one.start_us))
            first = next(finer, None)
            if first is None:
                yield one.first_id, one.last_id
            else:
                yield first
                yield from finer

    def _bounds(self, tier: Tier, since_us: int, until_us: int) -> Iterator[_Candidate]:
        """What the slots of this stretch of time can hold at best, those of the wanted series alone."""
        for one in self._slots(tier, since_us, until_us):
            longest = one.slot.max_us[self._lookup(one.slot.series) >= 0]
            if longest.size:
                yield _Candidate(-int(longest.max()), -one.last_id, one.first_id, tier, one.start_us)

    def _slots(self, tier: Tier, since_us: int, until_us: int) -> Iterator[SealedSlot]:
        """The slots of this stretch of time that hold operations of the range, newest first."""
        for one in read_slots(self._raw, self._damage, tier, since_us, until_us, newest_first=True):
            if one.first_id <= self._last_id and one.last_id >= self._first_id:
                yield one

    def _rows(self, statement: str, first_id: int, last_id: int, *rest: int) -> Iterator[Operation]:
        bounds = max(first_id, self._first_id), min(last_id, self._last_id)
        if bounds[0] <= bounds[1]:
            yield from operations_of(self._raw.execute(statement, (*bounds, self._series, *rest)), self._damage)


def newest(
    raw: sqlite3.Connection,
    damage: DamageLog,
    series: Collection[int] | None,
    since_us: int,
    until_us: int,
    *,
    wanted: Wanted,
    limit: int,
    before_id: int | None = None,
) -> list[Operation]:
    """See Store.page."""
    if limit <= 0 or not wanted.outcomes:
        return []
    with snapshot(raw):
        return Search(raw, damage, series, since_us, until_us, before_id=before_id).newest(limit, wanted)


def slowest(
    raw: sqlite3.Connection,
    damage: DamageLog,
    series: Collection[int],
    since_us: int,
    until_us: int,
    *,
    limit: int,
) -> list[Operation]:
    """See Store.slowest."""
    with snapshot(raw):
        return Search(raw, damage, series, since_us, until_us).slowest(limit) if limit > 0 else []


def known(raw: sqlite3.Connection) -> list[int]:
    """The ids of all series."""
    return [number for (number,) in raw.execute(f"SELECT id FROM series WHERE {sound('series')}")]  # noqa: S608 - names of our columns


def _end_of(raw: sqlite3.Connection, number: int) -> int:
    """When the operation with this id ended, or the next one that is kept; there is one."""
    find = "SELECT end_us FROM operation WHERE id >= ? AND typeof(end_us) = 'integer' ORDER BY id LIMIT 1"
    found = raw.execute(find, (number,)).fetchone()
    return LAST_US if found is None else int(found[0])


def _finer(tier: Tier, start_us: int) -> tuple[Tier, int, int]:
    """The tier below and the stretch of time of one slot; an empty one below minutes."""
    if tier is Tier.MINUTE:
        return tier, start_us, start_us
    return Tier(tier - 1), start_us, start_us + tier.width_us


def _rank(operation: Operation) -> tuple[int, int]:
    return operation.duration_us, operation.id


def operations_of(rows: Iterable[tuple[Any, ...]], damage: DamageLog) -> Iterator[Operation]:
    """Yield the records of rows of COLUMNS; damaged ones are left out."""
    for row in rows:
        number, service, operation, end_us, duration_us, outcome, error, metadata = row
        if type(end_us) is not int or type(duration_us) is not int or duration_us >= LONGEST_US:
            damage.row("operation", number, "an end time or a duration is impossible")
        elif outcome not in _OUTCOMES or not isinstance(service, str) or not isinstance(operation, str):
            damage.row("operation", number, "an outcome or a name is impossible")
        else:
            said = error if error is None or isinstance(error, str) else str(error)
            members = _metadata(metadata)
            yield Operation(number, service, operation, end_us, duration_us, _OUTCOMES[outcome], said, members)


def _metadata(text: Any) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        value = str(text)
    # Anything else than an object was not written by us; it is shown rather than lost.
    return value if isinstance(value, dict) else {"metadata": value}
