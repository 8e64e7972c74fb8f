"""The page "Running now": the operations that have begun and not ended, with the line that each waits in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.web.pages.frame import HOME, MenuEntry, Page, PageParams, PageView, page_response

if TYPE_CHECKING:
    from aiohttp import web

LISTED: Final = 200  # the longest


async def show_running(view: PageView[PageParams]) -> web.Response:
    """Show the operations that run now, of all services or of the selected one."""
    reader = await view.monitor.running()
    service, count = view.params.service, len(reader)
    if service is None:
        operations = await reader.page(LISTED)
    else:
        operations = [operation for operation in await reader.page(count) if operation.service == service]
        count = len(operations)
    return await page_response(
        view,
        "running.html",
        title="Running now",
        operations=operations[:LISTED],
        count=count,
        left_out=max(count - LISTED, 0),
    )


PAGE: Final = Page(
    "running",
    f"{HOME}/running",
    "Running now",
    show_running,
    PageParams,
    MenuEntry(3, "Running", "M12 3a9 9 0 1 0 9 9M12 7v5l3 3M16 3.5l4.5 4.5"),
    words=("live", "now", "active", "current", "tasks"),
)
