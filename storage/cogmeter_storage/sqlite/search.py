"""Finds single operations without an index: slots tell which stretches of ids can hold what is looked for."""

from __future__ import annotations

import heapq
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cogmeter_storage.model import FAILURES, Operation, Outcome, Tier
from cogmeter_storage.plan import plan
from cogmeter_storage.sqlite.rows import extents, first_id_from, read_slots, snapshot
from cogmeter_storage.totals import Lookup

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator

    from cogmeter_storage.rollup import SealedSlot

_COLUMNS = (
    "SELECT operation.id, series.service, series.operation, end_us, duration_us, outcome, error, metadata"
    # CROSS JOIN keeps SQLite from starting at the series.
    " FROM operation CROSS JOIN series ON series.id = operation.series"
    " WHERE operation.id BETWEEN ? AND ? AND operation.series IN (SELECT value FROM json_each(?))"
)
_NEWEST = f"{_COLUMNS} ORDER BY operation.id DESC LIMIT ?"
_NEWEST_FAILED = (
    f"{_COLUMNS} AND outcome IN ({', '.join(str(int(one)) for one in FAILURES)}) ORDER BY operation.id DESC LIMIT ?"
)
_SLOWEST = f"{_COLUMNS} AND duration_us >= ? ORDER BY duration_us DESC, operation.id DESC LIMIT ?"


class _Candidate(NamedTuple):
    """A slot that may hold one of the slowest; sorted by the best that it can hold, the best first."""

    minus_max_us: int
    minus_last_id: int
    first_id: int
    tier: Tier
    start_us: int


class Search:
    """One question about single operations of some series, in a snapshot."""

    def __init__(self, raw: sqlite3.Connection, series: Collection[int], since_us: int, until_us: int) -> None:
        kept, self._sealed_id = extents(raw)
        self._raw = raw
        self._lookup = Lookup.of(series)
        self._series = json.dumps(sorted(series))
        self._first_id = first_id_from(raw, since_us)
        self._last_id = first_id_from(raw, until_us) - 1
        self._pieces = plan(since_us, until_us, kept).pieces

    def newest(self, limit: int, *, failed: bool) -> list[Operation]:
        """The latest ones, newest first."""
        statement = _NEWEST_FAILED if failed else _NEWEST
        found: list[Operation] = []
        for first_id, last_id in self._newest_first(failed=failed):
            found += self._rows(statement, first_id, last_id, limit - len(found))
            if len(found) >= limit:
                break
        return found

    def slowest(self, limit: int) -> list[Operation]:
        """The slowest ones, slowest first; of equal ones the newest first.

        A slot's largest duration bounds what it can hold, so slots are opened in that order, and the search ends when
        the next bound is below the last one found.
        """
        best = self._rows(_SLOWEST, self._sealed_id + 1, self._last_id, 0, limit)
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

    def _newest_first(self, *, failed: bool) -> Iterator[tuple[int, int]]:
        """Stretches of ids that can hold what is looked for, newest first."""
        yield self._sealed_id + 1, self._last_id
        for piece in reversed(self._pieces):
            yield from self._stretches(piece.tier, piece.since_us, piece.until_us, failed=failed)

    def _stretches(self, tier: Tier, since_us: int, until_us: int, *, failed: bool) -> Iterator[tuple[int, int]]:
        for one in self._slots(tier, since_us, until_us):
            counts = [one.slot.outcomes[outcome] for outcome in FAILURES] if failed else [one.slot.sizes]
            if not np.any(np.stack(counts)[:, self._lookup(one.slot.series) >= 0]):
                continue
            finer = self._stretches(*_finer(tier, one.start_us), failed=failed)
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
        for one in read_slots(self._raw, tier, since_us, until_us, newest_first=True):
            if one.first_id <= self._last_id and one.last_id >= self._first_id:
                yield one

    def _rows(self, statement: str, first_id: int, last_id: int, *rest: int) -> list[Operation]:
        bounds = max(first_id, self._first_id), min(last_id, self._last_id)
        if bounds[0] > bounds[1]:
            return []
        return [_operation(row) for row in self._raw.execute(statement, (*bounds, self._series, *rest))]


def recent(
    raw: sqlite3.Connection, series: Collection[int], since_us: int, until_us: int, *, limit: int, failed: bool
) -> list[Operation]:
    """See Store.recent."""
    with snapshot(raw):
        return Search(raw, series, since_us, until_us).newest(limit, failed=failed) if limit > 0 else []


def slowest(
    raw: sqlite3.Connection, series: Collection[int], since_us: int, until_us: int, *, limit: int
) -> list[Operation]:
    """See Store.slowest."""
    with snapshot(raw):
        return Search(raw, series, since_us, until_us).slowest(limit) if limit > 0 else []


def _finer(tier: Tier, start_us: int) -> tuple[Tier, int, int]:
    """The tier below and the stretch of time of one slot; an empty one below minutes."""
    if tier is Tier.MINUTE:
        return tier, start_us, start_us
    return Tier(tier - 1), start_us, start_us + tier.width_us


def _rank(operation: Operation) -> tuple[int, int]:
    return operation.duration_us, operation.id


def _operation(row: tuple[Any, ...]) -> Operation:
    number, service, operation, end_us, duration_us, outcome, error, metadata = row
    return Operation(number, service, operation, end_us, duration_us, Outcome(outcome), error, _metadata(metadata))


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    # Anything else than an object was not written by us; it is shown rather than lost.
    return value if isinstance(value, dict) else {"metadata": value}
