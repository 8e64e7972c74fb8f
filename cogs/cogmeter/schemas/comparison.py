"""A comparison of two periods as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.query.comparison import FEWEST, ChangeVerdict, compare
from cogmeter.schemas import safe
from cogmeter.schemas.alerts import MarkerAnswer
from cogmeter.schemas.base import Number, Schema, TimeRange, ms, ms_or_none, rate, rounded
from cogmeter.schemas.errors import StackFrame
from cogmeter.schemas.times import Instant
from cogmeter.times import utc

if TYPE_CHECKING:
    from cogmeter.query.comparison import ComparedPeriod, Comparison, MeasuredChange
    from cogmeter.query.query import Query
    from cogmeter_storage.errors import ErrorGroup

DIGITS = 6  # of a probability


class MeasuredChangeAnswer(Schema):
    """A quantity in both periods."""

    verdict: ChangeVerdict = Field(
        description="worse or better: a confident change; unchanged: no significant one; too_few: too few operations; "
        "not_judged: of p50 and p95 the one that changed less clearly, because the other one decides"
    )
    statistic: str = Field(description="p50, p95 (milliseconds), error_rate (0 to 1) or throughput (per minute)")
    before: Number | None = Field(description="null without operations")
    after: Number | None
    change: Number | None = Field(description="Relative: 0.38 for 38% more; null if there was nothing before")
    p_value: Number | None = Field(description="The probability of such a difference by chance; null if not judged")

    @classmethod
    def of(cls, change: MeasuredChange) -> MeasuredChangeAnswer:
        """Build it from a query's record."""
        values = [
            None if value is None else ms(value) if change.statistic in {"p50", "p95"} else rounded(value, DIGITS)
            for value in (change.before, change.after)
        ]
        return cls(
            verdict=change.verdict,
            statistic=change.statistic,
            before=values[0],
            after=values[1],
            change=None if change.ratio is None else rounded(min(change.ratio, 1e9), 3),
            p_value=None if change.p_value is None else rounded(change.p_value, DIGITS),
        )


class ComparedPeriodAnswer(Schema):
    """One of the periods, as far as it is compared."""

    name: str
    time_range: TimeRange
    operations: int
    failures: int
    left_out: int = Field(description="Operations that are not compared: `warmUp` and `otherHours`")
    warm_up: int = Field(description="Of these, those in the first ten minutes after a start, a version or a reload")
    other_hours: int = Field(description="Of these, those at hours of the day that the other period does not have")
    p50: Number | None = Field(description="Milliseconds; of the first period weighted as the hours of the second one")
    p95: Number | None
    error_rate: Number
    operations_per_minute: Number
    shares: list[Number] = Field(description="Shares of the operations by duration; see `edges`")

    @classmethod
    def of(cls, period: ComparedPeriod) -> ComparedPeriodAnswer:
        """Build it from a query's record."""
        figures = period.figures
        return cls(
            name=safe.text(period.range.label),
            time_range=TimeRange.of(period.range),
            operations=period.operations,
            failures=period.failures,
            left_out=period.left_out,
            warm_up=period.warm_up,
            other_hours=period.other_hours,
            p50=ms_or_none(figures.p50_us),
            p95=ms_or_none(figures.p95_us),
            error_rate=rate(figures.error_rate),
            operations_per_minute=rounded(figures.per_minute, 3),
            shares=[rounded(share, 5) for share in period.shares],
        )


class NewErrorAnswer(Schema):
    """An error group that was first seen in the second period."""

    id: int
    type: str
    message: str
    place: StackFrame | None = Field(description="The innermost line of the bot's code; null if it is not known")
    count: int

    @classmethod
    def of(cls, group: ErrorGroup) -> NewErrorAnswer:
        """Build it from a stored group."""
        place = None if group.place is None else StackFrame.of(group.place)
        texts = {"type": safe.text(group.type), "message": safe.text(group.message)}
        return cls(id=group.id, **texts, place=place, count=group.count)


class ComparisonAnswer(Schema):
    """Two periods of a service, of an operation or of all services, compared with confidence."""

    service: str | None
    operation: str | None
    marker: MarkerAnswer | None = Field(description="The marker between the periods; null for other periods")
    verdict: ChangeVerdict = Field(description="The worse of response times and errors")
    before: ComparedPeriodAnswer
    after: ComparedPeriodAnswer
    latency: MeasuredChangeAnswer = Field(description="The percentile that changed most clearly")
    percentiles: list[MeasuredChangeAnswer] = Field(description="p50 and p95")
    errors: MeasuredChangeAnswer
    throughput: MeasuredChangeAnswer
    recorded_since: Instant | None = Field(description="The first record, if the first period begins before it")
    hours: int = Field(description="Hours of the day that both periods have, and that are compared")
    fewest_operations: int = Field(description="Operations that each period needs for a verdict")
    edges: list[Number] = Field(description="Milliseconds: the edges of the bars of `shares`, one more than bars")
    new_errors: list[NewErrorAnswer] = Field(
        description="First seen in the second period, most frequent first; empty with fewer than `fewestOperations` "
        "in the first one"
    )

    @classmethod
    def of(cls, found: Comparison) -> ComparisonAnswer:
        """Build it from a query's record."""
        return cls(
            service=found.service,
            operation=found.operation,
            marker=None if found.marker is None else MarkerAnswer.of(found.marker),
            verdict=found.verdict,
            before=ComparedPeriodAnswer.of(found.before),
            after=ComparedPeriodAnswer.of(found.after),
            latency=MeasuredChangeAnswer.of(found.latency),
            percentiles=[MeasuredChangeAnswer.of(one) for one in found.percentiles],
            errors=MeasuredChangeAnswer.of(found.errors),
            throughput=MeasuredChangeAnswer.of(found.throughput),
            recorded_since=None if found.recorded_since_us is None else utc(found.recorded_since_us),
            hours=found.hours,
            fewest_operations=FEWEST,
            edges=[ms(edge) for edge in found.edges_us],
            new_errors=[NewErrorAnswer.of(group) for group in found.new_errors],
        )


async def comparison(
    query: Query, service: str | None, operation: str | None, *, before: str | None, after: str | None
) -> ComparisonAnswer:
    """Return a comparison; see ``cogmeter.query.comparison.compare``.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        UnknownPeriodError: a text is no period.
        StorageError: the store cannot be read.
    """
    return ComparisonAnswer.of(await compare(query, service, operation, before=before, after=after))
