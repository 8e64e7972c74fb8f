"""Every page; a new one is a view beside this, its template, its line in ``frame.MENU``, and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.web.api.routing import Route
from cogmeter.web.pages.alerts import AlertsPageParams, show_alerts
from cogmeter.web.pages.cost import CostPageParams, show_cost
from cogmeter.web.pages.discord import show_discord
from cogmeter.web.pages.frame import CHART, HOME, PageParams
from cogmeter.web.pages.overview import show_overview
from cogmeter.web.pages.pictures import ChartParams, show_chart, show_icon
from cogmeter.web.pages.service import ServicePageParams, show_service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web
    from pydantic import BaseModel


def _page(
    path: str, handler: Callable[..., Awaitable[web.StreamResponse]], summary: str, query: type[BaseModel] = PageParams
) -> Route:
    return Route("GET", path, handler, summary, query=query, media={"text/html": "A page"}, documented=False)


PAGES: Final = (
    _page(HOME, show_overview, "All services"),
    _page(f"{HOME}/services/{{service}}", show_service, "One service", ServicePageParams),
    _page(f"{HOME}/discord", show_discord, "Discord"),
    _page(f"{HOME}/cost", show_cost, "Tokens and money", CostPageParams),
    _page(f"{HOME}/alerts", show_alerts, "Alerts, mutes, thresholds and targets", AlertsPageParams),
    Route("GET", CHART, show_chart, "A chart as a picture", query=ChartParams, documented=False),
    Route("GET", "/favicon.ico", show_icon, "The icon", documented=False),
)
