"""Slow runs as JSON: their parts, known patterns with what to do, and where the time of a command goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.slow import slow_runs
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, ms, ms_or_none, rate
from cogmeter.schemas.operations import SpanAnswer
from cogmeter.schemas.times import Instant
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
    from cogmeter.query.slow_patterns import PatternMatch
    from cogmeter.query.time_parts import TimePart

PARTS = "Milliseconds by part: own_code, rest, hosts, database, rate_limit, blocked"


class PatternAnswer(Schema):
    """A known reason for a slow run."""

    pattern: str = Field(
        description="blocking, missing_defer, sequential, n_plus_one, rate_limit, slow_upstream or cold_start"
    )
    title: str
    what: str = Field(
        description="The line, the route, the host or the call", examples=["services/images.py:41 thumbnail"]
    )
    time: Number = Field(description="Milliseconds that it costs")
    calls: int
    usual_time: Number | None = Field(description="Milliseconds (p50) that the host usually takes; null if not known")
    advice: str

    @classmethod
    def of(cls, match: PatternMatch) -> PatternAnswer:
        """Build it from a query's record."""
        pattern, evidence = match.pattern, match.evidence
        return cls(
            pattern=pattern.key,
            title=pattern.title,
            what=safe.text(evidence.what),
            time=ms(round(evidence.cost_us)),
            calls=evidence.calls,
            usual_time=ms_or_none(evidence.usual_us),
            advice=match.advice,
        )


class SlowRunAnswer(Schema):
    """One slow run with its parts."""

    name: str = Field(description='As an owner knows it: "/ask", "button Shop.buy", "reply on_message"')
    service: str
    operation: str
    start_time: Instant
    duration: Number = Field(description="Milliseconds")
    outcome: str
    error: str | None
    traced: bool = Field(description="False: only the duration is known, all of it is own code that is not broken down")
    first_output: Number | None = Field(description="Milliseconds until the user saw something; null if not known")
    parts: dict[str, Number] = Field(description=PARTS)
    not_broken_down: Number = Field(description="Milliseconds of own code inside no recorded step")
    shared: Number = Field(
        description="Milliseconds in which calls of several kinds ran, or the event loop was blocked during one: each "
        "moment counts once, so parts are shorter than their calls"
    )
    slowest_step: str | None = Field(description="The operation with most of the largest part; null if none is known")
    slowest_step_time: Number | None = Field(description="Its share of that part in milliseconds")
    patterns: list[PatternAnswer] = Field(description="Known reasons, the most expensive first")
    runs: int = Field(description="Runs of the same command in the range; 0 if not known")
    spans: list[SpanAnswer] = Field(description="In the order in which they ended; stalls of other code come last")
    spans_left_out: int = Field(description="Spans beyond the first 100")

    @classmethod
    def of(cls, run: SlowRun) -> SlowRunAnswer:
        """Build it from a query's record."""
        trace, step = run.trace, run.slowest_step
        return cls(
            name=safe.text(run.label),
            service=trace.service,
            operation=trace.operation,
            start_time=utc(trace.at_us),
            duration=ms(trace.duration_us),
            outcome=trace.outcome.label,
            error=safe.text_or_none(trace.error),
            traced=run.traced,
            first_output=None if run.first_output_us is None else ms(run.first_output_us),
            parts=_by_key(run.time.parts),
            not_broken_down=ms(round(run.time.unnamed_us)),
            shared=ms(round(run.time.shared_us)),
            slowest_step=step and safe.text(step[0]),
            slowest_step_time=step and ms(step[1]),
            patterns=[PatternAnswer.of(match) for match in run.patterns],
            runs=run.runs,
            spans=[SpanAnswer.of(span) for span in run.spans],
            spans_left_out=trace.left_out,
        )


class TimeProfileAnswer(Schema):
    """Where the time of a command goes, over its traced runs: slow and failed ones."""

    traced_runs: int = Field(description="Runs that were read; at most the slowest 1,000")
    runs: int = Field(description="All runs of the command in the range")
    shares: dict[str, Number] = Field(description="Share of the time of all traced runs by part, 0 to 1")
    p50_run: dict[str, Number] = Field(description=f"The runs around the median duration. {PARTS}")
    p95_run: dict[str, Number] = Field(description=f"The runs around the 95th percentile of the duration. {PARTS}")
    p50: dict[str, Number] = Field(description=f"The median of each part by itself. {PARTS}")
    p95: dict[str, Number] = Field(description=f"The 95th percentile of each part by itself. {PARTS}")

    @classmethod
    def of(cls, profile: TimeProfile) -> TimeProfileAnswer:
        """Build it from a query's record."""
        return cls(
            traced_runs=profile.traced,
            runs=profile.runs,
            shares={part.key: rate(profile.share(part)) for part in profile.total},
            p50_run=_by_key(profile.p50),
            p95_run=_by_key(profile.p95),
            p50=_by_key(profile.part_p50),
            p95=_by_key(profile.part_p95),
        )


class SlowAnswer(Schema):
    """The slowest run of each command and reply, or the slowest runs of one command or service."""

    time_range: TimeRange
    runs: list[SlowRunAnswer] = Field(description="Slowest first")
    where_the_time_goes: TimeProfileAnswer | None = Field(description="Only of one command with traces")

    @classmethod
    def of(cls, report: SlowReport) -> SlowAnswer:
        """Build it from a query's record."""
        return cls(
            time_range=TimeRange.of(report.range),
            runs=[SlowRunAnswer.of(run) for run in report.runs],
            where_the_time_goes=None if report.profile is None else TimeProfileAnswer.of(report.profile),
        )


async def slow_answer(query: Query, span: Range, *, service: str | None, operation: str | None = None) -> SlowAnswer:
    """Return the slowest runs of all commands and replies, or of one command, service or operation of it.

    ``service`` may be a label such as "/ask".

    Raises:
        UnknownNameError: nothing is stored under that service or label.
        StorageError: the store cannot be read.
    """
    return SlowAnswer.of(await slow_runs(query, span, service, operation))


def _by_key(parts: Mapping[TimePart, float]) -> dict[str, int | float]:
    return {part.key: ms(round(us)) for part, us in parts.items()}
