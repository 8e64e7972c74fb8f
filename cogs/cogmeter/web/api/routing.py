"""Serves a route: a record of its path, its handler, and the models of its parameters, body and response.

``/openapi.json`` is built from the same records. A handler is called with the monitor and, by the names of its further
parameters, with what it needs: ``params`` (the query model), ``body``, ``request``, ``shared`` (see ``Shared``),
``actor`` (who makes a change, for the audit log) and any name in the path's braces.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from cogmeter.query.records import UnknownNameError
from cogmeter.recording.background import Slicer, detached
from cogmeter.web.api.bodies import BODY_BYTES, json_body, read_body
from cogmeter.web.api.params import QueryParams, parameters, read_parameters
from cogmeter.web.api.problems import Problem
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from pydantic import BaseModel

    from cogmeter.diagnostics.health import Health
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.routes.live import Live
    from cogmeter.web.metrics.scrape import Scraper
    from cogmeter.web.pages.status import StatusPage
    from cogmeter.web.server.limits import StreamLimit
    from cogmeter.web.server.security import Guard

REPEAT_S: Final = 60.0
FAULT: Final = "web"  # unexpected errors are counted under this name in Monitor.faults

_logger = logging.getLogger("cogmeter.web")


# The records ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str  # "/api/performance/services/{service}"
    handler: Callable[..., Awaitable[Any]]  # returns its response model, a Reply, a Stream or a web.StreamResponse
    summary: str
    query: type[BaseModel] | None = None  # one field for each parameter, path parameters included
    body: type[BaseModel] | None = None
    response: type[BaseModel] | None = None  # None: documented by ``media``
    media: Mapping[str, str] = field(default_factory=dict)  # media type -> description, for responses other than JSON
    status: int = 200
    other_responses: Mapping[int, type[BaseModel]] = field(default_factory=dict)  # by the other statuses of a Reply
    problems: tuple[int, ...] = ()  # statuses in addition to 401, 403, 422, 429, 500, 503
    changes: bool = False  # it needs the same origin and a token, and completes even if the client disconnects
    documented: bool = True  # in /openapi.json; pages are not
    tag: str = ""  # in /openapi.json; empty: the name of the handler's module


@dataclass(frozen=True, slots=True)
class Reply:
    """A response with another status than the route's, or with its own headers."""

    model: BaseModel
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """A response of any length, sent in chunks as fast as the client reads."""

    chunks: AsyncIterator[bytes]
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


# What a handler can reach -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that all servers of one bot share."""

    monitor: Monitor
    guard: Guard
    streams: StreamLimit
    health: Health
    live: Live
    scraper: Scraper
    log_throttle: LogThrottle
    status: StatusPage | None = None  # with PERFORMANCE_STATUS_PAGE


@dataclass(frozen=True, slots=True)
class ApiDocument:
    """The OpenAPI document as it is sent."""

    json: bytes
    page: str


class ServerContext:
    """The parts behind an application, dropped when its server stops.

    aiohttp caches the handlers of the last 1,024 applications and keeps the applications alive with them. A stopped
    one must not keep its monitor alive.
    """

    def __init__(self, shared: Shared, document: ApiDocument) -> None:
        self._parts: tuple[Shared, ApiDocument] | None = shared, document

    def clear(self) -> None:
        """Drop everything; the server has stopped."""
        self._parts = None

    @property
    def shared(self) -> Shared:
        """The parts that all servers of the bot share.

        Raises:
            Problem: 503; the server has stopped.
        """
        return self._present()[0]

    @property
    def document(self) -> ApiDocument:
        """The OpenAPI document.

        Raises:
            Problem: 503; the server has stopped.
        """
        return self._present()[1]

    def _present(self) -> tuple[Shared, ApiDocument]:
        if self._parts is None:
            raise Problem.of(503, "The server has stopped")
        return self._parts


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request: ``api`` with the token itself, else ``dashboard`` with its session, if any."""

    actor: str
    session: str = ""


CONTEXT: Final = web.AppKey("cogmeter.context", ServerContext)
CALLER: Final[ContextVar[Caller]] = ContextVar("cogmeter_caller")  # each request is handled in its own context


def monitor_of(request: web.Request) -> Monitor:
    """Return the monitor behind a request."""
    return request.app[CONTEXT].shared.monitor


def guard_of(request: web.Request) -> Guard:
    """Return the guard of the request's server."""
    return request.app[CONTEXT].shared.guard


# Serving ----------------------------------------------------------------------------------------------------------


