"""Finds and streams single operations without an index: slots show which ranges of ids can contain a match."""

from __future__ import annotations

import heapq
import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cogmeter_storage.model import LAST_US, LONGEST_US, OperationRecord, Outcome, Tier
from cogmeter_storage.operations import OperationFilter, parse_metadata
from cogmeter_storage.plan import plan
from cogmeter_storage.sqlite.connection import snapshot
from cogmeter_storage.sqlite.damage import sound_rows
from cogmeter_storage.sqlite.operation_rows import first_id_from
from cogmeter_storage.sqlite.slots import extents, read_slots
from cogmeter_storage.totals import Lookup

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator

    from cogmeter_storage.rollup import SealedSlot
    from cogmeter_storage.sqlite.connection import Connection
    from cogmeter_storage.sqlite.damage import DamageLog

COLUMNS = "operation.id, series.service, series.operation, end_us, duration_us, outcome, error, metadata"
# CROSS JOIN prevents SQLite from starting at the series.
SOURCE = (
    "operation CROSS JOIN series ON series.id = operation.series"
    " WHERE operation.id BETWEEN ? AND ? AND operation.series IN (SELECT value FROM json_each(?))"
)
# Outcomes are tested as bits: for IN, SQLite would build a table for every range of ids.
_NEWEST = (
    f"SELECT {COLUMNS} FROM {SOURCE} AND max(duration_us, 0) >= ? AND (1 << outcome) & ?"  # noqa: S608 - the constants above
    " ORDER BY operation.id DESC"
)
# In SQLite a text is larger than any number, so a damaged row would come first.
_SLOWEST = (
    f"SELECT {COLUMNS} FROM {SOURCE} AND duration_us >= ? AND duration_us <= {LONGEST_US}"  # noqa: S608 - the constants above
    f" AND typeof(end_us) = 'integer' AND outcome BETWEEN 0 AND {len(Outcome) - 1} AND typeof(outcome) = 'integer'"
    " ORDER BY duration_us DESC, operation.id DESC LIMIT ?"
)
_OUTCOMES = {int(outcome): outcome for outcome in Outcome}
_SCANNED_ROWS = 20_000  # read by one query at most: a few milliseconds, even for a rare series
_NEXT = f"SELECT {COLUMNS} FROM {SOURCE} ORDER BY operation.id LIMIT ?"  # noqa: S608 - the constants above


class _Candidate(NamedTuple):
    """A slot that may contain one of the slowest operations; sorts by its largest duration, longest first."""

    minus_max_us: int
    minus_last_id: int
    first_id: int
    tier: Tier
    start_us: int


class OperationSearch:
    """One query for single operations of some series, in a snapshot."""

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
        """``series`` None: all of them. With ``before_id``, only operations before it."""
        stored, self._sealed_id = extents(raw, damage)
        self._raw, self._damage = raw, damage
        series = all_series_ids(raw) if series is None else series
        self._lookup = Lookup.of_ids(series)
        self._series = json.dumps(sorted(series))
        self._first_id = first_id_from(raw, since_us)
        self._last_id = first_id_from(raw, until_us) - 1
        if before_id is not None and before_id <= self._last_id:
            self._last_id = before_id - 1
            until_us = _end_us_from(raw, before_id) + 1  # so that no later slot is read
        self._pieces = plan(since_us, until_us, stored).pieces

    def newest(self, limit: int, matching: OperationFilter) -> list[OperationRecord]:
        """Return the latest matches, newest first."""
        matches: list[OperationRecord] = []
        for first_id, last_id in self._ranges_newest_first(matching):
            rows = self._rows(_NEWEST, first_id, last_id, matching.min_duration_us, matching.bits)
            matches += itertools.islice(rows, limit - len(matches))
            if len(matches) >= limit:
                break
        return matches

    def slowest(self, limit: int) -> list[OperationRecord]:
        """Return the slowest ones, slowest first; of equal ones the newest first.

        A slot's largest duration is an upper bound for its operations. Slots are opened in that order, and the search
        ends when the next bound is below the last match.
        """
        best = list(self._rows(_SLOWEST, self._sealed_id + 1, self._last_id, 0, limit))
        candidates = [
            candidate
            for piece in self._pieces
            for candidate in self._candidates(piece.tier, piece.since_us, piece.until_us)
        ]
        heapq.heapify(candidates)
        while candidates:
            bound = heapq.heappop(candidates)
            if len(best) >= limit and _rank(best[-1]) > (-bound.minus_max_us, -bound.minus_last_id):
                break
            finer = list(self._candidates(*_finer_range(bound.tier, bound.start_us)))
            for candidate in finer:
                heapq.heappush(candidates, candidate)
            if not finer:
                floor_us = best[-1].duration_us if len(best) >= limit else 0
                operations = self._rows(_SLOWEST, bound.first_id, -bound.minus_last_id, floor_us, limit)
                best = heapq.nlargest(limit, [*best, *operations], key=_rank)
        return best

    def _ranges_newest_first(self, matching: OperationFilter) -> Iterator[tuple[int, int]]:
        """Yield the ranges of ids that can contain a match, newest first."""
        yield self._sealed_id + 1, self._last_id
        for piece in reversed(self._pieces):
            yield from self._id_ranges(matching, piece.tier, piece.since_us, piece.until_us)

    def _id_ranges(
        self, matching: OperationFilter, tier: Tier, since_us: int, until_us: int
    ) -> Iterator[tuple[int, int]]:
        for sealed in self._slots(tier, since_us, until_us):
            if not matching.may_be_in(sealed.slot, self._lookup):
                continue
            finer = self._id_ranges(matching, *_finer_range(tier, sealed.start_us))
            first = next(finer, None)
            if first is None:
                yield sealed.first_id, sealed.last_id
            else:
                yield first
                yield from finer

    def _candidates(self, tier: Tier, since_us: int, until_us: int) -> Iterator[_Candidate]:
        """Yield the slots of this time range that contain the series, with their largest durations."""
        for sealed in self._slots(tier, since_us, until_us):
            longest = sealed.slot.max_us[self._lookup(sealed.slot.series) >= 0]
            if longest.size:
                yield _Candidate(-int(longest.max()), -sealed.last_id, sealed.first_id, tier, sealed.start_us)

    def _slots(self, tier: Tier, since_us: int, until_us: int) -> Iterator[SealedSlot]:
        """Yield the slots of this time range that contain operations of the searched ids, newest first."""
        for sealed in read_slots(self._raw, self._damage, tier, since_us, until_us, newest_first=True):
            if sealed.first_id <= self._last_id and sealed.last_id >= self._first_id:
                yield sealed

    def _rows(self, statement: str, first_id: int, last_id: int, *rest: int) -> Iterator[OperationRecord]:
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
    matching: OperationFilter,
    limit: int,
    before_id: int | None = None,
) -> list[OperationRecord]:
    """Implement Store.page."""
    if limit <= 0 or not matching.outcomes:
        return []
    with snapshot(raw):
        return OperationSearch(raw, damage, series, since_us, until_us, before_id=before_id).newest(limit, matching)


