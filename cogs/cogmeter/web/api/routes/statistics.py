"""Statistics: the dashboard, services, time series, gauges, usage, costs, and the markers on charts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.diagnosis import EVERY, MOST
from cogmeter.query.costs import CostGrouping
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.recording.markers import MARK, cleaned
from cogmeter.render.rule_text import worded_alerts
from cogmeter.schemas.alerts import MarkerAnswer, Markers
from cogmeter.schemas.costs import Costs, costs_answer
from cogmeter.schemas.health import CheckAnswer, Gauges, gauges
from cogmeter.schemas.statistics import Dashboard, Series, ServiceAnswer, dashboard, series, service_stats
from cogmeter.schemas.usage import UsageAnswer, usage_answer
from cogmeter.web.api.bodies import Body
from cogmeter.web.api.params import Limit, Name, Operation, RangeParams, Service, ServiceRangeParams, Services, Subject
from cogmeter.web.api.routing import Route
from cogmeter_storage.model import Marker

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.routing import Shared


class DashboardParams(RangeParams):
    """Parameters: the range, the services, and the number of findings."""

    services: Services | None = None
    findings: Annotated[
        int, Field(ge=1, le=EVERY, description="Maximum number of findings about what needs attention")
    ] = MOST


class ServiceParams(RangeParams):
    """Parameters: the range, the service, and optionally one of its operations."""

    service: Subject
    operation: Operation | None = None


class SeriesParams(ServiceRangeParams):
    """Parameters: the range, the service or operation, and the step."""

    step: Annotated[
        int | None,
        Field(
            ge=60,
            le=366 * 86_400,
            description="Minimum seconds per step; rounded up to whole minutes and to at most 1,500 points",
        ),
    ] = None
    trim: Annotated[
        bool, Field(description="Begin with the first record where nothing was recorded before; the steps are finer")
    ] = False


class GaugesParams(RangeParams):
    """Parameters: the range, and the gauges."""

    names: Annotated[
        tuple[Name, ...], Field(max_length=20, description="Names such as loop.lag_p99_ms, separated by commas")
    ] = ()


class CostsParams(RangeParams):
    """Parameters: the range, the service, and the grouping."""

    service: Service | None = None
    by: Annotated[CostGrouping, Field(description="What groups are: command, reply, model, guild, user, service")] = (
        "model"
    )
    limit: Limit = 100


class MarkersParams(RangeParams):
    """Parameters: the range, and the number of markers."""

    limit: Limit = 100


class MarkerBody(Body):
    """Request body: the marker's name."""

    name: Annotated[Name, Field(examples=["deployed 1.4"])]


async def read_dashboard(monitor: Monitor, params: DashboardParams, shared: Shared) -> Dashboard:
    """Return all services over a range, the active alerts, and what needs attention."""
    alerts = monitor.alerting.engine.active
    attention = partial(monitor.attention.concerns, now=await shared.health.foreground(), most=params.findings)
    span = params.span(now_us())
    query = await params.query_of(monitor)
    return worded_alerts(await dashboard(query, span, services=params.services, alerts=alerts, attention=attention))


async def read_service(monitor: Monitor, params: ServiceParams, shared: Shared) -> ServiceAnswer:
    """Return one service, or one of its operations, with its health now."""
    query, span = await params.query_of(monitor), params.span(now_us())
    answer = await service_stats(query, params.service, params.operation, span)
    now = await shared.health.of(answer.service_name, answer.operation)
    return answer.model_copy(update={"health_now": None if now is None else CheckAnswer.of(now.check)})


async def read_series(monitor: Monitor, params: SeriesParams) -> Series:
    """Return a time series."""
    span = params.span(now_us(), Period.HOUR)
    step_us = None if params.step is None else params.step * 1_000_000
    query = await params.query_of(monitor)
    return await series(query, params.service, params.operation, span, step_us=step_us, trim=params.trim)


async def read_gauges(monitor: Monitor, params: GaugesParams) -> Gauges:
    """Return gauges over a range."""
    span = params.span(now_us(), Period.HOUR)
    query = await params.query_of(monitor)
    latest = monitor.gauges if params.process is None else await query.present_gauges()
    return await gauges(query.store, span, set(params.names), latest)


async def read_usage(monitor: Monitor, params: RangeParams) -> UsageAnswer:
    """Return who uses what."""
    return await usage_answer(monitor.query, params.span(now_us(), Period.WEEK))


async def read_costs(monitor: Monitor, params: CostsParams) -> Costs:
    """Return tokens and money of a range by group and step, and the month's forecast."""
    if params.service is not None:
        await monitor.query.require_services([params.service])
    await monitor.alerting.keep_costs()  # what was counted in the last seconds
    span = params.span(now_us(), Period.WEEK)
    return await costs_answer(
        monitor.store, span, params.by, now_us=now_us(), service=params.service, limit=params.limit
    )


async def read_markers(monitor: Monitor, params: MarkersParams) -> Markers:
    """Return the markers of a range."""
    span = params.span(now_us())
    markers = await monitor.store.markers(span.since_us, span.until_us, limit=params.limit)
    return Markers(markers=[MarkerAnswer.of(marker) for marker in markers])


async def add_marker(monitor: Monitor, body: MarkerBody) -> MarkerAnswer:
    """Add a marker now, like ``cogmeter.mark()``; it is stored at once."""
    return MarkerAnswer.of(await monitor.store.add_marker(Marker(now_us(), MARK, cleaned(body.name))))


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/dashboard",
        read_dashboard,
        "Get all services and commands over a range (default: last 24 hours), active alerts, what needs attention",
        tag="dashboard",
        query=DashboardParams,
        response=Dashboard,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/services/{service}",
        read_service,
        "Get one service, one of its operations, or one command over a range (default: last 24 hours)",
        tag="services",
        query=ServiceParams,
        response=ServiceAnswer,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/series",
        read_series,
        "Get throughput, failures and latency by step (default: last hour)",
        tag="series",
        query=SeriesParams,
        response=Series,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/gauges",
        read_gauges,
        "Get event-loop lag, gateway latency, memory and other gauges (default: last hour), at most 200 points each",
        tag="series",
        query=GaugesParams,
        response=Gauges,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/usage",
        read_usage,
        "Get commands by runs, users and guilds, unused ones, and when and where they are used (default: last 7 days)",
        tag="usage",
        query=RangeParams,
        response=UsageAnswer,
    ),
    Route(
        "GET",
        "/api/performance/costs",
        read_costs,
        "Get tokens and money by command, reply, model, guild, user or service, with a forecast (default: 7 days)",
        tag="costs",
        query=CostsParams,
        response=Costs,
        problems=(404,),
    ),
    Route(
        "GET",
        "/api/performance/markers",
        read_markers,
        "List markers in order of time (default: last 24 hours)",
        tag="markers",
        query=MarkersParams,
        response=Markers,
    ),
    Route(
        "POST",
        "/api/performance/markers",
        add_marker,
        "Add a marker to charts and alerts",
        tag="markers",
        body=MarkerBody,
        response=MarkerAnswer,
        status=201,
        changes=True,
    ),
)
