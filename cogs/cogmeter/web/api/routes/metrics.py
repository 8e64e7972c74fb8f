"""``/metrics``, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.web.api.routing import Route
from cogmeter.web.metrics.scrape import scraper_of

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


async def read_metrics(monitor: Monitor, request: web.Request) -> web.Response:
    """Every metric, as Prometheus text or OpenMetrics by the Accept header."""
    accept, accept_encoding = (request.headers.get(name, "") for name in ("Accept", "Accept-Encoding"))
    page = await scraper_of(monitor).scrape(accept, accept_encoding)
    return web.Response(body=page.body, headers=dict(page.headers))


ROUTES: Final = (
    Route(
        "GET",
        "/metrics",
        read_metrics,
        "Metrics for Prometheus; OpenMetrics, with exemplars, where it is asked for",
        media={
            "text/plain": "Prometheus text",
            "application/openmetrics-text": "OpenMetrics text, with the ids of slow and failed operations as exemplars",
        },
    ),
)
