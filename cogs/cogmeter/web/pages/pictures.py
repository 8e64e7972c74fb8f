"""Pictures: charts for browsers that cannot draw them, drawn by the chart worker, and the icon."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.query.query import now_us
from cogmeter.times import zone_of
from cogmeter.web.api.params import ServiceRangeParams
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route
from cogmeter.web.pages.frame import CHART
from cogmeter.web.pages.range_text import range_text
from cogmeter.web.server.assets import STATIC_FOLDER

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

ICON: Final = STATIC_FOLDER / "icon.svg"


async def show_chart(monitor: Monitor, params: ServiceRangeParams) -> web.Response:
    """Return the chart that Discord shows, as a PNG.

    Raises:
        Problem: 404; charts are switched off. 503; the chart worker cannot draw it now.
        UnknownNameError: nothing is stored under that service or operation.
    """
    if not monitor.settings.charts:
        raise Problem.of(404, "Charts are switched off: PERFORMANCE_CHARTS=false.")
    now = now_us()
    span = params.span(now)
    if params.since is not None or params.until is not None:
        span = replace(span, label=range_text(span, now, zone_of(monitor.settings.time_zone)))
    query = await params.query_of(monitor)
    timeline = await query.timeline(params.service, params.operation, span, trim=True)
    picture = await monitor.chart_builder.timeline(timeline)
    if not picture.drawn:
        raise Problem.of(503, f"The chart cannot be drawn now: {picture.problem}", headers={"Retry-After": "5"})
    return web.Response(body=picture.png, content_type="image/png")


async def show_icon(_monitor: Monitor) -> web.Response:
    """Return the icon, which browsers request by themselves."""
    return web.Response(body=ICON.read_bytes(), content_type="image/svg+xml")


ROUTES: Final = (
    Route("GET", CHART, show_chart, "A chart as a picture", query=ServiceRangeParams, documented=False),
    Route("GET", "/favicon.ico", show_icon, "The icon", documented=False),
)
