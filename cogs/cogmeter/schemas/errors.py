"""Failures, grouped by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.recording.background import paced
from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.operations import OperationAnswer
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.model import ErrorGroup


class ErrorGroupAnswer(Schema):
    """Failures of one service and operation whose texts differ in numbers and ids alone."""

    service: str
    operation: str
    error: str = Field(description="Their text with # for numbers and ids; empty for those without a text")
    outcome: str = Field(description="error or upstream")
    count: int
    first_at: Instant
    last_at: Instant
    example: OperationAnswer = Field(description="The newest")

    @classmethod
    def of(cls, one: ErrorGroup) -> ErrorGroupAnswer:
        """That of a record."""
        return cls(
            service=one.service,
            operation=one.operation,
            error=safe.text(one.kind),
            outcome=one.outcome.label,
            count=one.count,
            first_at=at(one.first_us),
            last_at=at(one.last_us),
            example=OperationAnswer.of(one.example),
        )


class Errors(Schema):
    """Groups of failures, the largest first."""

    time_range: TimeRange
    groups: list[ErrorGroupAnswer]
    truncated: bool = Field(description="Only the newest 20,000 failures were looked at, and there are more")


async def errors(query: Query, span: Range, *, service: str | None, operation: str | None, limit: int) -> Errors:
    """The failures of a stretch of time.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store does not answer.
    """
    ids = await query.ids(service, operation)
    found = await query.store.error_groups(ids, span.since_us, span.until_us, limit=limit)
    return Errors(
        time_range=TimeRange.of(span),
        groups=[ErrorGroupAnswer.of(one) async for one in paced(found)],
        truncated=any(one.truncated for one in found),
    )
