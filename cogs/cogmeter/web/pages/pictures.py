"""Pictures: charts drawn by the chart worker for browsers that cannot draw them, and the icon."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.alerts.model import Subject
from cogmeter.query.query import now_us
from cogmeter.web.api.params import NamedParams
from cogmeter.web.api.problems import Problem
from cogmeter.web.pages.frame import stretch
from cogmeter.web.server.html import STATIC_FOLDER

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

ICON: Final = STATIC_FOLDER / "icon.svg"


class ChartParams(NamedParams):
    """Of what the chart is to be, and over which stretch of time."""


async def show_chart(monitor: Monitor, ask: ChartParams) -> web.Response:
    """The chart that Discord shows, as a PNG.

    Raises:
        Problem: 503; the chart worker cannot draw it now.
        UnknownNameError: nothing is stored under that service or operation.
    """
    now = now_us()
    span = ask.span(now)
    if ask.since is not None or ask.until is not None:
        span = replace(span, label=stretch(span, now))
    timeline = await monitor.query.timeline(ask.service, ask.operation, span, trim=True)
    limits, subject = monitor.alerting.limits, Subject("response_time", ask.service or "", ask.operation or "")
    threshold, statistic = limits.of(subject).threshold, limits.statistic_of(subject)
    picture = await monitor.chart_builder.timeline(timeline, response_time_ms=threshold, statistic=statistic)
    if not picture.drawn:
        raise Problem.of(503, f"The chart cannot be drawn now: {picture.trouble}", headers={"Retry-After": "5"})
    return web.Response(body=picture.png, content_type="image/png")


async def show_icon(_monitor: Monitor) -> web.Response:
    """What browsers ask for by themselves."""
    return web.Response(body=ICON.read_bytes(), content_type="image/svg+xml")
