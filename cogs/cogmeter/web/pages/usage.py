"""The page "Usage": commands with the people who used them, unused ones, a heat map, the audience, and an erasure."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from cogmeter.query.usage import CONTEXT_TITLES, usage
from cogmeter.render.erasure_text import EFFECT, LIMITS
from cogmeter.render.formatting import WEEKDAYS
from cogmeter.watch.interactions.erasure import NOT_A_USER_ID, USER_ID
from cogmeter.web.pages.frame import HOME, MenuEntry, Page, PageParams, PageView, page_response
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from aiohttp import web

LEVELS: Final = 5  # of a heat map's colours; 0 is for none


class UsagePageParams(PageParams):
    """Parameters of the page; it shows what is selected."""

    covers_selection: ClassVar[bool] = True


async def show_usage(view: PageView[UsagePageParams]) -> web.Response:
    """Show the use of the bot in the period."""
    found = await usage(view.monitor.query, view.span)
    most = max(map(max, found.heat)) or 1
    return await page_response(
        view,
        "usage.html",
        title="Usage",
        usage=found,
        heat=[
            (day, [(count, -(-count * LEVELS // most)) for count in row])
            for day, row in zip(WEEKDAYS, found.heat, strict=True)
        ],
        partial_week=view.span.until_us - view.span.since_us < 7 * DAY_US,
        contexts=CONTEXT_TITLES,
        effect=EFFECT,
        limits=LIMITS,
        user_id=USER_ID,
        not_a_user_id=NOT_A_USER_ID,
        steps=[step for step in found.audience if step.guilds is not None or step.joined or step.left],
    )


PAGE: Final = Page(
    "usage",
    f"{HOME}/usage",
    "Usage",
    show_usage,
    UsagePageParams,
    MenuEntry(4, "Usage", "M4 20V10M10 20V4M16 20v-7M21 20H3"),
    words=("users", "people", "servers", "guilds"),
)
