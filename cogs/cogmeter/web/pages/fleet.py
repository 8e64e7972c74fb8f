"""The page "Fleet": every process that shares the database, the silent and the unhealthy first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from cogmeter.diagnosis import BAD
from cogmeter.diagnostics.process_health import fleet_health
from cogmeter.query.fleet import ONE_PROCESS
from cogmeter.web.pages.frame import HOME, Page, PageParams, PageView, page_response

if TYPE_CHECKING:
    from aiohttp import web


class FleetPageParams(PageParams):
    """Parameters of the page. It shows the state now; links to other pages keep the period and the selection."""

    covers_selection: ClassVar[bool] = True


async def show_fleet(view: PageView[FleetPageParams]) -> web.Response:
    """Show the processes now."""
    monitor = view.monitor
    return await page_response(
        view,
        "fleet.html",
        title="Fleet",
        fleet=await fleet_health(monitor.query, monitor.alerting.limits),
        one_process=ONE_PROCESS,
        bad=BAD,
    )


# It is not in the menu: the choice of a process and the page "Health" lead to it.
PAGE: Final = Page("overview", f"{HOME}/fleet", "Fleet", show_fleet, FleetPageParams, None)
