"""Single operations: pages of them, the slowest, those that run now, and traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.recording.service_names import in_background
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, ms
from cogmeter.schemas.times import Instant
from cogmeter.times import utc

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter.recording.waiting import Running, RunningReader
    from cogmeter_storage.model import OperationRecord, Outcome, SpanRecord, TraceRecord


class OperationAnswer(Schema):
    """One finished operation."""

    operation_id: str = Field(examples=["op_123"])
    service: str
    operation: str
    start_time: Instant
    end_time: Instant
    duration: Number = Field(description="Milliseconds")
    success: bool = Field(description="False for the outcomes error and upstream")
    outcome: str = Field(description="ok, error, upstream, user or cancelled")
    error: str | None
    metadata: dict[str, Any] = Field(description="Metadata of the host bot; Discord ids are hidden")

    @classmethod
    def of(cls, operation: OperationRecord) -> OperationAnswer:
        """Build it from a stored operation."""
        return cls(
            operation_id=f"op_{operation.id}",
            service=operation.service,
            operation=operation.operation,
            start_time=utc(operation.start_us),
            end_time=utc(operation.end_us),
            duration=ms(operation.duration_us),
            success=not operation.outcome.failed,
            outcome=operation.outcome.label,
            error=safe.text_or_none(operation.error),
            metadata=safe.metadata(operation.metadata),
        )


class OperationPage(Schema):
    """Operations, newest first. Operations that are recorded between two requests do not move the later pages."""

    time_range: TimeRange
    operations: list[OperationAnswer]
    next: str | None = Field(description="The cursor of the next page; null on the last page")


async def operation_page(
    query: Query,
    span: Range,
    *,
    service: str | None,
    operation: str | None,
    outcomes: Collection[Outcome] | None,
    slower_than_us: int,
    before_id: int | None,
    limit: int,
) -> tuple[list[OperationRecord], int | None]:
    """Return one page and the id where the next page starts; None on the last page.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
    """
    ids = await query.ids(service, operation)
    # One row more than the page shows whether there is another page.
    rows = await query.store.page(
        ids,
        span.since_us,
        span.until_us,
        limit=limit + 1,
        before_id=before_id,
        outcomes=outcomes,
        slower_than_us=slower_than_us,
    )
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


class Slowest(Schema):
    """The slowest operations first; of equally slow ones the newest first."""

    time_range: TimeRange
    operations: list[OperationAnswer]


async def slowest(
    query: Query, span: Range, *, services: Collection[str] | None, operation: str | None, limit: int
) -> Slowest:
    """Return the slowest operations of these services; without services, of all but the background services.

    Raises:
        UnknownNameError: nothing is stored under one of the names.
        StorageError: the store cannot be read.
    """
    stored = await query.store.series()
    if services is None:
        services = {series.service for series in stored if not in_background(series.service)}
    await query.require_services(services, operation)
    ids = [series.id for series in stored if series.service in services and operation in {None, series.operation}]
    operations = await query.store.slowest(ids, span.since_us, span.until_us, limit=limit)
    return Slowest(time_range=TimeRange.of(span), operations=[*map(OperationAnswer.of, operations)])


class RunningAnswer(Schema):
    """One operation that has begun and not ended."""

    service: str
    operation: str
    start_time: Instant
    age: Number = Field(description="Milliseconds")
    line: str = Field(
        description="The innermost line of the bot's code that it waits in, and the library's line below; may be empty",
        examples=["bot.py:42 in ask, waiting in openai/_base_client.py:1500 in request"],
    )

    @classmethod
    def of(cls, running: Running, at_us: int) -> RunningAnswer:
        """Build it from a running operation, and the present time."""
        age_us = int(running.age_s * 1e6)
        return cls(
            service=running.service,
            operation=running.operation,
            start_time=utc(at_us - age_us),
            age=ms(age_us),
            line=safe.text(running.line),
        )


class RunningPage(Schema):
    """The operations that run now: interactions, listeners, loops, jobs and tracked operations, longest first."""

    at: Instant
    total: int = Field(description="Number of operations that run now, on all pages")
    operations: list[RunningAnswer]
    next: str | None = Field(description="The cursor of the next page; null on the last page")


async def running_page(
    reader: RunningReader, at_us: int, *, limit: int, offset: int
) -> tuple[list[RunningAnswer], int | None]:
    """Return one page and the number where the next page starts; None on the last page."""
    operations = [RunningAnswer.of(running, at_us) for running in await reader.page(limit, offset)]
    end = offset + len(operations)
    return operations, end if operations and end < len(reader) else None


class SpanAnswer(Schema):
    """One operation inside a trace."""

    id: int
    parent: int = Field(description="The id of the span around it; 0 for the interaction itself")
    service: str
    operation: str
    start: Number = Field(description="Milliseconds from the start of the trace")
    duration: Number = Field(description="Milliseconds")
    outcome: str

    @classmethod
    def of(cls, span: SpanRecord) -> SpanAnswer:
        """Build it from a stored span."""
        return cls(
            id=span.id,
            parent=span.parent,
            service=span.service,
            operation=span.operation,
            start=ms(span.start_us),
            duration=ms(span.duration_us),
            outcome=span.outcome.label,
        )


class TraceAnswer(Schema):
    """One interaction (a command, a button or a form) with the operations inside it."""

    trace_id: int
    service: str
    operation: str
    start_time: Instant
    duration: Number = Field(description="Milliseconds")
    outcome: str
    error: str | None
    spans: list[SpanAnswer] = Field(description="In the order in which they ended")
    spans_left_out: int = Field(description="Spans beyond the first 100")

    @classmethod
    def of(cls, trace: TraceRecord) -> TraceAnswer:
        """Build it from a stored trace."""
        return cls(
            trace_id=trace.id,
            service=trace.service,
            operation=trace.operation,
            start_time=utc(trace.at_us),
            duration=ms(trace.duration_us),
            outcome=trace.outcome.label,
            error=safe.text_or_none(trace.error),
            spans=[SpanAnswer.of(span) for span in trace.spans],
            spans_left_out=trace.left_out,
        )


class Traces(Schema):
    """Traces, the slowest first."""

    traces: list[TraceAnswer]


async def traces(query: Query, since_us: int, *, service: str | None, operation: str | None, limit: int) -> Traces:
    """Return the slowest interactions that started after ``since_us``.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    await query.ids(service, operation)
    stored = await query.store.traces(service, operation, since_us, limit=limit)
    return Traces(traces=[TraceAnswer.of(trace) for trace in stored])
