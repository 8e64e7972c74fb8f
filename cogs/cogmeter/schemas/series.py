"""Time series: what a chart of latency, throughput and errors draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from cogmeter.recording.background import paced
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.numbers import Number, ms_or_none, rounded
from cogmeter.schemas.times import Instant, at
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.query import Query
    from cogmeter.query.records import Period, Range

MOST_POINTS: Final = 1_500  # each is a histogram of 12 kB while it is made


class Series(Schema):
    """One value for each step of time, in lists of one length; latencies are null where there was no operation."""

    service: str | None = Field(description="null: all that people asked for")
    operation: str | None
    time_range: TimeRange
    step_seconds: int = Field(description="The width of a step")
    timestamps: list[Instant] = Field(description="The start of each step")
    operations_per_minute: list[Number]
    failures_per_minute: list[Number]
    p50_response_time: list[Number | None] = Field(description="Milliseconds")
    p95_response_time: list[Number | None] = Field(description="Milliseconds")
    p99_response_time: list[Number | None] = Field(description="Milliseconds")


async def series(
    query: Query,
    service: str | None,
    operation: str | None,
    period: Period | Range,
    *,
    step_us: int | None = None,
    trim: bool = False,
) -> Series:
    """Return the time series of a service, of one operation in it, or of all services.

    ``step_us`` is rounded up to a multiple of a minute that makes at most 1,500 points. Without it, the step is the
    smallest round one that makes at most 125. With ``trim``, the steps begin with the first record.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store does not answer.
    """
    span = query.span(period)
    fitting_us = None if step_us is None else _fitting(span, step_us)
    found = await query.timeline(service, operation, span, step_us=fitting_us, trim=trim)
    return Series(
        service=service,
        operation=operation,
        time_range=TimeRange.of(span),
        step_seconds=found.step_us // 1_000_000,
        timestamps=[at(edge) async for edge in paced(found.edges_us)],
        operations_per_minute=[rounded(one, 3) async for one in paced(found.per_minute)],
        failures_per_minute=[rounded(one, 3) async for one in paced(found.failures_per_minute)],
        p50_response_time=await _column(found.p50_us),
        p95_response_time=await _column(found.p95_us),
        p99_response_time=await _column(found.p99_us),
    )


def _fitting(span: Range, step_us: int) -> int:
    """The least multiple of a minute from ``step_us`` on that makes no more than MOST_POINTS."""
    least_us = max(step_us, -(-(span.until_us - span.since_us) // MOST_POINTS))
    return -(-least_us // MINUTE_US) * MINUTE_US


async def _column(values: Sequence[float | None]) -> list[int | float | None]:
    return [ms_or_none(one) async for one in paced(values)]
