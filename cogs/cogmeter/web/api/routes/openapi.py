"""What the API says of itself: ``/openapi.json``, and the same as a page to read at ``/api``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.web.api.routing import Route
from cogmeter.web.server.context import SERVED

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


async def read_openapi(_monitor: Monitor, request: web.Request) -> web.Response:
    """The document, built once when its server started."""
    return web.Response(body=request.app[SERVED].description.json, content_type="application/json")


async def read_api_page(_monitor: Monitor, request: web.Request) -> web.Response:
    """The document as a list, which needs no script."""
    return web.Response(text=request.app[SERVED].description.page, content_type="text/html", charset="utf-8")


ROUTES: Final = (
    Route(
        "GET",
        "/openapi.json",
        read_openapi,
        "This API as an OpenAPI 3.1 document",
        media={"application/json": "An OpenAPI 3.1 document"},
    ),
    Route("GET", "/api", read_api_page, "This API as a page to read", media={"text/html": "A page"}, documented=False),
)
