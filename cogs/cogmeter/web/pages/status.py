"""The public status page, its badge and its JSON: no token, no figures of use, no names of services.

They are made at most once in CACHE_S, and a client may request them REQUESTS times a minute.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.diagnosis import PublicState
from cogmeter.diagnostics.uptime import Uptime
from cogmeter.schemas.status import PublicStatus
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route
from cogmeter.web.pages.frame import displayed
from cogmeter.web.server.assets import render
from cogmeter.web.server.limits import RateLimit
from cogmeter.web.server.security import BADGE, STATUS, STATUS_JSON, client_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cogmeter.diagnostics.health import Health
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.routing import Shared

CACHE_S: Final = 30.0
REQUESTS: Final = 60  # of one client in a minute
# The word, and the colour of the badge; white text has a contrast of 4.5 on each.
WORDS: Final = {
    PublicState.UP: ("Up", "#17724a"),
    PublicState.DEGRADED: ("Degraded", "#875600"),
    PublicState.DOWN: ("Down", "#b83210"),
}
BAR: Final = 5  # width of a day in the picture
HEIGHTS: Final = {PublicState.UP: 34, PublicState.DEGRADED: 24, PublicState.DOWN: 14, None: 4}


@dataclass(frozen=True, slots=True)
class DayBar:
    """One day in the picture: its place, and its text."""

    x: int
    height: int
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class StatusBodies:
    """The bodies that are sent."""

    page: str
    badge: str
    json: str


class StatusPage:
    """The status page of one bot."""

    def __init__(self, monitor: Monitor, health: Health) -> None:
        self._monitor = monitor
        self.uptime = Uptime(monitor, health)
        self._limit = RateLimit(REQUESTS, 60.0)
        self._lock = asyncio.Lock()
        self._made: tuple[float, StatusBodies] | None = None

    async def bodies(self, request: web.Request) -> StatusBodies:
        """Return the bodies, at most CACHE_S old.

        Raises:
            Problem: 429; the client has requested too many.
            StorageError: the store does not answer.
        """
        if wait_s := self._limit.count(client_of(request)):
            detail = f"Too many requests. Try again in {wait_s} s"
            raise Problem.of(429, detail, headers={"Retry-After": str(wait_s)})
        async with self._lock:
            if self._made is None or time.perf_counter() - self._made[0] >= CACHE_S:
                status = PublicStatus.of(await self.uptime.state(), await self.uptime.days())
                self._made = time.perf_counter(), _bodies(status, _name(self._monitor))
            return self._made[1]


def add(app: web.Application, page: StatusPage) -> None:
    """Serve page and badge with any parameters: links from other sites often have some."""

    async def show_page(request: web.Request) -> web.Response:
        return _response((await page.bodies(request)).page, "text/html")

    async def show_badge(request: web.Request) -> web.Response:
        response = _response((await page.bodies(request)).badge, "image/svg+xml")
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"  # for a README or a website
        return response

    handlers: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {STATUS: show_page, BADGE: show_badge}
    for path, handler in handlers.items():
        app.router.add_get(path, handler)


async def read_status(_monitor: Monitor, shared: Shared, request: web.Request) -> web.Response:
    """Return the status as JSON."""
    assert shared.status is not None, "the route exists only with it"
    return _response((await shared.status.bodies(request)).json, "application/json")


def _response(body: str, media_type: str) -> web.Response:
    response = web.Response(text=body, content_type=media_type, charset="utf-8")
    response.headers["Cache-Control"] = f"public, max-age={CACHE_S:.0f}"
    return response


def _name(monitor: Monitor) -> str:
    return displayed(monitor.bot.user.name) if monitor.bot.user is not None else "Bot"


def _bodies(status: PublicStatus, name: str) -> StatusBodies:
    word, colour = WORDS[status.status]
    known = [day for day in status.days if day.status is not None]
    page = render(
        "status.html",
        name=name,
        word=word,
        status=status,
        bars=_bars(status),
        known=known[::-1],
        width=BAR * len(status.days),
        most=HEIGHTS[PublicState.UP],
        percent=_percent,
    )
    return StatusBodies(page, render("badge.svg", word=word.lower(), colour=colour), status.model_dump_json())


def _bars(status: PublicStatus) -> list[DayBar]:
    bars = []
    for place, day in enumerate(status.days):
        text = f"{day.date}: no data" if day.uptime is None else f"{day.date}: {_percent(day.uptime)} up"
        state = "none" if day.status is None else day.status.value
        bars.append(DayBar(place * BAR, HEIGHTS[day.status], state, text))
    return bars


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


ROUTES: Final = (
    Route(
        "GET",
        STATUS_JSON,
        read_status,
        "Get the public status: up, degraded or down, and the uptime of each of 90 days",
        tag="health",
        response=PublicStatus,
        problems=(429,),
    ),
)
