"""The traces of the simulated past: of its slowest operations, so that every list of slow operations agrees.

The slowest operations of a service happen inside commands. ``enclose`` moves commands of the history around them, and
``make_traces`` breaks down these commands and those that are slow by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.recording.service_names import COMMANDS
from cogmeter_bot.demo.profiles import CALLBACKS
from cogmeter_storage.model import DAY_US, HOUR_US, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter_bot.demo.profiles import Profile

SLOWEST: Final = 5  # of each hour and kind of operation: as many as a list of the slowest shows
LONG_US: Final = 5_000_000  # before the last day, a shorter one has a trace only if it is the slowest of its hour
TRACED_US: Final = 1_000_000  # a shorter command has no trace: the default of PERFORMANCE_TRACE_THRESHOLD
SEARCHED: Final = 50  # commands nearest to an operation, of which one is moved around it
END, DURATION, OUTCOME, ERROR = 1, 2, 3, 4  # columns of ``GeneratedHistory.table``


class SpanTemplate(NamedTuple):
    """An operation inside a command: its position in the tree, and its part of the command's duration."""

    parent: int  # number of a template, from 1; 0 is the command itself
    service: str
    operation: str
    start: float  # share of the command's duration
    length: float


class TraceTemplate(NamedTuple):
    """The spans of a command, and which of them is an operation of the history (from 1; 0: none)."""

    command: str
    recorded: int
    spans: tuple[SpanTemplate, ...]

    @property
    def source(self) -> tuple[str, str] | None:
        """Service and operation of the recorded span."""
        return self.spans[self.recorded - 1][1:3] if self.recorded else None


class EndedRun(NamedTuple):
    """An operation or command that has ended."""

    end_us: int
    duration_us: int
    outcome: Outcome
    error: str | None


class EnclosedOperation(NamedTuple):
    """A command of the history that was moved around a slow operation."""

    template: TraceTemplate
    command: int  # its row
    span: SpanRecord  # the operation


RESPONSE_US: Final = 2_900_000  # until which a first response is sent: Discord waits three seconds
CALLBACK_US: Final = 300_000  # of the request of a first response, at most
LATE_US: Final = 1_500_000  # from which a first response is late because of what the command does before it
_CALLBACK: Final = (CALLBACKS.service, CALLBACKS.operation)
_EDIT: Final = ("discord.rest", "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original")
_SEND: Final = ("discord.rest", "POST /channels/{channel_id}/messages")
_MODEL: Final = ("http.api.openai.com", "POST")

