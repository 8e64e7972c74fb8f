"""The guide's dashboard data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.answers.dashboard import Dashboard, dashboard
from cogmeter.query import now_us
from cogmeter.web.api import Route
from cogmeter.web.asks import Services
from cogmeter.web.spans import SpanAsk

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class DashboardAsk(SpanAsk):
    """Which stretch of time, and which services."""

    services: Services | None = None


async def read_dashboard(monitor: Monitor, ask: DashboardAsk) -> Dashboard:
    """All services over a stretch of time, and the alerts that stand."""
    alerts = monitor.alerting.engine.active
    return await dashboard(monitor.query, ask.span(now_us()), services=ask.services, alerts=alerts)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/dashboard",
        read_dashboard,
        "All services over a stretch of time (the last 24 hours), and the alerts that stand",
        query=DashboardAsk,
        answer=Dashboard,
        problems=(404,),
    ),
)