def serve(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return the aiohttp handler of a route."""
    known = [] if route.query is None else parameters(route.query)
    needed = tuple(inspect.signature(route.handler).parameters)[1:]
    in_path = re.findall(r"{(\w+)}", route.path)
    model = route.query or QueryParams

    async def handle(request: web.Request) -> web.StreamResponse:
        arguments: dict[str, Any] = {
            "request": request,
            "actor": CALLER.get().actor,
            "shared": request.app[CONTEXT].shared,
        }
        params = arguments["params"] = read_parameters(model, known, request.match_info, _raw_query(request))
        if route.body is not None:
            arguments["body"] = await read_body(route.body, request)
        for parameter in known:
            if parameter.name in in_path:
                arguments[parameter.name] = getattr(params, parameter.field)
        work = route.handler(monitor_of(request), **{name: arguments[name] for name in needed})
        result = await (_uninterrupted(work, route) if route.changes else work)
        return await _response(result, route, request)

    return handle


def _raw_query(request: web.Request) -> str:
    """Return the query as it was sent: aiohttp's own parser would decode a %2C before the values are split."""
    return request.raw_path.partition("#")[0].partition("?")[2]


async def _uninterrupted(work: Awaitable[Any], route: Route) -> Any:
    """Await the work; it runs to its end even if the client disconnects."""

    async def finish() -> Any:
        return await work

    return await asyncio.shield(detached(finish(), name=f"cogmeter {route.method} {route.path}"))


async def _response(result: Any, route: Route, request: web.Request) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, Stream):
        return await _streamed(result, route, request)
    reply = result if isinstance(result, Reply) else Reply(result)
    return web.Response(
        status=reply.status or route.status,
        body=await json_body(reply.model),
        content_type="application/json",
        headers=dict(reply.headers),
    )


async def _streamed(stream: Stream, route: Route, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=route.status, headers={**stream.headers, "Content-Type": stream.media_type})
    chunks = stream.chunks
    try:
        # Two chunks before the head: the first may be a header line that needs no store. A failure up to here can
        # still be sent as a problem.
        first = await anext(chunks, b"") + await anext(chunks, b"")
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await response.write(first)
        pace = Slicer()
        async for chunk in chunks:
            await response.write(chunk)
            await pace.pause()  # making and writing a chunk often awaits nothing
    except ConnectionError:
        raise
    except Exception as error:
        if not response.prepared:
            raise
        problem_of(error, request)  # counts and logs; the client sees a broken connection
        if request.transport is not None:
            request.transport.abort()
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
    return response


# Errors -----------------------------------------------------------------------------------------------------------


class LogThrottle:
    """Limits repeated log messages: the same text passes once in REPEAT_S."""

    def __init__(self) -> None:
        self._logged_s: dict[str, float] = {}

    def is_due(self, text: str) -> bool:
        """Return True if the text may be logged now, and remember it."""
        now_s = time.perf_counter()
        self._logged_s = {logged: at_s for logged, at_s in self._logged_s.items() if now_s - at_s < REPEAT_S}
        is_due = text not in self._logged_s
        self._logged_s.setdefault(text, now_s)
        return is_due


def problem_of(error: Exception, request: web.Request) -> Problem:
    """Return the problem to send for an error; an unexpected one is counted and logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnknownNameError):
        return Problem(404, f"Unknown {error.kind}", str(error), parameter=error.parameter, near=list(error.near))
    if isinstance(error, web.HTTPException):
        return _of_http_error(error, request)
    if isinstance(error, StorageError):
        throttle = request.app[CONTEXT].shared.log_throttle
        level = logging.WARNING if throttle.is_due(str(error)) else logging.DEBUG
        _logger.log(level, "%s %s: cannot read the database: %s", request.method, _template(request), error)
        return Problem.of(503, "Cannot read the database. The bot's log has the reason", headers={"Retry-After": "5"})
    monitor_of(request).faults[FAULT] += 1
    _logger.error("%s %s failed", request.method, _template(request), exc_info=error)
    return Problem.of(500, "Internal error in cogmeter. The bot's log has the details")


def _of_http_error(error: web.HTTPException, request: web.Request) -> Problem:
    """Return the problem that replaces aiohttp's own error page."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return Problem.of(405, f"{request.method} is not supported here. Allowed: {allow}", headers={"Allow": allow})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = f"The body is too large. At most {BODY_BYTES} bytes are allowed"
        return Problem.of(413, detail, headers={"Connection": "close"})
    if isinstance(error, web.HTTPNotFound):
        return Problem.of(404, "Nothing exists at this path. See /api for the list of paths")
    return Problem(error.status, error.reason, f"The request failed with {error.status} {error.reason}")


def _template(request: web.Request) -> str:
    """Return the path of the route, because the actual path may contain any text."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown path)"
