"""What all pages share: what they are asked, the addresses that keep it, and the frame around each."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

from aiohttp import web
from pydantic import BeforeValidator, Field

from cogmeter import __version__
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.recording.background import paced
from cogmeter.recording.recorder import OTHER
from cogmeter.render import formatting
from cogmeter.render.palette import look_of
from cogmeter.render.rule_text import measured, rule_title
from cogmeter.schemas import safe
from cogmeter.schemas.times import at, iso
from cogmeter.times import SECOND_US
from cogmeter.web.api.params import RangeParams
from cogmeter.web.server import html
from cogmeter.web.server.context import guard_of
from cogmeter.web.server.security import LOGOUT
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.records import Range

HOME: Final = "/performance"
API: Final = "/api/performance"
CHART: Final = f"{HOME}/chart.png"
VENDOR: Final = html.STATIC_FOLDER / "vendor"
# The menu: name, address, title. A page that is not in it stands under the name of one that is.
MENU: Final = (
    ("overview", HOME, "Overview"),
    ("discord", f"{HOME}/discord", "Discord"),
    ("cost", f"{HOME}/cost", "Cost"),
    ("alerts", f"{HOME}/alerts", "Alerts"),
)
REFRESHES_S: Final = (0, 5, 15, 30, 60, 300)  # to choose from; 0: never
# They turn the text that follows them around, and with it what is not theirs.
_TURNS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def said(value: str) -> str:
    """A name or text of the host as pages say it: no Discord id in it, nothing that turns the direction of writing."""
    return _TURNS.sub("\N{REPLACEMENT CHARACTER}", safe.text(value))


def or_none(value: object) -> object:
    """A form sends what was not chosen as an empty text."""
    return None if value == "" else value


def or_default(default: str) -> Callable[[object], object]:
    """The same for what has a default."""
    return lambda value: default if value == "" else value


class PageParams(RangeParams):
    """What every page is asked: a period that ends now, or ``since`` and ``until``; a service; how often it renews."""

    period: Annotated[Literal["1h", "6h", "24h", "7d", "30d"], BeforeValidator(or_default("24h"))] = "24h"
    service: Annotated[str | None, BeforeValidator(or_none)] = None
    refresh: Annotated[Annotated[int, Field(ge=0, le=3_600)] | None, BeforeValidator(or_none)] = None


@dataclass(frozen=True, slots=True)
class PageView:
    """One look at one page: who asks for what, and the addresses of other looks."""

    monitor: Monitor
    request: web.Request
    ask: PageParams
    page: str  # a name in MENU
    own: Mapping[str, object] = field(default_factory=dict)  # what this page alone is asked, kept in its own addresses
    now_us: int = field(default_factory=now_us)
    data_since_us: int | None = None  # where charts begin, if that is after the beginning of the span

    @property
    def zoomed(self) -> bool:
        """Whether a stretch of time was asked for, and not a period that ends now."""
        return self.ask.since is not None or self.ask.until is not None

    @property
    def span(self) -> Range:
        """The stretch of time that the page is over.

        Raises:
            Problem: 422; it lies ahead.
        """
        if self.zoomed:
            return self.ask.span(self.now_us)
        return next(one for one in Period if one.key == self.ask.period).range_at(self.now_us)

    @property
    def refresh_s(self) -> float:
        """How often the page renews itself; 0: never."""
        if self.ask.refresh is not None:
            return self.ask.refresh
        return self.monitor.settings.dashboard_refresh_interval / 1000

    def kept(self, **changes: object) -> str:
        """The query of an address that asks the same but for the changes; a None is left out."""
        asked = {
            "period": None if self.zoomed or self.ask.period == "24h" else self.ask.period,
            "since": None if self.ask.since is None else iso(self.ask.since),
            "until": None if self.ask.until is None else iso(self.ask.until),
            "service": self.ask.service,
            "refresh": self.ask.refresh,
        }
        return query(asked | changes)

    def to(self, path: str, **changes: object) -> str:
        """The address of a page over the same time."""
        return f"{path}{self.kept(**changes)}"

    def here(self, **changes: object) -> str:
        """The address of this page with something changed."""
        return self.to(self.request.rel_url.raw_path, **{**self.own, **changes})

    def service(self, name: str, **changes: object) -> str:
        """The address of a service's page."""
        return self.to(f"{HOME}/services/{quote(name, safe='')}", **{"service": None, **changes})

    def times(self) -> dict[str, str | None]:
        """Return ``since`` and ``until`` for API and charts; without an end where the page continues to now."""
        span = self.span
        return {"since": iso(span.since_us), "until": iso(span.until_us) if self.ask.until is not None else None}

    def api(self, path: str, **more: object) -> str:
        """Return the API's address for the part of the time that has data: ``view.api("series", service="memory")``."""
        times = self.times() if self.data_since_us is None else self.times() | {"since": iso(self.data_since_us)}
        return f"{API}/{path}{query({**times, **more})}"

    def chart(self, **more: object) -> str:
        """The address of the picture that stands in for charts."""
        return f"{CHART}{query({**self.times(), **more})}"

    def ago(self, at_us: int | None) -> str:
        """How long ago it was, for people."""
        if at_us is None:
            return "never"
        return "just now" if self.now_us - at_us < SECOND_US else f"{formatting.duration(self.now_us - at_us)} ago"

    @staticmethod
    def better(before: float | None, now: float | None) -> bool | None:
        """Whether a figure that should be low fell (True) or rose (False) by a twentieth or more; else None."""
        if before is None or now is None or abs(now - before) < 0.05 * before or now == before:
            return None
        return now < before

    def clock(self, at_us: int) -> str:
        """A time of day in UTC, with its day where that is not today."""
        return formatting.clock_time(at_us, with_date=at_us // DAY_US != self.now_us // DAY_US)

    def moment(self, at_us: int) -> str:
        """The same to the second."""
        return f"{self.clock(at_us)}:{at_us // SECOND_US % 60:02}"


def query(values: dict[str, Any]) -> str:
    """Parameters as they stand behind an address, without those that are None; empty without any."""
    said = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(said, quote_via=quote)}" if said else ""


