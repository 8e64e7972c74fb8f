"""Every family of routes; a new one is a file beside this, and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.web.api.routes import (
    alerts,
    costs,
    dashboard,
    errors,
    export,
    health,
    live,
    markers,
    metrics,
    mutes,
    openapi,
    operations,
    series,
    services,
    slowest,
    stalls,
    thresholds,
)
from cogmeter.web.pages import table as pages
from cogmeter.web.server import login

if TYPE_CHECKING:
    from cogmeter.web.api.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *dashboard.ROUTES,
    *services.ROUTES,
    *series.ROUTES,
    *operations.ROUTES,
    *slowest.ROUTES,
    *errors.ROUTES,
    *stalls.ROUTES,
    *costs.ROUTES,
    *alerts.ROUTES,
    *mutes.ROUTES,
    *thresholds.ROUTES,
    *markers.ROUTES,
    *export.ROUTES,
    *live.ROUTES,
    *openapi.ROUTES,
    *login.ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
)

# The dashboard's, served where ENABLE_ANALYTICS_DASHBOARD=true.
PAGES: Final[tuple[Route, ...]] = pages.PAGES