def slowest(
    raw: sqlite3.Connection,
    damage: DamageLog,
    series: Collection[int],
    since_us: int,
    until_us: int,
    *,
    limit: int,
) -> list[OperationRecord]:
    """Implement Store.slowest."""
    with snapshot(raw):
        return OperationSearch(raw, damage, series, since_us, until_us).slowest(limit) if limit > 0 else []


def all_series_ids(raw: sqlite3.Connection) -> list[int]:
    """Return the ids of all series."""
    return [number for (number,) in raw.execute(f"SELECT id FROM series WHERE {sound_rows('series')}")]  # noqa: S608 - names of our columns


def _end_us_from(raw: sqlite3.Connection, number: int) -> int:
    """Return the end time of the first operation from this id on."""
    find = "SELECT end_us FROM operation WHERE id >= ? AND typeof(end_us) = 'integer' ORDER BY id LIMIT 1"
    row = raw.execute(find, (number,)).fetchone()
    return LAST_US if row is None else int(row[0])


def _finer_range(tier: Tier, start_us: int) -> tuple[Tier, int, int]:
    """Return the tier below and the time range of one slot; an empty range below minutes."""
    if tier is Tier.MINUTE:
        return tier, start_us, start_us
    return Tier(tier - 1), start_us, start_us + tier.width_us


def _rank(operation: OperationRecord) -> tuple[int, int]:
    return operation.duration_us, operation.id


def operations_of(rows: Iterable[tuple[Any, ...]], damage: DamageLog) -> Iterator[OperationRecord]:
    """Yield the records of rows of COLUMNS, without damaged ones."""
    for row in rows:
        number, service, operation, end_us, duration_us, outcome, error, metadata = row
        if type(end_us) is not int or type(duration_us) is not int or duration_us >= LONGEST_US:
            damage.note_row("operation", number, "an end time or a duration is impossible")
        elif outcome not in _OUTCOMES or not isinstance(service, str) or not isinstance(operation, str):
            damage.note_row("operation", number, "an outcome or a name is impossible")
        else:
            error_text = error if error is None or isinstance(error, str) else str(error)
            metadata_fields = parse_metadata(metadata)
            yield OperationRecord(
                number, service, operation, end_us, duration_us, _OUTCOMES[outcome], error_text, metadata_fields
            )


class _StreamCursor(NamedTuple):
    """The remaining part of a stream: ids from ``next_id`` to ``last_id`` of the series in a JSON list."""

    next_id: int
    last_id: int
    series: str


async def stream(
    reading: Connection,
    damage: DamageLog,
    series: Collection[int] | None,
    since_us: int,
    until_us: int,
    *,
    rows: int,
) -> AsyncIterator[list[OperationRecord]]:
    """Implement Store.stream."""
    if rows < 1:
        raise ValueError(f"rows is at least 1, not {rows}")
    if series is not None and not series:
        return  # no query needed
    cursor = await reading.run(_start_cursor, None if series is None else tuple(series), since_us, until_us)
    while cursor.next_id <= cursor.last_id:
        chunk, cursor = await reading.run(_read_chunk, damage, cursor, rows)
        if chunk:
            yield chunk


def _start_cursor(
    raw: sqlite3.Connection, series: Collection[int] | None, since_us: int, until_us: int
) -> _StreamCursor:
    with snapshot(raw):
        ids = all_series_ids(raw) if series is None else series
        return _StreamCursor(first_id_from(raw, since_us), first_id_from(raw, until_us) - 1, json.dumps(sorted(ids)))


def _read_chunk(
    raw: sqlite3.Connection, damage: DamageLog, cursor: _StreamCursor, rows: int
) -> tuple[list[OperationRecord], _StreamCursor]:
    """Return the next rows and the cursor after them; one statement, so one read transaction."""
    last_id = min(cursor.last_id, cursor.next_id + _SCANNED_ROWS - 1)
    chunk = raw.execute(_NEXT, (cursor.next_id, last_id, cursor.series, rows)).fetchall()
    next_id = chunk[-1][0] + 1 if len(chunk) == rows else last_id + 1
    return list(operations_of(chunk, damage)), cursor._replace(next_id=next_id)