def has_uplot() -> bool:
    """Whether the chart library is there; without it, charts are pictures."""
    return (VENDOR / "uPlot.iife.min.js").is_file()


async def answer(view: PageView, template: str, *, title: str, **values: Any) -> web.Response:
    """The page, in its frame. Templates are given the view, ``text`` (`render/formatting.py`) and the values."""
    guard = guard_of(view.request)
    view = replace(view, data_since_us=(await view.monitor.query.covered(view.span)).since_us)
    made = await rendered(
        template,
        view=view,
        title=title,
        menu=MENU,
        periods=[(one.key, one.label) for one in Period],
        refreshes=REFRESHES_S,
        all_services=await _services(view),
        shown_span=shown_span(view),
        uplot=has_uplot(),
        csrf=guard.csrf_token(),
        logout=LOGOUT if guard.has_token else None,
        version=__version__,
        text=formatting,
        safe=said,
        iso=iso,
        look_of=look_of,
        rule_title=rule_title,
        measured=measured,
        **values,
    )
    return web.Response(text=made, content_type="text/html", charset="utf-8")


async def rendered(template: str, **values: Any) -> str:
    """Return the text of a template, made in short pieces, so that a table of many services does not block the loop."""
    generated = html.environment().get_template(template).generate(**values)
    return "".join([piece async for piece in paced(generated)])


async def _services(view: PageView) -> list[str]:
    """The services to choose from. The one for what is too much to be told apart is there when there was too much."""
    wanted = view.monitor.recorder.overflowed or view.ask.service == OTHER
    return [name for name in await view.monitor.query.names() if name != OTHER or wanted]


def shown_span(view: PageView) -> str:
    """The stretch of time in people's words."""
    return f"{stretch(view.span, view.now_us)} UTC" if view.zoomed else view.span.label


def stretch(span: Range, now_us: int) -> str:
    """From when to when, in UTC: ``17 Aug 10:30 to 11:45``; days as they are said, with years that are not this one."""
    midnight = span.until_us % DAY_US == 0  # said as the last minute of the day before
    since, until, this_year = at(span.since_us), at(span.until_us - midnight), at(now_us).year
    end = f"{until:%H:%M}" if since.date() == until.date() else _moment(until, this_year)
    return f"{_moment(since, this_year)} to {end}"


def _moment(moment: datetime, this_year: int) -> str:
    year = f" {moment.year}" if moment.year != this_year else ""
    return f"{moment.day} {moment:%b}{year} {moment:%H:%M}"
