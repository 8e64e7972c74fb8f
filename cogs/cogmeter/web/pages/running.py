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
    operations = await reader.page(LISTED)
    service = view.params.service
    return await page_response(
        view,
        "running.html",
        title="Running now",
        operations=[operation for operation in operations if service in {None, operation.service}],
        total=len(reader),
        left_out=len(reader) - len(operations),
    )


PAGE: Final = Page(
    "running",
    f"{HOME}/running",
    "Running now",
    show_running,
    PageParams,
    MenuEntry(3, "Running", "M12 3a9 9 0 1 0 9 9M12 7v5l3 3M16 3.5l4.5 4.5"),
)
