"""Health of the bot, the monitor and each service. No route needs a token, and no answer contains a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.diagnosis import Status, worst
from cogmeter.diagnostics import health_of
from cogmeter.query.records import UnknownNameError
from cogmeter.schemas.health import HealthAnswer, ServiceHealthAnswer, ServicesHealthAnswer
from cogmeter.web.api.params import Name
from cogmeter.web.api.routing import QueryParams, Reply, Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from cogmeter.diagnosis import ServiceHealth
    from cogmeter.monitor.monitor import Monitor

DISCORD: Final = "discord."  # how the names of what we record of Discord begin


class ServiceHealthParams(QueryParams):
    """Which service."""

    service: Name


async def read_health(monitor: Monitor) -> Reply:
    """The gateway, the event loop, the flusher, the database, the jobs."""
    health = health_of(monitor)
    checks = await health.vital()
    status = worst(one.status for one in checks)
    return _reply(HealthAnswer.of(status, checks, health.up_s), status)


async def read_own_health(monitor: Monitor) -> Reply:
    """The monitor: what it loses, whom it cannot tell, what it costs."""
    health = health_of(monitor)
    checks = await health.own()
    status = worst(one.status for one in checks)
    return _reply(HealthAnswer.of(status, checks, health.up_s), status)


async def read_services_health(monitor: Monitor) -> Reply:
    """Every recorded service."""
    health = health_of(monitor)
    services = await health.services()
    own = {name: one for name, one in services.items() if not name.startswith(DISCORD)}
    status = overall(own.values())
    discord = {name: one for name, one in services.items() if name.startswith(DISCORD)}
    return _reply(await ServicesHealthAnswer.of(status, own, discord, health.up_s), status)


async def read_service_health(monitor: Monitor, service: str) -> Reply:
    """One service."""
    services = await health_of(monitor).services()
    if service not in services:
        # Nothing is suggested: anybody may ask this, and comparing names is work.
        raise UnknownNameError("service", service, ())
    one = services[service]
    # A service without work is not ill: its watchers would be woken every night.
    status = Status.HEALTHY if one.check.status is Status.UNKNOWN else one.check.status
    return _reply(ServiceHealthAnswer.of_service(one), status)


def overall(services: Iterable[ServiceHealth]) -> Status:
    """The worst of them. A quiet service has no say, unless all are: then they are well; without any it is unknown."""
    statuses = [one.check.status for one in services]
    known = [status for status in statuses if status is not Status.UNKNOWN]
    return worst(known or [Status.HEALTHY for _ in statuses])


def _reply(answer: BaseModel, status: Status) -> Reply:
    return Reply(answer, status=200 if status.serves else 503)


ROUTES: Final = (
    Route(
        "GET",
        "/health",
        read_health,
        "How the bot is: 503 while it is starting or cannot serve",
        answer=HealthAnswer,
        others={503: HealthAnswer},
    ),
    Route(
        "GET",
        "/health/performance",
        read_own_health,
        "How the monitor itself is",
        answer=HealthAnswer,
        others={503: HealthAnswer},
    ),
    Route(
        "GET",
        "/health/ai-services",
        read_services_health,
        "How each recorded service is, by its last minutes",
        answer=ServicesHealthAnswer,
        others={503: ServicesHealthAnswer},
    ),
    Route(
        "GET",
        "/health/ai-services/{service}",
        read_service_health,
        "How one service is; 200 too while it has nothing to do",
        query=ServiceHealthParams,
        answer=ServiceHealthAnswer,
        others={503: ServiceHealthAnswer},
        problems=(404,),
    ),
)
