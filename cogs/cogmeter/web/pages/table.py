"""Every page. A new page is a module here, its template, and its name in PAGES."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cogmeter.web.pages import (
    alerts,
    comparison,
    cost,
    discord,
    errors,
    fleet,
    health,
    overview,
    pictures,
    resources,
    running,
    service,
    usage,
)

if TYPE_CHECKING:
    from cogmeter.web.pages.frame import Page

PAGES: Final[tuple[Page[Any], ...]] = (
    overview.PAGE,
    service.PAGE,
    comparison.PAGE,
    errors.PAGE,
    running.PAGE,
    usage.PAGE,
    discord.PAGE,
    cost.PAGE,
    alerts.PAGE,
    health.PAGE,
    resources.PAGE,
    fleet.PAGE,
)
PAGE_ROUTES: Final = (*(page.route() for page in PAGES), *pictures.ROUTES)