# The commands that are sometimes slow, each for a reason of its own: a slow model, requests one after the other, a late
# first response, a blocked loop, a rate limit, a query for each row.
TRACE_TEMPLATES: Final = (
    TraceTemplate(
        "ask",
        2,
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.05),
            SpanTemplate(0, "core-intelligence", "process", 0.08, 0.86),
            SpanTemplate(2, "context-memory", "retrieve", 0.09, 0.02),
            SpanTemplate(3, "db.postgresql", "SELECT messages", 0.095, 0.01),
            SpanTemplate(2, "sentiment-analysis", "analyze", 0.15, 0.05),
            SpanTemplate(2, *_MODEL, 0.25, 0.66),
            SpanTemplate(0, *_EDIT, 0.95, 0.04),
        ),
    ),
    TraceTemplate(
        "ask",
        2,
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.05),
            SpanTemplate(0, "web-crawling", "fetch", 0.08, 0.83),
            *(
                SpanTemplate(2, f"http.{host}", "GET", 0.09 + 0.2 * number, 0.195)
                for number, host in enumerate(("en.wikipedia.org", "api.github.com", "www.wikidata.org", "example.org"))
            ),
            SpanTemplate(0, *_EDIT, 0.93, 0.05),
        ),
    ),
    TraceTemplate(
        "ask",
        1,
        (SpanTemplate(0, "knowledge-graph", "query", 0.01, 0.9), SpanTemplate(0, *_CALLBACK, 0.92, 0.06)),
    ),
    TraceTemplate(
        "look",
        2,
        (
            SpanTemplate(0, *_CALLBACK, 0.01, 0.04),
            SpanTemplate(0, "multimodal-processing", "describe", 0.08, 0.85),
            SpanTemplate(2, *_MODEL, 0.1, 0.8),
            SpanTemplate(0, *_EDIT, 0.95, 0.04),
        ),
    ),
    TraceTemplate(
        "look",
        3,
        (
            SpanTemplate(0, *_CALLBACK, 0.01, 0.04),
            SpanTemplate(0, "multimodal-processing", "thumbnail", 0.06, 0.24),
            SpanTemplate(2, "discord.stalls", "services/images.py:41 thumbnail", 0.08, 0.2),
            SpanTemplate(0, *_MODEL, 0.31, 0.6),
            SpanTemplate(0, *_EDIT, 0.95, 0.04),
        ),
    ),
    TraceTemplate(
        "ask",
        0,
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.06),
            SpanTemplate(0, *_MODEL, 0.1, 0.3),
            SpanTemplate(0, "discord.rate_limits", _SEND[1], 0.42, 0.48),
            SpanTemplate(0, *_SEND, 0.9, 0.08),
        ),
    ),
    TraceTemplate(
        "ask",
        0,
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.05),
            *(SpanTemplate(0, "db.postgresql", "SELECT users", 0.09 + 0.04 * number, 0.035) for number in range(20)),
            SpanTemplate(0, *_EDIT, 0.94, 0.05),
        ),
    ),
    TraceTemplate(
        "ask",
        0,
        (SpanTemplate(0, *_MODEL, 0.02, 0.85), SpanTemplate(0, *_CALLBACK, 0.9, 0.08)),
    ),
    TraceTemplate(
        "look",
        0,
        (
            SpanTemplate(0, *_CALLBACK, 0.01, 0.04),
            SpanTemplate(0, *_MODEL, 0.06, 0.87),
            SpanTemplate(0, *_EDIT, 0.94, 0.05),
        ),
    ),
)


def enclose(
    tables: Mapping[Profile, NDArray[np.int64]], *, first_us: int, until_us: int
) -> dict[str, list[EnclosedOperation]]:
    """Move the nearest commands of ``tables`` around the slowest operations, and return them by command.

    The number of commands stays the same. ``tables`` are unsorted rows of ``GeneratedHistory.table``.
    """
    by_name = {(profile.service, profile.operation): table for profile, table in tables.items()}
    moved: dict[str, list[EnclosedOperation]] = {}
    taken: dict[str, set[int]] = {}
    for template in TRACE_TEMPLATES:
        if template.source is None:
            continue
        operations, commands = by_name[template.source], by_name[COMMANDS, template.command]
        ends_us, order = commands[:, END].copy(), np.argsort(commands[:, END])
        used = taken.setdefault(template.command, set())
        part = template.spans[template.recorded - 1]
        for place in _slowest(operations, until_us, least_us=TRACED_US * part.length):
            _, end_us, duration_us, outcome, error, _ = operations[place].tolist()
            length_us = int(duration_us / part.length)
            begin_us = end_us - duration_us - int(part.start * length_us)
            command = _nearest(ends_us, order, begin_us + length_us, used)
            if command is None or begin_us < first_us or begin_us + length_us >= until_us:
                continue
            used.add(command)
            commands[command, [END, DURATION, OUTCOME, ERROR]] = begin_us + length_us, length_us, outcome, error
            start_us = end_us - duration_us - begin_us
            span = SpanRecord(template.recorded, part.parent, *template.source, start_us, duration_us, Outcome(outcome))
            moved.setdefault(template.command, []).append(EnclosedOperation(template, command, span))
    return moved


def make_traces(
    tables: Mapping[Profile, NDArray[np.int64]],
    moved: Mapping[str, Sequence[EnclosedOperation]],
    errors: Sequence[str | None],
    *,
    until_us: int,
) -> list[TraceRecord]:
    """Return the traces of the moved commands and of those that are slow by themselves, oldest first."""
    found = []
    for command in sorted({template.command for template in TRACE_TEMPLATES}):
        (table,) = [rows for one, rows in tables.items() if (one.service, one.operation) == (COMMANDS, command)]
        known = {one.command: one for one in moved.get(command, ())}
        plain = [template for template in TRACE_TEMPLATES if template.command == command and not template.recorded]
        for row, one in known.items():
            found.append(_trace(one.template, table[row].tolist(), errors, one.span))
        for number, row in enumerate(row for row in _slowest(table, until_us, least_us=TRACED_US) if row not in known):
            found.append(_trace(plain[number % len(plain)], table[row].tolist(), errors))
    return sorted(found, key=lambda trace: trace.at_us + trace.duration_us)


