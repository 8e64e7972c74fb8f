"""SQL for samples, traces, markers and named values."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING, NamedTuple

from cogmeter_storage.model import DAY_US, LONGEST_US, Marker, Outcome, SampleStep, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from cogmeter_storage.sql.session import DamagedRows, Runner, Session

PIECE_US = 2 * DAY_US  # aggregated at once: with a sample every 15 s, 11,520 of one gauge
_SAMPLES_PER_DELETE = 5000
MOST_SEARCHED = 2_000  # slowest traces of a range that are searched for a span
TRACE_COLUMNS = "at_us, service, operation, duration_us, outcome, error, left_out, spans"
_TRACES_PER_DELETE = 500  # a row has up to 100 spans, about 10 kB
SET_VALUE = "INSERT INTO memory (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_LONGEST_US = 3_600_000_000  # of a trace that began before the range
_NO_END = 2**63 - 1  # the last time that SQLite can compare


def add_samples(raw: Session, at_us: int, values: Mapping[str, float]) -> None:
    """Implement Store.add_samples; one transaction."""
    finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
    with raw.transaction():
        raw.executemany("INSERT INTO metric (name) VALUES (?) ON CONFLICT DO NOTHING", ((name,) for name in finite))
        raw.executemany(
            "INSERT INTO sample (metric, at_us, value) SELECT id, ?, ? FROM metric WHERE name = ?"
            " ON CONFLICT (metric, at_us) DO UPDATE SET value = excluded.value",
            ((at_us, value, name) for name, value in finite.items()),
        )


def read_samples(
    raw: Session, names: Collection[str], since_us: int, until_us: int
) -> dict[str, list[tuple[int, float]]]:
    """Implement Store.samples."""
    find = (
        "SELECT at_us, value FROM sample WHERE metric = (SELECT id FROM metric WHERE name = ?)"  # noqa: S608 - names of our columns
        f" AND at_us >= ? AND at_us < ? AND {raw.sound_rows('sample')} ORDER BY at_us"
    )
    return {name: raw.execute(find, (name, since_us, until_us)).fetchall() for name in names}


def newest_samples(raw: Session, since_us: int, prefix: str = "") -> dict[str, float]:
    """Implement Store.newest_samples, of the metrics whose names begin with a prefix, without it."""
    newest = (
        "SELECT value FROM sample WHERE sample.metric = metric.id AND at_us >= ?"  # noqa: S608 - names of our columns
        f" AND {raw.sound_rows('sample')} ORDER BY at_us DESC LIMIT 1"
    )
    find = f"SELECT name, ({newest}) FROM metric WHERE substr(name, 1, ?) = ?"  # noqa: S608 - the text above
    rows = raw.execute(find, (since_us, len(prefix), prefix))
    return {name[len(prefix) :]: value for name, value in rows if value is not None}


async def all_sample_steps(
    reading: Runner, names: Collection[str], since_us: int, until_us: int, *, step_us: int
) -> dict[str, dict[int, SampleStep]]:
    """Implement Store.sample_steps."""
    if step_us < 1:
        raise ValueError(f"step_us is {step_us}: it must be at least 1")
    piece_us = max(PIECE_US // step_us, 1) * step_us
    found: dict[str, dict[int, SampleStep]] = {name: {} for name in names}
    for name, steps in found.items():
        for start_us in range(since_us, until_us, piece_us):
            end_us = min(start_us + piece_us, until_us)
            first = (start_us - since_us) // step_us
            read = await reading.run(read_sample_steps, name, start_us, end_us, step_us)
            steps.update((first + number, step) for number, step in read)
    return found


def read_sample_steps(
    raw: Session, name: str, since_us: int, until_us: int, step_us: int
) -> list[tuple[int, SampleStep]]:
    """Return the steps of one metric with their numbers, from 0 at ``since_us``."""
    find = (
        "SELECT (at_us - ?2) / ?4 AS step, min(at_us), max(at_us), count(*), avg(value), min(value), max(value)"  # noqa: S608 - names of our columns
        " FROM sample WHERE metric = (SELECT id FROM metric WHERE name = ?1)"
        f" AND at_us >= ?2 AND at_us < ?3 AND {raw.sound_rows('sample')} GROUP BY step ORDER BY step"
    )
    return [(step, SampleStep(*row)) for step, *row in raw.execute(find, (name, since_us, until_us, step_us))]


def delete_samples(raw: Session, cut_us: int) -> int:
    """Delete a few samples of the first metric that has any before the cut; return how many."""
    with raw.transaction():
        for (metric,) in raw.execute("SELECT id FROM metric").fetchall():
            oldest = "SELECT at_us FROM sample WHERE metric = ?1 AND at_us < ?2 ORDER BY at_us LIMIT ?3"
            removed = raw.execute(
                f"DELETE FROM sample WHERE metric = ?1 AND at_us IN ({oldest})",  # noqa: S608 - the text above
                (metric, cut_us, _SAMPLES_PER_DELETE),
            ).rowcount
            if removed:
                return removed
        # The name of a shard or interface that no longer exists.
        raw.execute("DELETE FROM metric WHERE NOT EXISTS (SELECT 1 FROM sample WHERE sample.metric = metric.id)")
    return 0


def add_traces(raw: Session, traces: Sequence[TraceRecord]) -> None:
    """Implement Store.add_traces; one transaction."""
    with raw.transaction():
        raw.executemany(
            f"INSERT INTO trace ({TRACE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - the columns are ours
            map(_trace_row, traces),
        )


class TraceFilter(NamedTuple):
    """The traces to read; None: all."""

    service: str | None
    operation: str | None
    since_us: int
    until_us: int | None
    one_each: bool  # only the slowest of each service and operation
    involving: tuple[str, str | None] | None = None  # service and operation name of a span; operation None: any


def slowest_traces(raw: Session, damage: DamagedRows, wanted: TraceFilter, *, limit: int) -> list[TraceRecord]:
    """Implement Store.traces."""
    # By the end, as operations are chosen; the beginning is what the index knows.
    chosen = (
        f"at_us >= ?1 - {_LONGEST_US} AND at_us < ?2 AND at_us + duration_us >= ?1 AND at_us + duration_us < ?2"
        f" AND {raw.sound_rows('trace')}"
        " AND (?3 IS NULL OR service = ?3) AND (?4 IS NULL OR operation = ?4)"
    )
    order = "ORDER BY duration_us DESC, id DESC"
    pattern: tuple[str, ...] = ()
    if wanted.involving is not None:
        searched = f"SELECT id FROM trace WHERE {chosen} {order} LIMIT {MOST_SEARCHED}"  # noqa: S608 - the texts above
        chosen, pattern = f"id IN ({searched}) AND spans LIKE ?7 ESCAPE '!'", (_pattern(*wanted.involving),)
    if wanted.one_each:  # the places are found without the spans, which are on pages of their own
        places = f"SELECT id, ROW_NUMBER() OVER (PARTITION BY service, operation {order}) AS place FROM trace"  # noqa: S608 - the texts above
        chosen = f"id IN (SELECT id FROM ({places} WHERE {chosen}) AS placed WHERE place = 1)"  # noqa: S608 - the texts above
    statement = f"SELECT {TRACE_COLUMNS}, id FROM trace WHERE {chosen} {order} LIMIT ?5 OFFSET ?6"  # noqa: S608 - the columns are ours
    until_us = _NO_END if wanted.until_us is None else wanted.until_us
    traces: list[TraceRecord] = []
    offset, more = 0, max(limit, 0)  # a negative LIMIT means no limit
    while more:  # repeats only if spans are damaged, which SQL cannot detect
        rows = raw.execute(
            statement, (wanted.since_us, until_us, wanted.service, wanted.operation, more, offset, *pattern)
        ).fetchall()
        traces += filter(None, (trace_of(row, damage) for row in rows))
        offset += len(rows)
        more = limit - len(traces) if len(rows) == more else 0
    return traces


def _pattern(service: str, operation: str | None) -> str:
    """Return a pattern of LIKE for the JSON of spans with one of this service and operation, see ``_trace_row``."""
    # After a service comes another text, after an operation a number.
    text = f',{json.dumps(service)},"' if operation is None else f",{json.dumps(service)},{json.dumps(operation)},"
    escaped = re.sub("[!%_]", r"!\g<0>", text)
    return f"%{escaped}%"


def delete_traces(raw: Session, cut_us: int) -> int:
    """Delete the oldest few traces that began before the cut; return how many."""
    oldest = "SELECT id FROM trace WHERE at_us < ? ORDER BY at_us LIMIT ?"
    with raw.transaction():
        return raw.execute(f"DELETE FROM trace WHERE id IN ({oldest})", (cut_us, _TRACES_PER_DELETE)).rowcount  # noqa: S608 - the text above


def _trace_row(trace: TraceRecord) -> tuple[Any, ...]:
    spans = [
        (span.id, span.parent, span.service, span.operation, span.start_us, span.duration_us, int(span.outcome))
        for span in trace.spans
    ]
    text = json.dumps(spans, separators=(",", ":"))
    named = (trace.at_us, trace.service, trace.operation, trace.duration_us)
    return (*named, int(trace.outcome), trace.error, trace.left_out, text)


def trace_of(row: tuple[Any, ...], damage: DamagedRows) -> TraceRecord | None:
    """Return the record of a row of TRACE_COLUMNS and the id; None if its spans are damaged."""
    at_us, service, operation, duration_us, outcome, error, left_out, text, number = row
    try:
        spans = tuple(_span_of(*span) for span in json.loads(text))
    except (TypeError, ValueError, RecursionError):
        damage.note_row("trace", number, "its spans differ from those that were written")
        return None
    return TraceRecord(at_us, service, operation, duration_us, Outcome(outcome), error, left_out, spans, number)


def _span_of(*fields: Any) -> SpanRecord:
    number, parent, service, operation, start_us, duration_us, outcome = fields
    times = (number, parent, start_us, duration_us)
    if not all(type(value) is int and abs(value) < LONGEST_US for value in times):
        raise TypeError("a number of a span is invalid")
    if not isinstance(service, str) or not isinstance(operation, str):
        raise TypeError("a name of a span is not a text")
    return SpanRecord(number, parent, service, operation, start_us, duration_us, Outcome(outcome))


def add_marker(raw: Session, marker: Marker) -> Marker:
    """Implement Store.add_marker; one transaction."""
    values = (marker.at_us, marker.kind, marker.name)
    with raw.transaction():
        # After a commit whose answer was lost, it is there already.
        find = "SELECT id FROM marker WHERE at_us = ? AND kind = ? AND name = ?"
        row = raw.execute(find, values).fetchone()
        if row is None:
            row = raw.execute("INSERT INTO marker (at_us, kind, name) VALUES (?, ?, ?) RETURNING id", values).fetchone()
    return dataclasses.replace(marker, id=row[0])


def read_markers(raw: Session, since_us: int, until_us: int, limit: int) -> list[Marker]:
    """Implement Store.markers."""
    rows = raw.execute(
        f"SELECT at_us, kind, name, id FROM marker WHERE at_us >= ? AND at_us < ? AND {raw.sound_rows('marker')}"  # noqa: S608 - names of our columns
        " ORDER BY at_us DESC, id DESC LIMIT ?",
        (since_us, until_us, max(limit, 0)),  # a negative LIMIT means no limit
    )
    return [Marker(*row) for row in rows][::-1]


def set_value(raw: Session, key: str, value: bytes) -> None:
    """Implement Store.set_value; one transaction."""
    with raw.transaction():
        raw.execute(SET_VALUE, (key, value))


def add_value(raw: Session, key: str, value: bytes) -> bytes:
    """Implement Store.add_value; one transaction."""
    with raw.transaction():
        raw.execute("INSERT INTO memory (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (key, value))
        return bytes(raw.execute("SELECT value FROM memory WHERE name = ?", (key,)).fetchone()[0])


def get_value(raw: Session, key: str) -> bytes | None:
    """Implement Store.get_value."""
    find = f"SELECT value FROM memory WHERE name = ? AND {raw.sound_rows('memory')}"  # noqa: S608 - names of our columns
    row = raw.execute(find, (key,)).fetchone()
    return None if row is None else bytes(row[0])
