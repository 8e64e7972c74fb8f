"""The guide's statistics of one service, or of one operation in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from cogmeter.schemas.figures import Stats, TimeRange, fields_of, moment
from cogmeter.schemas.operations import OperationAnswer
from cogmeter.schemas.times import Instant  # noqa: TC001 - pydantic evaluates the annotations

if TYPE_CHECKING:
    from cogmeter.query.query import Query
    from cogmeter.query.records import Period, Range

RECENT: Final = 20  # operations


class ServiceAnswer(Stats):
    """One service, or one operation of it, over a stretch of time."""

    service_name: str
    operation: str | None = Field(description="null: the service as a whole")
    recent_operations: list[OperationAnswer] = Field(description="Newest first")
    recent_errors: list[OperationAnswer] = Field(description="Newest first")
    slowest_operations: list[OperationAnswer] = Field(description="Slowest first")
    operations: dict[str, Stats] = Field(description="By the operation's name, the busiest first")
    before: Stats = Field(description="The period of the same length just before")
    time_range: TimeRange
    last_operation_at: Instant | None = Field(description="When the newest stored operation of all services ended")


async def service_stats(query: Query, service: str, operation: str | None, period: Period | Range) -> ServiceAnswer:
    """The statistics of one service or operation.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store does not answer.
    """
    span = query.span(period)
    found = await query.stats(service, operation, span)
    ids = await query.ids(service, operation) or []
    recent = await query.store.recent(ids, span.since_us, span.until_us, limit=RECENT)
    return ServiceAnswer.model_validate(
        {
            **fields_of(found.total),
            "service_name": service,
            "operation": operation,
            "recent_operations": [OperationAnswer.of(one) for one in recent],
            "recent_errors": [OperationAnswer.of(one) for one in found.errors],
            "slowest_operations": [OperationAnswer.of(one) for one in found.slowest],
            "operations": {name: Stats.of(figures) for name, figures in found.operations},
            "before": Stats.of(found.before),
            "time_range": TimeRange.of(span),
            "last_operation_at": moment(found.last_end_us),
        }
    )
