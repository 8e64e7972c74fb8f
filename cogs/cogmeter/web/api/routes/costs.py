"""Tokens and money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.schemas.costs import Costs, costs
from cogmeter.web.api.params import RangeParams, Service
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class CostsParams(RangeParams):
    """Which days, and which service."""

    service: Service | None = None


async def read_costs(monitor: Monitor, ask: CostsParams) -> Costs:
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
        query=CostsParams,
        answer=Costs,
        problems=(404,),
    ),
)
