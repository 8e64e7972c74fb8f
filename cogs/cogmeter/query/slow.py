"""What is slow and why: the slowest run of each command and reply with its parts and known patterns.

Every surface shows the result of ``slow_runs``. Traces are kept of interactions that failed or took at least
PERFORMANCE_TRACE_THRESHOLD; of everything else only the duration is known, and the records say so.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.query.slow_patterns import TracedRun, matches
from cogmeter.query.time_parts import TimePart, TimeShare, first_output_us, slowest_step, time_share
from cogmeter.recording.markers import START
from cogmeter.recording.service_names import BY_OPERATION, STALLS, in_background, label
from cogmeter_storage.model import HOUR_US, MINUTE_US, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from cogmeter.query.query import Query
    from cogmeter.query.records import Overview, Period, Range
    from cogmeter.query.slow_patterns import PatternMatch
    from cogmeter_storage.model import OperationRecord

    Found: TypeAlias = TraceRecord | OperationRecord  # an operation is a run without a trace

LISTED: Final = 10  # commands and replies, each with its slowest run
OF_ONE: Final = 5  # slowest runs of one command
READ: Final = 1_000  # slowest traces of one command that "where the time goes" reads
UNTRACED: Final = 100  # slowest operations, of which one of each name is shown where no trace is stored
MOST_STALLS: Final = 200
LEAST_US: Final = 100_000  # a shorter run is not slow, even if it is the slowest of its command
ENOUGH: Final = 5  # runs from which the typical duration is known
COLD_WITHIN_US: Final = 60 * MINUTE_US  # after a start
FIRST_MS: Final = "first_ms"  # metadata of a reply: milliseconds to its first output


@dataclass(frozen=True, slots=True)
class SlowRun:
    """One slow run with its parts. Without a trace, all of it is own code that is not broken down."""

    trace: TraceRecord
    spans: tuple[SpanRecord, ...]  # of the trace, and the stalls of the loop that other code caused during it
    traced: bool
    time: TimeShare
    first_output_us: int | None
    patterns: tuple[PatternMatch, ...]  # the most expensive first
    runs: int = 0  # of the same command in the range; 0: not known
    typical_us: float | None = None  # their p50; None if there are too few

    @property
    def label(self) -> str:
        """The name by which an owner knows the command."""
        return label(self.trace.service, self.trace.operation)

    @property
    def slowest_step(self) -> tuple[str, int] | None:
        """The operation with most of the largest part of its time, and its microseconds; None if nothing names one."""
        largest = max(TimePart, key=lambda part: self.time.parts[part])
        return slowest_step(self.trace.duration_us, self.spans, largest)


@dataclass(frozen=True, slots=True)
class TimeProfile:
    """Where the time of a command goes, over its traced runs. Times are in microseconds.

    ``p50`` and ``p95`` are the means of the parts of the runs around that percentile of the duration: the tenth of all
    runs whose durations are nearest to it. They add up to a duration, which percentiles of the parts would not.
    """

    traced: int  # runs that were read
    runs: int  # all runs of the command in the range
    truncated: bool  # only the slowest READ traces were read
    total: Mapping[TimePart, float]  # of all read runs together
    p50: Mapping[TimePart, float]
    p95: Mapping[TimePart, float]
    part_p50: Mapping[TimePart, float]  # percentiles of each part by itself
    part_p95: Mapping[TimePart, float]

    def share(self, part: TimePart) -> float:
        """Return a part's share of the time of all runs, 0 to 1."""
        whole = sum(self.total.values())
        return self.total[part] / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class SlowReport:
    """The slowest runs of a range, and of one command the profile of its time."""

    range: Range
    service: str | None
    operation: str | None
    runs: tuple[SlowRun, ...]  # slowest first; without a subject, one of each command and reply
    profile: TimeProfile | None  # only of one operation with traces

    @property
    def label(self) -> str:
        """The name of the subject; empty without one."""
        if self.service is None or self.operation is None:
            return self.service or ""
        return label(self.service, self.operation)


