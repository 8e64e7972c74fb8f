"""The guide's dashboard data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.query import now_us
from cogmeter.schemas.dashboard import Dashboard, dashboard
from cogmeter.web.api.params import RangeParams, Services
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class DashboardParams(RangeParams):
    """Which stretch of time, and which services."""

    services: Services | None = None


async def read_dashboard(monitor: Monitor, ask: DashboardParams) -> Dashboard:
    """All services over a stretch of time, and the alerts that stand."""
    alerts = monitor.alerting.engine.active
    return await dashboard(monitor.query, ask.span(now_us()), services=ask.services, alerts=alerts)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/dashboard",
        read_dashboard,
        "All services over a stretch of time (the last 24 hours), and the alerts that stand",
        query=DashboardParams,
        answer=Dashboard,
        problems=(404,),
    ),
)
