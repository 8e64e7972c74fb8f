"""Single operations, one by one or page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.numbers import Number, ms
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from collections.abc import Collection

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.model import OperationRecord, Outcome


class OperationAnswer(Schema):
    """One finished operation."""

    operation_id: str = Field(examples=["op_123"])
    service: str
    operation: str
    start_time: Instant
    end_time: Instant
    duration: Number = Field(description="Milliseconds")
    success: bool = Field(description="Whether the error rate does not count it")
    outcome: str = Field(description="ok, error, upstream, user or cancelled")
    error: str | None
    metadata: dict[str, Any] = Field(description="What the host said of it; Discord's ids are hidden")

    @classmethod
    def of(cls, one: OperationRecord) -> OperationAnswer:
        """That of a record."""
        return cls(
            operation_id=f"op_{one.id}",
            service=one.service,
            operation=one.operation,
            start_time=at(one.start_us),
            end_time=at(one.end_us),
            duration=ms(one.duration_us),
            success=not one.outcome.failed,
            outcome=one.outcome.label,
            error=safe.text_or_none(one.error),
            metadata=safe.metadata(one.metadata),
        )


class OperationPage(Schema):
    """Operations, newest first; what is recorded meanwhile stands before the first page and moves nothing."""

    time_range: TimeRange
    operations: list[OperationAnswer]
    next: str | None = Field(description="The cursor of the next page; null behind the last one")


async def page(
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
    """One page, and the id to go on behind; None behind the last one.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
    """
    ids = await query.ids(service, operation)
    # One more than is shown tells whether there is another page.
    found = await query.store.page(
        ids,
        span.since_us,
        span.until_us,
        limit=limit + 1,
        before_id=before_id,
        outcomes=outcomes,
        slower_than_us=slower_than_us,
    )
    return found[:limit], found[limit - 1].id if len(found) > limit else None
