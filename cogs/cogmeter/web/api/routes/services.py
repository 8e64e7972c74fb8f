"""The guide's service statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.query import now_us
from cogmeter.schemas.service import ServiceAnswer, service_stats
from cogmeter.web.api.params import Name, Operation, RangeParams
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class ServiceParams(RangeParams):
    """Which service, which operation of it, and which stretch of time."""

    service: Name
    operation: Operation | None = None


async def read_service(monitor: Monitor, ask: ServiceParams) -> ServiceAnswer:
    """One service, or one operation in it."""
    return await service_stats(monitor.query, ask.service, ask.operation, ask.span(now_us()))


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/services/{service}",
        read_service,
        "One service, or one operation of it, over a stretch of time (the last 24 hours)",
        query=ServiceParams,
        answer=ServiceAnswer,
        problems=(404,),
    ),
)
