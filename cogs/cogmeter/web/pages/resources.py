"""The page "Resources": CPU, memory, event-loop lag, GC, network and open files, their growth, and what grew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.resources import RESOURCES, resources
from cogmeter.render import formatting
from cogmeter.render.resource_text import growth_text, newest_title, rate_text, value_text
from cogmeter.web.pages.chart_context import chart_context
from cogmeter.web.pages.frame import HOME, Page, PageParams, PageView, page_response
from cogmeter.web.pages.selection import selection

if TYPE_CHECKING:
    from aiohttp import web

    from cogmeter.query.resources import Resource

OWN_SCALE: Final = "log"


async def show_resources(view: PageView[PageParams]) -> web.Response:
    """Show the resources of the bot's process."""
    use = await resources(view.query, view.span)
    return await page_response(
        view,
        "resources.html",
        title="Resources",
        use=use,
        newest_title=formatting.sentence(newest_title(use.range.until_us, view.now_us)),
        rates=rate_text(None if use.rate_us is None else use.rate_us / 1e6),
        panels=[panel for panel in RESOURCES if not panel.counter],
        rules_of=_rules,
        grown=None if view.params.process else view.monitor.watcher.grown,
        value_text=value_text,
        growth_text=growth_text,
        chart_context=await chart_context(view),
        selection=await selection(view),
    )


def _rules(resource: Resource) -> str:
    """Return the alert rules whose alerts are drawn on the chart of a resource."""
    return {"memory": "memory_growth memory_limit", "lag": "stall"}.get(resource.key, "")


PAGE: Final = Page(
    "discord",
    f"{HOME}/resources",
    "Resources",
    show_resources,
    PageParams,
    None,
    words=("memory", "cpu", "network", "loop"),
)
