"""Keeps the trees of operations of slow and failed interactions: a row each, the spans as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cogmeter_storage.model import Outcome, SpanRecord, TraceRecord
from cogmeter_storage.sqlite.rows import LONGEST_US, transaction
from cogmeter_storage.sqlite.validity import sound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

    from cogmeter_storage.sqlite.damage import DamageLog

_COLUMNS = "at_us, service, operation, duration_us, outcome, error, left_out, spans"
_DELETE_ROWS = 500  # a row holds up to 100 spans, some ten kilobytes


def add(raw: sqlite3.Connection, traces: Sequence[TraceRecord]) -> None:
    """See Store.add_traces; one transaction."""
    with transaction(raw):
        raw.executemany(
            f"INSERT INTO trace ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - the columns are ours
            map(_row, traces),
        )


def slowest(
    raw: sqlite3.Connection,
    damage: DamageLog,
    service: str | None,
    operation: str | None,
    *,
    since_us: int,
    limit: int,
) -> list[TraceRecord]:
    """See Store.traces."""
    statement = (
        f"SELECT {_COLUMNS}, id FROM trace WHERE at_us >= ?1 AND {sound('trace')}"  # noqa: S608 - the columns are ours
        " AND (?2 IS NULL OR service = ?2) AND (?3 IS NULL OR operation = ?3)"
        " ORDER BY duration_us DESC, id DESC LIMIT ?4 OFFSET ?5"
    )
    found: list[TraceRecord] = []
    offset, more = 0, max(limit, 0)  # below 0, SQLite knows no limit
    while more:  # again only where spans are damaged, which no condition in SQL shows
        rows = raw.execute(statement, (since_us, service, operation, more, offset)).fetchall()
        found += filter(None, (_record(row, damage) for row in rows))
        offset += len(rows)
        more = limit - len(found) if len(rows) == more else 0
    return found


def delete(raw: sqlite3.Connection, cut_us: int) -> int:
    """Delete the oldest few traces that began before the cut; 0 when there is none."""
    oldest = "SELECT id FROM trace WHERE at_us < ? ORDER BY at_us LIMIT ?"
    with transaction(raw):
        return raw.execute(f"DELETE FROM trace WHERE id IN ({oldest})", (cut_us, _DELETE_ROWS)).rowcount  # noqa: S608 - the text above


def _row(trace: TraceRecord) -> tuple[Any, ...]:
    spans = [
        (span.id, span.parent, span.service, span.operation, span.start_us, span.duration_us, int(span.outcome))
        for span in trace.spans
    ]
    text = json.dumps(spans, separators=(",", ":"))
    named = (trace.at_us, trace.service, trace.operation, trace.duration_us)
    return (*named, int(trace.outcome), trace.error, trace.left_out, text)


def _record(row: tuple[Any, ...], damage: DamageLog) -> TraceRecord | None:
    at_us, service, operation, duration_us, outcome, error, left_out, text, number = row
    try:
        spans = tuple(_span(*span) for span in json.loads(text))
    except (TypeError, ValueError, RecursionError):
        damage.row("trace", number, "its spans are not what was written")
        return None
    return TraceRecord(at_us, service, operation, duration_us, Outcome(outcome), error, left_out, spans, number)


def _span(*fields: Any) -> SpanRecord:
    number, parent, service, operation, start_us, duration_us, outcome = fields
    times = (number, parent, start_us, duration_us)
    if not all(type(value) is int and abs(value) < LONGEST_US for value in times):
        raise TypeError("a number of a span is none")
    if not isinstance(service, str) or not isinstance(operation, str):
        raise TypeError("a name of a span is none")
    return SpanRecord(number, parent, service, operation, start_us, duration_us, Outcome(outcome))
