"""Finds and streams single operations. Slots show which minutes can contain a match, and only those are read."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter_storage.model import LAST_US, MINUTE_US, OperationRecord, Outcome, Tier
from cogmeter_storage.operations import OperationFilter, parse_metadata
from cogmeter_storage.plan import Piece, plan
from cogmeter_storage.postgres.reader import runs_of
from cogmeter_storage.postgres.slots import SEQUENCE_BITS, extents, read_slots
from cogmeter_storage.totals import Lookup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping

    from cogmeter_storage.postgres.connection import PostgresConnection
    from cogmeter_storage.postgres.damage import PostgresDamage
    from cogmeter_storage.postgres.session import PostgresSession

_COLUMNS: Final = "operation.id, series.service, series.operation, end_us, duration_us, outcome, error, metadata"
_FROM: Final = f"SELECT {_COLUMNS} FROM operation JOIN series ON series.id = operation.series WHERE"  # noqa: S608 - the text above
_OUTCOMES: Final = {int(outcome): outcome for outcome in Outcome}


class _TimeBound(NamedTuple):
    """A time that may contain one of the slowest operations; sorts by its largest duration, longest first."""

    minus_max_us: int
    minus_start_us: int
    tier: Tier


class MinuteSearch:
    """One query for single operations of some series, in a snapshot."""

    def __init__(
        self,
        session: PostgresSession,
        damage: PostgresDamage,
        series: Collection[int] | None,
        since_us: int,
        until_us: int,
        *,
        before_id: int | None = None,
        only: str | None = None,
    ) -> None:
        """``series`` and ``only`` (a process) None: all. With ``before_id``, only what comes after it in a list."""
        self._session, self._damage, self._runs = session, damage, runs_of(session, only)
        self._since_us, self._until_us = since_us, until_us
        self._before: tuple[int, int] | None = None
        if before_id is not None:
            end_us = _end_us_of(session, before_id)
            self._before = end_us, before_id
            self._until_us = min(until_us, end_us + 1)
        if series is None:
            series = [number for (number,) in session.execute("SELECT id FROM series")]
        self._series = list(series)
        self._lookup = Lookup.of_ids(series)
        self._pieces = plan(since_us, max(self._until_us, since_us), extents(session)).pieces

    def newest(self, limit: int, matching: OperationFilter) -> list[OperationRecord]:
        """Return the latest matches, newest first."""
        found: list[OperationRecord] = []
        for since_us, until_us in self._ranges(self._pieces, matching):
            found += self._rows(
                since_us, until_us, "end_us DESC, operation.id DESC", limit - len(found), matching=matching
            )
            if len(found) >= limit:
                break
        return found

    def slowest(self, limit: int) -> list[OperationRecord]:
        """Return the slowest ones, slowest first; of equal ones the newest first.

        A slot's largest duration is an upper bound for its operations. Slots are opened in that order, and the search
        ends when the next bound is below the last match.
        """
        best: list[OperationRecord] = []
        candidates = [candidate for piece in self._pieces for candidate in self._candidates(piece)]
        heapq.heapify(candidates)
        while candidates:
            bound = heapq.heappop(candidates)
            if len(best) >= limit and best[-1].duration_us > -bound.minus_max_us:
                break
            piece = _finer(Piece(bound.tier, -bound.minus_start_us, -bound.minus_start_us + bound.tier.width_us))
            if piece is not None:
                for candidate in self._candidates(piece):
                    heapq.heappush(candidates, candidate)
                continue
            start_us = -bound.minus_start_us
            floor_us = best[-1].duration_us if len(best) >= limit else 0
            rows = self._rows(
                start_us,
                start_us + MINUTE_US,
                "duration_us DESC, end_us DESC, operation.id DESC",
                limit,
                matching=OperationFilter(min_duration_us=floor_us),
            )
            best = heapq.nlargest(limit, [*best, *rows], key=lambda one: (one.duration_us, one.end_us, one.id))
        return best

    def _ranges(self, pieces: Iterable[Piece], matching: OperationFilter) -> Iterator[tuple[int, int]]:
        """Yield the minutes that can contain a match, newest first."""
        for piece in reversed(tuple(pieces)):
            starts_us = {
                slot.start_us // piece.tier.width_us * piece.tier.width_us
                for slot in self._slots(piece)
                if matching.may_be_in(slot.slot, self._lookup)
            }
            for start_us in sorted(starts_us, reverse=True):
                end_us = start_us + piece.tier.width_us
                finer = _finer(Piece(piece.tier, start_us, end_us))
                if finer is None:
                    yield start_us, end_us
                else:
                    yield from self._ranges([finer], matching)

    def _candidates(self, piece: Piece) -> Iterator[_TimeBound]:
        """Yield the times of a piece that contain the series, with their largest durations."""
        longest_us: dict[int, int] = {}
        for sealed in self._slots(piece):
            longest = sealed.slot.max_us[self._lookup(sealed.slot.series) >= 0]
            if longest.size:
                start_us = sealed.start_us // piece.tier.width_us * piece.tier.width_us
                longest_us[start_us] = max(longest_us.get(start_us, 0), int(longest.max()))
        for start_us, max_us in longest_us.items():
            yield _TimeBound(-max_us, -start_us, piece.tier)

    def _slots(self, piece: Piece) -> Iterator[Any]:
        return read_slots(self._session, self._damage, piece.tier, piece.since_us, piece.until_us, runs=self._runs)

    def _rows(
        self, since_us: int, until_us: int, order: str, limit: int, *, matching: OperationFilter
    ) -> list[OperationRecord]:
        conditions = "end_us >= ? AND end_us < ? AND operation.series = ANY(?) AND outcome = ANY(?)"
        values: list[Any] = [max(since_us, self._since_us), min(until_us, self._until_us), self._series]
        values.append(sorted(matching.outcomes))
        if matching.min_duration_us > 0:
            conditions += " AND duration_us >= ?"
            values.append(matching.min_duration_us)
        if self._before is not None:
            conditions += " AND (end_us, operation.id) < (?, ?)"
            values += self._before
        if self._runs is not None:
            conditions += f" AND operation.id >> {SEQUENCE_BITS} = ANY(?)"
            values.append(list(self._runs))
        rows = self._session.execute(f"{_FROM} {conditions} ORDER BY {order} LIMIT ?", (*values, limit))
        return [_operation(row) for row in rows]


def newest(
    session: PostgresSession,
    damage: PostgresDamage,
    series: Collection[int] | None,
    since_us: int,
    until_us: int,
    *,
    matching: OperationFilter,
    limit: int,
    before_id: int | None = None,
    only: str | None = None,
) -> list[OperationRecord]:
    """Implement Store.page."""
    if limit <= 0 or not matching.outcomes:
        return []
    with session.snapshot():
        search = MinuteSearch(session, damage, series, since_us, until_us, before_id=before_id, only=only)
        return search.newest(limit, matching)


def slowest(
    session: PostgresSession,
    damage: PostgresDamage,
    series: Collection[int],
    since_us: int,
    until_us: int,
    *,
    limit: int,
    only: str | None = None,
) -> list[OperationRecord]:
    """Implement Store.slowest."""
    if limit <= 0:
        return []
    with session.snapshot():
        return MinuteSearch(session, damage, series, since_us, until_us, only=only).slowest(limit)


class _StreamPlace(NamedTuple):
    """The place of a stream: after an operation, and the next number of each run when the stream began."""

    end_us: int
    id: int
    next_ids: Mapping[int, int]


async def stream(
    reading: PostgresConnection,
    series: Collection[int] | None,
    since_us: int,
    until_us: int,
    *,
    rows: int,
    only: str | None = None,
) -> AsyncIterator[list[OperationRecord]]:
    """Implement Store.stream."""
    if rows < 1:
        raise ValueError(f"rows is at least 1, not {rows}")
    if series is not None and not series:
        return
    chosen = None if series is None else list(series)
    cursor = _StreamPlace(since_us, -1, await reading.run(_next_ids, only))
    more = True
    while more:
        chunk, cursor, more = await reading.run(_read_chunk, chosen, cursor, until_us, rows)
        if chunk:
            yield chunk


def _next_ids(session: PostgresSession, only: str | None) -> dict[int, int]:
    runs = runs_of(session, only)
    rows = session.execute("SELECT id, next_id FROM run WHERE ? OR id = ANY(?)", (runs is None, runs or []))
    return dict(rows)


def _read_chunk(
    session: PostgresSession, series: list[int] | None, cursor: _StreamPlace, until_us: int, limit: int
) -> tuple[list[OperationRecord], _StreamPlace, bool]:
    """Return the next operations, the cursor after them, and whether there may be more."""
    conditions = "end_us >= ? AND end_us < ? AND (end_us, operation.id) > (?, ?)"
    values: list[Any] = [cursor.end_us, until_us, cursor.end_us, cursor.id]
    if series is not None:
        conditions += " AND operation.series = ANY(?)"
        values.append(series)
    found = session.execute(f"{_FROM} {conditions} ORDER BY end_us, operation.id LIMIT ?", (*values, limit)).fetchall()
    if not found:
        return [], cursor, False
    cursor = cursor._replace(end_us=found[-1][3], id=found[-1][0])
    known = [row for row in found if row[0] < cursor.next_ids.get(row[0] >> SEQUENCE_BITS, 0)]
    return [_operation(row) for row in known], cursor, len(found) == limit


def _end_us_of(session: PostgresSession, number: int) -> int:
    """Return the end time of an operation; that of its minute, or the last one before, if it is not stored."""
    row = session.execute(
        "SELECT start_us FROM slot WHERE run BETWEEN 1 AND ? AND tier = 0 AND first_id <= ?"
        " ORDER BY run DESC, start_us DESC LIMIT 1",
        (number >> SEQUENCE_BITS, number),
    ).fetchone()
    if row is None:
        return -LAST_US
    found = session.execute(
        "SELECT end_us FROM operation WHERE end_us >= ? AND end_us < ? AND id BETWEEN ? AND ?"
        " ORDER BY end_us DESC, id DESC LIMIT 1",
        (row[0], row[0] + MINUTE_US, number >> SEQUENCE_BITS << SEQUENCE_BITS, number),
    ).fetchone()
    return int(row[0] if found is None else found[0])


def _finer(piece: Piece) -> Piece | None:
    """Return the same range of the tier below; None below minutes."""
    return None if piece.tier is Tier.MINUTE else Piece(Tier(piece.tier - 1), piece.since_us, piece.until_us)


def _operation(row: tuple[Any, ...]) -> OperationRecord:
    number, service, operation, end_us, duration_us, outcome, error, metadata = row
    return OperationRecord(
        number, service, operation, end_us, duration_us, _OUTCOMES[outcome], error, parse_metadata(metadata)
    )
