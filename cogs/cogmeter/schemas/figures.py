"""The key figures of a set of operations, in the guide's words, and the stretch of time that they are over."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic evaluates the annotations
from typing import TYPE_CHECKING, Any

from pydantic import Field

from cogmeter.schemas.base import Schema
from cogmeter.schemas.numbers import Number, ms_or_none, rate, rounded
from cogmeter.schemas.times import Instant, at, last_us
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from typing import Self

    from cogmeter.query.records import Figures, Range


class TimeRange(Schema):
    """A stretch of time. A midnight that ends it stands as the last second of the day before, as in the guide."""

    since: Instant
    until: Instant

    @classmethod
    def of(cls, span: Range) -> TimeRange:
        """That of a range."""
        return cls(since=at(span.since_us), until=at(last_us(span.until_us)))


class Stats(Schema):
    """Key figures. Response times in milliseconds, null where there was no operation."""

    total_operations: int
    successful_operations: int = Field(description="Those that the error rate does not count")
    failed_operations: int = Field(description="Those that ended as error or upstream")
    average_response_time: Number | None = Field(description="Milliseconds")
    error_rate: Number = Field(description="Failed of all, 0 to 1, with three decimals")
    p50_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p95_response_time: Number | None = Field(description="Milliseconds, within 1%")
    p99_response_time: Number | None = Field(description="Milliseconds, within 1%")
    max_response_time: Number | None = Field(description="Milliseconds")
    operations_per_minute: Number = Field(description="Over the whole range")
    outcomes: dict[str, int] = Field(description="Operations by how they ended: ok, error, upstream, user, cancelled")

    @classmethod
    def of(cls, figures: Figures) -> Self:
        """Those of a record."""
        return cls(**fields_of(figures))


def fields_of(figures: Figures) -> dict[str, Any]:
    """The fields of Stats, for models that have more than these."""
    return {
        "total_operations": figures.operations,
        "successful_operations": figures.operations - figures.failures,
        "failed_operations": figures.failures,
        "average_response_time": ms_or_none(figures.mean_us),
        "error_rate": rate(figures.error_rate),
        "p50_response_time": ms_or_none(figures.p50_us),
        "p95_response_time": ms_or_none(figures.p95_us),
        "p99_response_time": ms_or_none(figures.p99_us),
        "max_response_time": ms_or_none(figures.max_us),
        "operations_per_minute": rounded(figures.per_minute, 3),
        "outcomes": {outcome.label: count for outcome, count in zip(Outcome, figures.outcomes, strict=True) if count},
    }


def moment(at_us: int | None) -> datetime | None:
    """A time that may not have come."""
    return None if at_us is None else at(at_us)