async def slow_runs(
    query: Query,
    period: Period | Range,
    service: str | None = None,
    operation: str | None = None,
    *,
    overview: Overview | None = None,
) -> SlowReport:
    """Return the slowest run of each command and reply, or the slowest runs of one command or service.

    ``service`` may be a label such as "/ask", see ``Query.subject_of``. Of a service that is no command, the runs of
    commands that involve it are returned. ``overview`` is that of all services in the period, where the caller has
    read it already.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    span = query.span(period) if overview is None else overview.range
    if service is not None:
        service, operation = await query.subject_of(service, operation)
    if overview is None:
        overview = await query.overview(span)
    if service is None:
        found = await _one_each(query, overview, span, None)
    elif operation is None and service in BY_OPERATION:
        found = await _one_each(query, overview, span, service)
    else:
        found = await _of_subject(query, span, service, operation)
    profile = None
    if service in BY_OPERATION and operation is not None:
        profile = await _profile(query, overview, span, service or "", operation)
    return SlowReport(span, service, operation, await explained(query, overview, span, found), profile)


async def explained(query: Query, overview: Overview, span: Range, found: Sequence[Found]) -> tuple[SlowRun, ...]:
    """Return runs with their parts and patterns. An operation is a run without a trace.

    ``overview`` has the typical durations of the commands and dependencies.
    """
    if not found:
        return ()
    context = await _Context.read(query, overview, span, found)
    warm = [await context.warm_operations(query, one) for one in found]
    # In a thread: a run has up to a hundred spans, which takes some milliseconds for a page of them.
    return await asyncio.to_thread(context.explain_all, found, warm)


async def _one_each(query: Query, overview: Overview, span: Range, service: str | None) -> list[Found]:
    """Return the slowest run of each command, component and reply, slowest first."""
    slow = (one for one in overview.commands if (one.figures.max_us or 0) >= LEAST_US)
    ranked = [one for one in slow if service in {None, one.service}]
    ranked.sort(key=lambda one: -(one.figures.max_us or 0))
    traces = await query.store.traces(service, None, span.since_us, until_us=span.until_us, limit=READ, one_each=True)
    traced = {(trace.service, trace.operation): trace for trace in traces if trace.duration_us >= LEAST_US}
    found: list[Found] = []
    for one in ranked[:LISTED]:
        trace = traced.get((one.service, one.operation))
        ids = None if trace is not None else await query.ids(one.service, one.operation)
        slowest = await query.store.slowest(ids, span.since_us, span.until_us, limit=1) if ids else []
        found += [trace] if trace is not None else slowest
    return sorted(found, key=lambda one: -one.duration_us)


async def _of_subject(query: Query, span: Range, service: str, operation: str | None) -> list[Found]:
    """Return the slowest traces of a command, or those that involve a service, with its slower operations outside."""
    traces = await query.store.traces(service, operation, span.since_us, until_us=span.until_us, limit=OF_ONE)
    if not traces and service not in BY_OPERATION:
        traces = await involving(query, span, service, operation)
    elif traces:
        return [*traces]
    ids = await query.ids(service, operation)
    slowest = await query.store.slowest(ids or [], span.since_us, span.until_us, limit=UNTRACED)
    # One of each operation: a loop that is long by nature would fill the list otherwise.
    each = {(one.operation if operation is None else one.id): one for one in reversed(slowest)}
    # A trace around an operation lasts longer: one that lasts longer than all of these traces has none.
    longest_us = max((trace.duration_us for trace in traces), default=0)
    found: list[Found] = [*traces, *(one for one in each.values() if one.duration_us > longest_us)]
    return sorted(found, key=lambda one: -one.duration_us)[:OF_ONE]


async def involving(query: Query, span: Range, service: str, operation: str | None) -> list[TraceRecord]:
    """Return the slowest traces that have a span of this service or operation: the slowest of each command."""
    return await query.store.traces(
        None, None, span.since_us, until_us=span.until_us, limit=OF_ONE, one_each=True, involving=(service, operation)
    )


@dataclass(frozen=True, slots=True)
class _Context:
    """What is known around the runs of a range."""

    stalls: list[OperationRecord]  # in the order of their end
    usual_us: dict[str, float]  # p50 of each background service
    commands: dict[tuple[str, str], tuple[int, float | None]]  # runs and p50 of each command
    starts_us: list[int]  # of the bot, ascending

    @classmethod
    async def read(cls, query: Query, overview: Overview, span: Range, runs: Sequence[Found] | None = None) -> _Context:
        """Read it for some runs of a range; for all of them with the longest stalls of the range alone."""
        store = query.store
        ids = [series.id for series in await store.series() if series.service == STALLS]
        # Each run's own: the longest of the range would leave out its short ones as soon as there are longer ones.
        ranges = [(span.since_us, span.until_us)] if runs is None else [*map(_time_of, runs)]
        found = [
            stall
            for since_us, until_us in (ranges if ids else ())
            for stall in await store.slowest(ids, since_us, until_us + MINUTE_US, limit=MOST_STALLS)
        ]
        stalls = {stall.id: stall for stall in found}.values()
        markers = await store.markers(span.since_us - COLD_WITHIN_US, span.until_us)
        return cls(
            stalls=sorted(stalls, key=lambda stall: stall.end_us),
            usual_us={name: figures.p50_us for name, figures in overview.background if figures.p50_us is not None},
            commands={
                (one.service, one.operation): (
                    one.figures.operations,
                    one.figures.p50_us if one.figures.operations >= ENOUGH else None,
                )
                for one in overview.commands
            },
            starts_us=[marker.at_us for marker in markers if marker.kind == START],
        )

    async def warm_operations(self, query: Query, run: Found) -> frozenset[tuple[str, str]] | None:
        """Return the operations inside a run that were run before it since the bot started.

        None if the command itself was, or if the start is not known or long ago.
        """
        at_us, _ = _time_of(run)
        number = bisect_left(self.starts_us, at_us) - 1
        if number < 0 or at_us - self.starts_us[number] > COLD_WITHIN_US:
            return None
        ids = {(series.service, series.operation): series.id for series in await query.store.series()}
        own, warm = (run.service, run.operation), set[tuple[str, str]]()
        spans = run.spans if isinstance(run, TraceRecord) else ()
        for name in dict.fromkeys([own, *((span.service, span.operation) for span in spans)]):
            if name in ids and await query.store.slowest([ids[name]], self.starts_us[number], at_us, limit=1):
                warm.add(name)
            if own in warm or own not in ids:
                return None
        later = await query.store.slowest([ids[own]], at_us, at_us + HOUR_US, limit=UNTRACED)
        if any(self.starts_us[number] <= one.start_us < at_us for one in later):
            return None  # another run had begun, and still ran
        return frozenset(warm)

    def explain_all(
        self, found: Sequence[Found], warm: Sequence[frozenset[tuple[str, str]] | None]
    ) -> tuple[SlowRun, ...]:
        """Return the runs with their parts and patterns."""
        return tuple(self._explain(one, ran) for one, ran in zip(found, warm, strict=True))

    def _explain(self, found: Found, warm: frozenset[tuple[str, str]] | None) -> SlowRun:
        trace = found if isinstance(found, TraceRecord) else _untraced(found)
        runs, typical_us = self.commands.get((trace.service, trace.operation), (0, None))
        spans = (*trace.spans, *self.stalls_in(trace))
        output_us = first_output_us(trace)
        if not isinstance(found, TraceRecord):
            first_ms = found.metadata.get(FIRST_MS)
            output_us = int(first_ms * 1000) if isinstance(first_ms, int | float) else None
        return SlowRun(
            trace=trace,
            spans=spans,
            traced=isinstance(found, TraceRecord),
            time=time_share(trace.duration_us, spans),
            first_output_us=output_us,
            patterns=matches(TracedRun(trace, spans, typical_us, self.usual_us, warm)),
            runs=runs,
            typical_us=typical_us,
        )

    def stalls_in(self, trace: TraceRecord) -> list[SpanRecord]:
        """Return stalls during the run that are not in its trace: other code blocked the loop at that time."""
        own = {span.operation for span in trace.spans if span.service == STALLS}
        until_us = trace.at_us + trace.duration_us
        number = max((span.id for span in trace.spans), default=0)
        spans: list[SpanRecord] = []
        for stall in self.stalls[bisect_left(self.stalls, trace.at_us, key=lambda one: one.end_us) :]:
            if stall.start_us < until_us and stall.operation not in own and not in_background(trace.service):
                number += 1
                start_us = stall.start_us - trace.at_us
                spans.append(SpanRecord(number, 0, STALLS, stall.operation, start_us, stall.duration_us, stall.outcome))
        return spans


def _time_of(run: Found) -> tuple[int, int]:
    """Return when a run began and ended."""
    start_us = run.at_us if isinstance(run, TraceRecord) else run.start_us
    return start_us, start_us + run.duration_us


def _untraced(operation: OperationRecord) -> TraceRecord:
    """Return an operation as a trace without spans."""
    return TraceRecord(
        at_us=operation.start_us,
        service=operation.service,
        operation=operation.operation,
        duration_us=operation.duration_us,
        outcome=operation.outcome,
        error=operation.error,
        left_out=0,
        spans=(),
    )


async def _profile(query: Query, overview: Overview, span: Range, service: str, operation: str) -> TimeProfile | None:
    """Return where the time of a command goes; None without traces."""
    traces = await query.store.traces(service, operation, span.since_us, until_us=span.until_us, limit=READ + 1)
    if not traces:
        return None
    context = await _Context.read(query, overview, span)
    runs = context.commands.get((service, operation), (0, None))[0]
    return await asyncio.to_thread(_profile_of, context, traces, max(runs, len(traces)))


def _profile_of(context: _Context, traces: Sequence[TraceRecord], runs: int) -> TimeProfile:
    kept = sorted(traces[:READ], key=lambda trace: trace.duration_us)
    shares = [time_share(trace.duration_us, (*trace.spans, *context.stalls_in(trace))) for trace in kept]
    table = np.array([[share.parts[part] for part in TimePart] for share in shares])
    return TimeProfile(
        traced=len(kept),
        runs=runs,
        truncated=len(traces) > READ,
        total=_by_part(table.sum(axis=0)),
        p50=_by_part(_around(table, 0.5)),
        p95=_by_part(_around(table, 0.95)),
        part_p50=_by_part(np.quantile(table, 0.5, axis=0)),
        part_p95=_by_part(np.quantile(table, 0.95, axis=0)),
    )


def _around(table: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """Return the mean of the rows around a quantile: a tenth of all; the rows are in the order of the duration."""
    middle, half = quantile * (len(table) - 1), max(len(table) / 20, 0.5)
    first, last = max(int(np.ceil(middle - half)), 0), min(int(np.floor(middle + half)), len(table) - 1)
    mean: NDArray[np.float64] = table[first : last + 1].mean(axis=0)
    return mean


def _by_part(row: NDArray[np.float64]) -> dict[TimePart, float]:
    return {part: float(value) for part, value in zip(TimePart, row, strict=True)}
