"""Slow and failed interactions with the operations inside them: what a waterfall draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.numbers import Number, ms
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from cogmeter.query.query import Query
    from cogmeter_storage.model import SpanRecord, TraceRecord


class SpanAnswer(Schema):
    """One operation inside a trace."""

    id: int
    parent: int = Field(description="The id of the span around it; 0 is the interaction itself")
    service: str
    operation: str
    start: Number = Field(description="Milliseconds from the trace's start")
    duration: Number = Field(description="Milliseconds")
    outcome: str

    @classmethod
    def of(cls, one: SpanRecord) -> SpanAnswer:
        """That of a record."""
        return cls(
            id=one.id,
            parent=one.parent,
            service=one.service,
            operation=one.operation,
            start=ms(one.start_us),
            duration=ms(one.duration_us),
            outcome=one.outcome.label,
        )


class TraceAnswer(Schema):
    """One interaction: a command, a press, a form."""

    trace_id: int
    service: str
    operation: str
    start_time: Instant
    duration: Number = Field(description="Milliseconds")
    outcome: str
    error: str | None
    spans: list[SpanAnswer] = Field(description="In the order in which they ended")
    spans_left_out: int = Field(description="Beyond the first 100")

    @classmethod
    def of(cls, one: TraceRecord) -> TraceAnswer:
        """That of a record."""
        return cls(
            trace_id=one.id,
            service=one.service,
            operation=one.operation,
            start_time=at(one.at_us),
            duration=ms(one.duration_us),
            outcome=one.outcome.label,
            error=safe.text_or_none(one.error),
            spans=[SpanAnswer.of(span) for span in one.spans],
            spans_left_out=one.left_out,
        )


class Traces(Schema):
    """Traces, the slowest first."""

    traces: list[TraceAnswer]


async def traces(query: Query, since_us: int, *, service: str | None, operation: str | None, limit: int) -> Traces:
    """The slowest interactions that began since then.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store does not answer.
    """
    await query.ids(service, operation)
    found = await query.store.traces(service, operation, since_us, limit=limit)
    return Traces(traces=[TraceAnswer.of(one) for one in found])
