"""Tokens and money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.answers.costs import Costs, costs
from cogmeter.query import now_us
from cogmeter.records import Period
from cogmeter.web.api import Route
from cogmeter.web.asks import Service
from cogmeter.web.spans import SpanAsk

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class CostsAsk(SpanAsk):
    """Which days, and which service."""

    service: Service | None = None


async def read_costs(monitor: Monitor, ask: CostsAsk) -> Costs:
    """Tokens and money by day, service and model."""
    if ask.service is not None:
        await monitor.query.known([ask.service])
    spending = monitor.alerting.evaluator.spending
    span = ask.span(now_us(), Period.WEEK)
    return await costs(spending.days, span, service=ask.service, since_us=spending.since_us)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/costs",
        read_costs,
        "Tokens and money by day (UTC), service and model, of the last 7 days; no more than 90 days are kept",
        query=CostsAsk,
        answer=Costs,
        problems=(404,),
    ),
)
