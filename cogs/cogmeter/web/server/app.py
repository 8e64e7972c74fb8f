"""One server's application: its routes, access control, headers, and errors as problem documents."""

from __future__ import annotations

import asyncio
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import web

from cogmeter.query.name_matching import suggest
from cogmeter.web.api.bodies import BODY_BYTES
from cogmeter.web.api.routes import (
    alerts,
    comparison,
    erasure,
    errors,
    fleet,
    health,
    live,
    openapi,
    operations,
    resources,
    state,
    statistics,
    thresholds,
)
from cogmeter.web.api.routing import CONTEXT, ServerContext, guard_of, monitor_of, problem_of, serve
from cogmeter.web.pages import status
from cogmeter.web.pages.frame import HOME, MENU, menu_of, service_url
from cogmeter.web.pages.table import PAGE_ROUTES, PAGES
from cogmeter.web.server import login
from cogmeter.web.server.assets import STATIC, add_static_files, html_response
from cogmeter.web.server.negotiation import prefers_html
from cogmeter.web.server.security import LOGIN
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cogmeter.web.api.problems import Problem
    from cogmeter.web.api.routing import Route, Shared

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Every route of the API. The pages are in ``pages/table.py``.
ROUTES: Final[tuple[Route, ...]] = (
    *statistics.ROUTES,
    *comparison.ROUTES,
    *operations.ROUTES,
    *errors.ROUTES,
    *alerts.ROUTES,
    *thresholds.ROUTES,
    *live.ROUTES,
    *openapi.ROUTES,
    *login.ROUTES,
    *health.ROUTES,
    *state.ROUTES,
    *resources.ROUTES,
    *fleet.ROUTES,
    *erasure.ROUTES,
)

ALIKE: Final = 0.6  # least likeness of a name that is suggested
SUGGESTED: Final = 3
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would then send our own login form with `Origin: null`, like a form of another site.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "cogmeter",
}


def build(shared: Shared, *, pages: bool) -> web.Application:
    """Build the application of one server, with or without the dashboard's pages. Slow: call it in a thread."""
    # A trailing slash redirects to the path without it, after the access check.
    slashes = web.normalize_path_middleware(append_slash=False, remove_slash=True, merge_slashes=False)
    app = web.Application(middlewares=[_problems, _admit, slashes], client_max_size=BODY_BYTES)
    routes = (*ROUTES, *PAGE_ROUTES) if pages else ROUTES
    if shared.status is not None:
        routes = (*routes, *status.ROUTES)
        status.add(app, shared.status)
    document = openapi.document(routes, cookie=shared.guard.cookie if shared.guard.has_token else None)
    app[CONTEXT] = ServerContext(shared, openapi.rendered(document))
    app[MENU] = menu_of(PAGES) if pages else ()
    _add(app, routes)
    app.router.add_get("/", _redirect_to("/performance" if pages else "/api"))
    app.router.add_get("/api/performance", _redirect_to("/api"))  # the guide's base URL of the API
    add_static_files(app)
    app.on_response_prepare.append(_add_headers)
    return app


def _add(app: web.Application, routes: Sequence[Route]) -> None:
    for route in routes:
        handler = serve(route)
        path = re.sub(r"{(\w+)}", r"{\1:[^/]+}", route.path)  # names may contain braces, which aiohttp excludes
        app.router.add_route(route.method, path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", path, handler)


def _redirect_to(path: str) -> Handler:
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
    except (asyncio.CancelledError, ConnectionError, web.HTTPRedirection):  # the client has left, or is redirected
        raise
    except Exception as error:  # noqa: BLE001 - problem_of logs and counts unexpected errors
        problem = problem_of(error, request)
    if not _is_page_request(request):
        return problem.response(request.rel_url.raw_path)
    if problem.status == 401 and request.method in {"GET", "HEAD"}:
        return _sign_in(request)
    links = await _similar(request, problem) if problem.status == 404 else []
    menu = request.app[MENU]
    page = html_response("problem.html", status=problem.status, problem=problem, menu=menu, similar=links)
    page.headers.update(problem.headers)
    return page


async def _similar(request: web.Request, problem: Problem) -> list[tuple[str, str]]:
    """Return names and URLs of pages whose name is similar to the one that does not exist, best first."""
    near, parameter = problem.extra.get("near", []), problem.extra.get("parameter")
    if parameter == "service":
        return [(name, service_url(name)) for name in near]
    if parameter == "operation":
        service = request.match_info.get("service", "")
        return [(name, service_url(service, name)) for name in near]
    if request.match_info.http_exception is None:
        return []
    for typed in reversed(request.path.casefold().removeprefix(HOME).strip("/").split("/")):
        if links := await _meant(request, typed):
            return links
    return []


async def _meant(request: web.Request, typed: str) -> list[tuple[str, str]]:
    """Return the pages that a part of a path names, else the pages and services that are spelled similarly."""
    pages = [page for page in PAGES if "{" not in page.path and request.app[MENU]]
    if found := [page for page in pages if typed in page.names]:
        return [(page.title, page.path) for page in found]
    links = {name: (page.title, page.path) for page in pages for name in sorted(page.names)}
    links |= {name: (name, service_url(name)) for name in await _stored_services(request)}
    scores = {name: _likeness(typed, name.casefold()) for name in await suggest(typed, links, len(links))}
    likely = sorted((name for name in scores if scores[name] >= ALIKE), key=lambda name: -scores[name])
    return list(dict.fromkeys(links[name] for name in likely))[:SUGGESTED]


def _likeness(typed: str, name: str) -> float:
    """Return how likely a name is meant, from 0 to 1; that it has the same letters somewhere is not enough."""
    return max(SequenceMatcher(None, typed, name).ratio(), ALIKE if len(typed) > 1 and typed in name else 0.0)


async def _stored_services(request: web.Request) -> list[str]:
    """Return the stored services, none if the store cannot be read: the problem is shown in any case."""
    try:
        return list(await monitor_of(request).query.names())
    except StorageError:
        return []


def _sign_in(request: web.Request) -> web.StreamResponse:
    """Redirect to the login page."""
    url = str(request.rel_url)
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # A link from another site comes without our strict cookie. Loaded again by our own page, the URL has it.
        return html_response("again.html", url=url)
    return web.Response(status=303, headers={"Location": f"{LOGIN}?next={quote(url, safe='/')}"})


def _is_page_request(request: web.Request) -> bool:
    """Return True for a page opened in a browser."""
    path = request.path
    in_pages = path == "/" or path.rstrip("/") == "/api" or path.startswith(HOME)
    is_unknown = request.match_info.http_exception is not None and not path.startswith("/api/")
    return (in_pages or is_unknown) and prefers_html(request.headers.get("Accept", ""))


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers of every response."""
    for name, value in HEADERS.items():
        if name not in response.headers or name == "Server":  # aiohttp has named itself and its version
            response.headers[name] = value
    # Browsers revalidate our files at each use, and store no other response.
    cache = "no-cache" if request.path.startswith(f"{STATIC}/") else "no-store"
    response.headers.setdefault("Cache-Control", cache)
