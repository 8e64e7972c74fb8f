"""Health, what blocked the event loop, background loops, and metrics.

The health routes need no token, so they reveal no path, address, id or error text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from aiohttp import web
from pydantic import Field

from cogmeter.diagnosis import Status, worst
from cogmeter.query.query import now_us
from cogmeter.query.records import UnknownNameError
from cogmeter.schemas.health import (
    HealthAnswer,
    Loops,
    ServiceHealthAnswer,
    ServicesHealthAnswer,
    Stalls,
    loops,
    stalls,
)
from cogmeter.web.api.params import Name, QueryParams, RangeParams
from cogmeter.web.api.routing import Reply, Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from cogmeter.diagnosis import ServiceHealth, Verdict
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.routing import Shared
DISCORD: Final = "discord."  # prefix of the services that cogmeter records for Discord


class ServiceHealthParams(QueryParams):
    """Parameters: the service."""

    service: Name


class StallsParams(RangeParams):
    """Parameters: the range, and the number of newest and longest blocks."""

    limit: Annotated[int, Field(ge=1, le=100, description="Number of the newest, and of the longest")] = 20


async def read_health(_monitor: Monitor, shared: Shared) -> Reply:
    """Return bot health: gateway, event loop, flusher, database, jobs.

    A verdict that is not healthy makes it degraded at most: an orchestrator does not restart a bot for its alerts.
    """
    health = shared.health
    checks, verdict = await health.vital(), await health.verdict()
    status = worst(check.serving for check in checks)
    reason = f"the worst of the checks is {status}"
    if status.serves and verdict.status is not status:
        healthy = all(check.status is Status.HEALTHY for check in checks)
        serves = "the bot serves (all checks are healthy)" if healthy else "the bot serves"
        status, reason = Status.DEGRADED, f"{serves}, but the verdict is {verdict.status}"
    return _reply(HealthAnswer.of(status, checks, verdict, health.up_s, reason=reason), status)


async def read_own_health(_monitor: Monitor, shared: Shared) -> Reply:
    """Return the verdict on the bot, and the checks of the monitor itself."""
    health = shared.health
    checks, verdict = await health.own(), await health.verdict()
    status = _judged(verdict, worst(check.status for check in checks))
    reason = f"the worst of the checks is {status}" if status is not verdict.status else ""
    return _reply(HealthAnswer.of(status, checks, verdict, health.up_s, reason=reason), status)


async def read_services_health(_monitor: Monitor, shared: Shared) -> Reply:
    """Return the verdict on the bot, and the health of every recorded service."""
    health = shared.health
    services, verdict = await health.services(), await health.verdict()
    own = {name: service for name, service in services.items() if not name.startswith(DISCORD)}
    discord = {name: service for name, service in services.items() if name.startswith(DISCORD)}
    status = _judged(verdict, overall(own.values()))
    return _reply(await ServicesHealthAnswer.of(status, own, discord, verdict, health.up_s), status)


async def read_service_health(_monitor: Monitor, shared: Shared, service: str) -> Reply:
    """Return the health of one service."""
    services = await shared.health.services()
    if service not in services:
        # Without similar names: this route is public, and comparing names is expensive.
        raise UnknownNameError("service", service, ())
    health = services[service]
    # A service without traffic is not unhealthy: its probes would fail every night.
    status = Status.HEALTHY if health.check.status is Status.UNKNOWN else health.check.status
    return _reply(ServiceHealthAnswer.of_service(health), status)


def overall(services: Iterable[ServiceHealth]) -> Status:
    """Return the worst status, ignoring unknown ones; healthy if all are unknown, unknown without services."""
    statuses = [service.check.status for service in services]
    known = [status for status in statuses if status is not Status.UNKNOWN]
    return worst(known or [Status.HEALTHY for _ in statuses])


def _judged(verdict: Verdict, own: Status) -> Status:
    """Return the status of the verdict; while the bot starts, and it is unknown, that of the route's own checks."""
    return own if verdict.status is Status.UNKNOWN else verdict.status


def _reply(report: BaseModel, status: Status) -> Reply:
    return Reply(report, status=200 if status.serves else 503)


async def read_stalls(monitor: Monitor, params: StallsParams) -> Stalls:
    """Return the blocks of the event loop."""
    return await stalls(await params.query_of(monitor), params.span(now_us()), limit=params.limit)


async def read_loops(monitor: Monitor, params: RangeParams) -> Loops:
    """Return background loops and jobs."""
    query, own = await params.query_of(monitor), [] if params.process else monitor.watcher.loops()
    return await loops(query, params.span(now_us()), own)


async def read_metrics(_monitor: Monitor, shared: Shared, request: web.Request) -> web.Response:
    """Return every metric, as Prometheus text or OpenMetrics depending on the Accept header."""
    accept, accept_encoding = (request.headers.get(name, "") for name in ("Accept", "Accept-Encoding"))
    page = await shared.scraper.scrape(accept, accept_encoding)
    return web.Response(body=page.body, headers=dict(page.headers))


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/stalls",
        read_stalls,
        "List what blocked the event loop, with stacks (default: last 24 hours)",
        tag="stalls",
        query=StallsParams,
        response=Stalls,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/loops",
        read_loops,
        "List background loops and scheduled jobs, dead and overdue ones first (default: last 24 hours)",
        tag="stalls",
        query=RangeParams,
        response=Loops,
        problems=(404,),
    ),
    Route(
        "GET",
        "/health",
        read_health,
        "Get bot health; 503 while it is starting or unhealthy",
        response=HealthAnswer,
        other_responses={503: HealthAnswer},
    ),
    Route(
        "GET",
        "/health/performance",
        read_own_health,
        "Get the verdict on the bot and the checks of the monitor itself; 503 while the verdict is unhealthy",
        response=HealthAnswer,
        other_responses={503: HealthAnswer},
    ),
    Route(
        "GET",
        "/health/ai-services",
        read_services_health,
        "Get the verdict on the bot and the health of every recorded service; 503 while the verdict is unhealthy",
        response=ServicesHealthAnswer,
        other_responses={503: ServicesHealthAnswer},
    ),
    Route(
        "GET",
        "/health/ai-services/{service}",
        read_service_health,
        "Get the health of one service; 200 also without traffic",
        query=ServiceHealthParams,
        response=ServiceHealthAnswer,
        other_responses={503: ServiceHealthAnswer},
        problems=(404,),
    ),
    Route(
        "GET",
        "/metrics",
        read_metrics,
        "Get metrics for Prometheus; OpenMetrics with exemplars if the Accept header prefers it",
        tag="metrics",
        media={
            "text/plain": "Prometheus text",
            "application/openmetrics-text": "OpenMetrics text, with the ids of slow and failed operations as exemplars",
        },
    ),
)
