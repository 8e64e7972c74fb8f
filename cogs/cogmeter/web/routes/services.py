"""The guide's service statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.answers.service import ServiceAnswer, service_stats
from cogmeter.query import now_us
from cogmeter.web.api import Route
from cogmeter.web.asks import Name, Operation
from cogmeter.web.spans import SpanAsk

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class ServiceAsk(SpanAsk):
    """Which service, which operation of it, and which stretch of time."""

    service: Name
    operation: Operation | None = None


async def read_service(monitor: Monitor, ask: ServiceAsk) -> ServiceAnswer:
    """One service, or one operation in it."""
    return await service_stats(monitor.query, ask.service, ask.operation, ask.span(now_us()))


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/services/{service}",
        read_service,
        "One service, or one operation of it, over a stretch of time (the last 24 hours)",
        query=ServiceAsk,
        answer=ServiceAnswer,
        problems=(404,),
    ),
)
