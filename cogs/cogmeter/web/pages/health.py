"""The page "Health": every component, shard, service, loop and dependency with its status, problems first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from cogmeter.diagnosis import BAD
from cogmeter.render.charts.state import counts_text
from cogmeter.web.pages.frame import HOME, Page, PageParams, PageView, page_response

if TYPE_CHECKING:
    from aiohttp import web

LISTED: Final = 500  # items of an area


class HealthPageParams(PageParams):
    """Parameters of the page. It shows the state now; links to other pages keep the period and the selection."""

    covers_selection: ClassVar[bool] = True


async def show_health(view: PageView[HealthPageParams]) -> web.Response:
    """Show the state of the bot now."""
    return await page_response(
        view,
        "health.html",
        title="Health",
        state=await view.shared.health.state(),
        counts_text=counts_text,
        bad=BAD,
        listed=LISTED,
    )


PAGE: Final = Page(
    "overview",
    f"{HOME}/health",
    "Health",
    show_health,
    HealthPageParams,
    None,
    words=("state", "status", "doctor", "uptime"),
)
