"""A route is a record: its path, its handler, and the models of what it is asked and answers; this file serves it.

The same records make ``/openapi.json``. A handler is called with the monitor and, by the names of its further
parameters, with what it wants: ``ask`` (the query model), ``body``, ``request``, ``actor`` (who changes something, for
the audit) and any name in the path's braces.
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
from cogmeter.web.api.json_body import json_body
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.request_parsing import BODY_BYTES, Body, QueryParams, parameters, read_body, read_parameters
from cogmeter.web.server.context import monitor_of
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from pydantic import BaseModel


__all__ = [
    "CALLER",
    "FAULT",
    "Body",
    "Caller",
    "Problem",
    "QueryParams",
    "Reply",
    "Route",
    "Stream",
    "problem_of",
    "serve",
]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is known: ``api`` with the token itself, else ``dashboard`` and the session, if any."""

    actor: str
    session: str = ""


CALLER: Final[ContextVar[Caller]] = ContextVar("cogmeter_caller")  # each request is handled in a context of its own
REPEAT_S: Final = 60.0
FAULT: Final = "web"  # what unforeseen errors are counted under in Monitor.faults

_logger = logging.getLogger("cogmeter.web")


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    method: str
    path: str  # "/api/performance/services/{service}"
    handler: Callable[..., Awaitable[Any]]  # answers its answer model, a Reply, a Stream or a web.StreamResponse
    summary: str
    query: type[BaseModel] | None = None  # one field per parameter; path parameters are fields of it, too
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None  # None: documented by ``media``
    media: Mapping[str, str] = field(default_factory=dict)  # media type -> description, for other answers than JSON
    status: int = 200
    others: Mapping[int, type[BaseModel]] = field(default_factory=dict)  # further statuses that a Reply may have
    problems: tuple[int, ...] = ()  # statuses beside 401, 403, 422, 429, 500, 503 that it may answer
    changes: bool = False  # it needs the same origin and a token, and is finished although its client leaves
    documented: bool = True  # in /openapi.json; pages are not


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with another status than the route's, or with headers of its own."""

    answer: BaseModel
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer of any length, sent piece by piece as fast as the client takes it."""

    pieces: AsyncIterator[bytes]
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


def serve(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""
    known = [] if route.query is None else parameters(route.query)
    wanted = tuple(inspect.signature(route.handler).parameters)[1:]
    in_path = re.findall(r"{(\w+)}", route.path)
    ask_of = route.query or QueryParams

    async def handle(request: web.Request) -> web.StreamResponse:
        given: dict[str, Any] = {"request": request, "actor": CALLER.get().actor}
        ask = given["ask"] = read_parameters(ask_of, known, request.match_info, _query(request))
        if route.body is not None:
            given["body"] = await read_body(route.body, request)
        for one in known:
            if one.name in in_path:
                given[one.name] = getattr(ask, one.field)
        work = route.handler(monitor_of(request), **{name: given[name] for name in wanted})
        made = await (_whole(work, route) if route.changes else work)
        return await _response(made, route, request)

    return handle


def _query(request: web.Request) -> str:
    """The query as it was sent: aiohttp's own reading takes a value's comma for one between values."""
    return request.raw_path.partition("#")[0].partition("?")[2]


async def _whole(work: Awaitable[Any], route: Route) -> Any:
    """What the work gives; it runs to its end although the client leaves meanwhile."""

    async def finish() -> Any:
        return await work

    return await asyncio.shield(detached(finish(), name=f"cogmeter {route.method} {route.path}"))


async def _response(made: Any, route: Route, request: web.Request) -> web.StreamResponse:
    if isinstance(made, web.StreamResponse):
        return made
    if isinstance(made, Stream):
        return await _streamed(made, route, request)
    reply = made if isinstance(made, Reply) else Reply(made)
    return web.Response(
        status=reply.status or route.status,
        body=await json_body(reply.answer),
        content_type="application/json",
        headers=dict(reply.headers),
    )


async def _streamed(made: Stream, route: Route, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=route.status, headers={**made.headers, "Content-Type": made.media_type})
    pieces = made.pieces
    try:
        # Two pieces before the head, for the first may be a line of names that needs no store: what cannot be begun is
        # still answered by a problem.
        first = await anext(pieces, b"") + await anext(pieces, b"")
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        await response.write(first)
        pace = Slicer()
        async for piece in pieces:
            await response.write(piece)
            await pace.pause()  # making and writing a piece often wait for nothing
    except ConnectionError:
        raise
    except Exception as error:
        if not response.prepared:
            raise
        problem_of(error, request)  # counts and logs; the client learns by the torn connection
        if request.transport is not None:
            request.transport.abort()
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
    return response


class LogThrottle:
    """What was said of the store in the log: the same is said once in REPEAT_S, however many ask meanwhile."""

    def __init__(self) -> None:
        self._said_s: dict[str, float] = {}

    def is_due(self, text: str) -> bool:
        """Whether to say it; then it is said."""
        now_s = time.perf_counter()
        self._said_s = {said: at_s for said, at_s in self._said_s.items() if now_s - at_s < REPEAT_S}
        is_due = text not in self._said_s
        self._said_s.setdefault(text, now_s)
        return is_due


def problem_of(error: Exception, request: web.Request) -> Problem:
    """The problem that an error is to the client; one that nobody foresaw is counted and logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnknownNameError):
        return Problem(404, f"Unknown {error.kind}", str(error), parameter=error.kind, near=list(error.near))
    if isinstance(error, web.HTTPException):
        return _of_http(error, request)
    if isinstance(error, StorageError):
        told = monitor_of(request).beside.setdefault(LogThrottle, LogThrottle())
        level = logging.WARNING if told.is_due(str(error)) else logging.DEBUG
        _logger.log(level, "%s %s: the store does not answer: %s", request.method, _template(request), error)
        return Problem.of(503, "The database does not answer; the bot's log says why", headers={"Retry-After": "5"})
    monitor_of(request).faults[FAULT] += 1
    _logger.error("%s %s failed", request.method, _template(request), exc_info=error)
    return Problem.of(500, "Something went wrong in cogmeter; the bot's log says what")


def _of_http(error: web.HTTPException, request: web.Request) -> Problem:
    """The problem in place of aiohttp's own page."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return Problem.of(405, f"{request.method} is not known here; there are: {allow}", headers={"Allow": allow})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem.of(413, f"The body may have {BODY_BYTES} bytes", headers={"Connection": "close"})
    if isinstance(error, web.HTTPNotFound):
        return Problem.of(404, "There is nothing at this path; /api lists what there is")
    return Problem(error.status, error.reason, f"The request is answered with {error.status} {error.reason}")


def _template(request: web.Request) -> str:
    """The path as its route says it: what stands in its place may be anybody's text."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(unknown path)"