def _slowest(table: NDArray[np.int64], until_us: int, *, least_us: float) -> Iterator[int]:
    """Yield the rows of the slowest operations of each hour."""
    hours = (until_us - 1 - table[:, END]) // HOUR_US
    order = np.lexsort((-table[:, DURATION], hours))
    for hour in np.split(order, np.flatnonzero(np.diff(hours[order])) + 1):
        for rank, row in enumerate(hour[:SLOWEST].tolist()):
            duration_us = table[row, DURATION]
            recent = until_us - table[row, END] <= DAY_US
            if duration_us >= least_us and (not rank or recent or duration_us >= LONG_US):
                yield row


def _nearest(ends_us: NDArray[np.int64], order: NDArray[np.intp], at_us: int, used: set[int]) -> int | None:
    """Return the row whose end is nearest to a time and that is not used yet; None if all near ones are."""
    place = int(np.searchsorted(ends_us, at_us, sorter=order))
    near = order[max(place - SEARCHED, 0) : place + SEARCHED].tolist()
    free = [row for row in near if row not in used]
    return min(free, key=lambda row: abs(int(ends_us[row]) - at_us), default=None)


def _trace(
    template: TraceTemplate, row: list[int], errors: Sequence[str | None], recorded: SpanRecord | None = None
) -> TraceRecord:
    """Return the trace of one row of the history."""
    _, end_us, duration_us, outcome, error, _ = row
    run = EndedRun(end_us, duration_us, Outcome(outcome), errors[error])
    if recorded is None:
        return trace_of(template, run)
    spans = spans_of(template, duration_us)
    spans[recorded.id - 1] = recorded
    return trace_of(template, run, spans)


def spans_of(template: TraceTemplate, duration_us: int) -> list[SpanRecord]:
    """Return the spans of a command of this duration."""
    return [
        span_of(number, part, int(part.start * duration_us), int(part.length * duration_us))
        for number, part in enumerate(template.spans, start=1)
    ]


def span_of(number: int, part: SpanTemplate, start_us: int, length_us: int) -> SpanRecord:
    """Return a span of this time; a first response is short, and in time."""
    names = part.service, part.operation
    if names == _CALLBACK:
        length_us = min(length_us, CALLBACK_US)
        start_us = min(start_us, RESPONSE_US - length_us)
    return SpanRecord(number, part.parent, *names, start_us, length_us, Outcome.OK)


def late_response_us(trace: TraceRecord) -> int | None:
    """Return when a command had sent its first response, from its start; None if that was not late."""
    ends = (span.start_us + span.duration_us for span in trace.spans if _is_callback(span))
    return next((end_us for end_us in ends if end_us >= LATE_US), None)


def with_response(trace: TraceRecord, after_us: int | None) -> TraceRecord:
    """Return the trace of a command whose first response was sent after this time; None: it never was."""
    spans = [span for span in trace.spans if not _is_callback(span)]
    if after_us is not None:
        spans += [_ending(span, after_us) for span in trace.spans if _is_callback(span)]
    spans.sort(key=lambda span: span.start_us + span.duration_us)
    return replace(trace, spans=tuple(spans))


def _ending(span: SpanRecord, at_us: int) -> SpanRecord:
    length_us = min(span.duration_us, at_us)
    return replace(span, start_us=at_us - length_us, duration_us=length_us)


def _is_callback(span: SpanRecord) -> bool:
    return (span.service, span.operation) == _CALLBACK


def trace_of(template: TraceTemplate, run: EndedRun, spans: Sequence[SpanRecord] | None = None) -> TraceRecord:
    """Return the trace of one command with these spans, or with those of its template."""
    found = spans_of(template, run.duration_us) if spans is None else spans
    by_end = tuple(sorted(found, key=lambda span: span.start_us + span.duration_us))
    names, result = (COMMANDS, template.command), (run.outcome, run.error)
    return TraceRecord(run.end_us - run.duration_us, *names, run.duration_us, *result, 0, by_end)
