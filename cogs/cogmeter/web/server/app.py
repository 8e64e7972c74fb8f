"""One server's application: its routes, who is let in, what every answer carries, and errors as problems."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from aiohttp import web

from cogmeter.web.api.openapi import document, written
from cogmeter.web.api.request_parsing import BODY_BYTES
from cogmeter.web.api.routes.table import PAGES, ROUTES
from cogmeter.web.api.routing import problem_of, serve
from cogmeter.web.server import html
from cogmeter.web.server.context import SERVED, ServerContext, guard_of
from cogmeter.web.server.files import add_files
from cogmeter.web.server.negotiation import prefers_html
from cogmeter.web.server.security import LOGIN, LOGOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogmeter.web.api.routing import Route
    from cogmeter.web.server.context import Shared

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it, browsers send our own login form with `Origin: null`, as they do another site's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "cogmeter",
}


def build(shared: Shared, *, pages: bool) -> web.Application:
    """The application of one server, with the dashboard's pages or without. Slow: call it in a thread."""
    # A slash too many at the end leads to the path without it, once it is clear who asks.
    slashes = web.normalize_path_middleware(append_slash=False, remove_slash=True, merge_slashes=False)
    app = web.Application(middlewares=[_problems, _admit, slashes], client_max_size=BODY_BYTES)
    routes = (*ROUTES, *PAGES) if pages else ROUTES
    described = document(routes, cookie=shared.guard.cookie if shared.guard.has_token else None)
    app[SERVED] = ServerContext(shared, written(described))
    _add(app, routes)
    app.router.add_get("/", _to("/performance" if pages else "/api"))
    app.router.add_get("/api/performance", _to("/api"))  # what the guide calls the API's address
    add_files(app)
    app.on_response_prepare.append(_dress)
    return app


def _add(app: web.Application, routes: Sequence[Route]) -> None:
    for route in routes:
        handler = serve(route)
        path = re.sub(r"{(\w+)}", r"{\1:[^/]+}", route.path)  # a name may have braces, which aiohttp leaves out
        app.router.add_route(route.method, path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", path, handler)


def _to(path: str) -> Handler:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={"Location": path})

    return redirect


@web.middleware
async def _admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    guard_of(request).admit(request)
    return await handler(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (asyncio.CancelledError, ConnectionError, web.HTTPRedirection):  # the client has left, or is led elsewhere
        raise
    except Exception as error:  # noqa: BLE001 - problem_of logs and counts what nobody foresaw
        problem = problem_of(error, request)
    if not _wants_page(request):
        return problem.response(request.rel_url.raw_path)
    if problem.status == 401 and request.method in {"GET", "HEAD"}:
        return _sign_in(request)
    made = html.page("problem.html", status=problem.status, problem=problem)
    made.headers.update(problem.headers)
    return made


def _sign_in(request: web.Request) -> web.StreamResponse:
    """The way to the login page."""
    here = str(request.rel_url)
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # A link from elsewhere comes without our strict cookie; the same address asked for by our own page has it.
        return html.page("again.html", url=here)
    return web.Response(status=303, headers={"Location": f"{LOGIN}?next={quote(here, safe='/')}"})


def _wants_page(request: web.Request) -> bool:
    """Whether somebody looks at it in a browser."""
    in_pages = request.path == "/" or request.path.rstrip("/") == "/api" or request.path.startswith("/performance")
    return in_pages and prefers_html(request.headers.get("Accept", ""))


async def _dress(request: web.Request, response: web.StreamResponse) -> None:
    """Set what every answer carries."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    # Files of ours are asked for anew each time, and sent when they have changed; what is answered is kept nowhere.
    cache = "no-cache" if request.path.startswith(f"{html.STATIC}/") else "no-store"
    response.headers.setdefault("Cache-Control", cache)


def context(request: web.Request) -> dict[str, Any]:
    """What every page's template is given: ``csrf`` for its changes, and where a session is ended, if there are any."""
    guard = guard_of(request)
    return {"csrf": guard.csrf_token(), "logout": LOGOUT if guard.has_token else None}
