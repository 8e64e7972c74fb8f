"""The processes that share the database: the same as ``/perf fleet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.diagnostics.process_health import fleet_health
from cogmeter.schemas.fleet import FleetAnswer
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


async def read_fleet(monitor: Monitor) -> FleetAnswer:
    """Return every process with its health, figures, version and last sign of life."""
    return FleetAnswer.of(await fleet_health(monitor.query, monitor.alerting.limits))


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/fleet",
        read_fleet,
        "Get every process that shares the database: alive or silent, health, figures, event-loop lag, version",
        tag="health",
        response=FleetAnswer,
    ),
)
