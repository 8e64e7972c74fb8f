"""The base of all pages: a page's facts, its parameters, its URLs, and the frame around its content."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

from aiohttp import web
from markupsafe import Markup
from pydantic import BeforeValidator, Field, model_validator

from cogmeter import __version__
from cogmeter.query.comparison_periods import reference
from cogmeter.query.fleet import process_names
from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.recording.background import paced
from cogmeter.recording.recorder import OTHER
from cogmeter.render import error_text, formatting, links, slow_text
from cogmeter.render.palette import look_of
from cogmeter.render.rule_text import alert_text, change_value_text, rule_title, value_text
from cogmeter.schemas import safe
from cogmeter.schemas.times import Since, Until, iso, past_part, requested_range
from cogmeter.times import SECOND_US
from cogmeter.web.api.params import Process, RangeParams, check_order, check_past
from cogmeter.web.api.routing import CONTEXT, Route
from cogmeter.web.pages.range_text import range_data, range_text
from cogmeter.web.server.assets import STATIC_FOLDER, environment
from cogmeter.web.server.negotiation import accepts_gzip
from cogmeter.web.server.security import LOGOUT
from cogmeter_storage.model import DAY_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Self

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter.web.api.routing import Shared
    from cogmeter_storage.model import Marker

HOME: Final = links.HOME
API: Final = "/api/performance"
CHART: Final = f"{HOME}/chart.png"
VENDOR: Final = STATIC_FOLDER / "vendor"
REFRESHES_S: Final = (0, 5, 15, 30, 60, 300)  # choices; 0: never
AROUND_US: Final = 30 * MINUTE_US  # shown at least before and after a selection that the period does not contain
THREAD_BYTES: Final = 16_384  # longer pages are compressed in a thread
# Characters that change the writing direction of the text after them.
_DIRECTIONS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def displayed(value: str) -> str:
    """Return a name or text of the host for a page: without Discord ids and changes of the writing direction."""
    return _DIRECTIONS.sub("\N{REPLACEMENT CHARACTER}", safe.text(value))


def or_none(value: object) -> object:
    """Return None for an empty text, which a form sends where nothing is chosen."""
    return None if value == "" else value


def or_default(default: str) -> Callable[[object], object]:
    """Return a validator that replaces an empty text by the default."""
    return lambda value: default if value == "" else value


class PageParams(RangeParams):
    """Parameters of every page: a period or a range of time, the selection in it, a service, the refresh interval."""

    covers_selection: ClassVar[bool] = False  # True: the page has no charts and shows what is selected, nothing else
    selected_since: Annotated[Since | None, BeforeValidator(or_none), Field(alias="from")] = None
    selected_until: Annotated[Until | None, BeforeValidator(or_none), Field(alias="to")] = None
    period: Annotated[Literal["1h", "6h", "24h", "7d", "30d"], BeforeValidator(or_default("24h"))] = "24h"
    service: Annotated[str | None, BeforeValidator(or_none)] = None
    process: Annotated[Process | None, BeforeValidator(or_none)] = None
    refresh: Annotated[Annotated[int, Field(ge=0, le=3_600)] | None, BeforeValidator(or_none)] = None

    def default_range(self, now_us: int) -> Range:
        """Return the range without ``since`` and ``until``."""
        return next(period for period in Period if period.key == self.period).range_at(now_us)

    def selection(self, now_us: int) -> Range | None:
        """Return the selected range.

        Raises:
            Problem: 422; it is in the future.
        """
        since_us, until_us = self.selected_since, self.selected_until
        if since_us is None and until_us is None:
            return None
        check_past(since_us, now_us, "from")
        return past_part(requested_range(since_us, until_us, now_us, Period.HOUR), now_us)

    @model_validator(mode="after")
    def _selection_in_order(self) -> Self:
        check_order(self.selected_since, self.selected_until, "from", "to")
        return self


P = TypeVar("P", bound=PageParams)


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A page's entry in the menu."""

    order: int  # entries are sorted by it
    label: str
    icon: str  # the path of an SVG drawn with strokes in a box of 24 x 24


@dataclass(frozen=True, slots=True)
class Page(Generic[P]):
    """The facts of one page; each page's module defines its own, and ``table.PAGES`` names them all."""

    name: str  # of its entry in the menu; a page without an entry has the name of the page above it
    path: str
    title: str
    show: Callable[[PageView[P]], Awaitable[web.StreamResponse]]
    params: type[P]
    menu: MenuEntry | None
    words: tuple[str, ...] = ()  # by which it is looked for, too: commands, and what it shows

    @property
    def names(self) -> frozenset[str]:
        """The words that lead to it from a path that does not exist."""
        return frozenset({self.path.rpartition("/")[2], *self.words})

    def route(self) -> Route:
        """Return the route that serves the page."""

        async def show_page(monitor: Monitor, params: P, request: web.Request) -> web.StreamResponse:
            query = await monitor.query.of_process(params.process)
            return await self.show(PageView(request, params, self.name, query))

        media = {"text/html": "A page"}
        return Route("GET", self.path, show_page, self.title, query=self.params, media=media, documented=False)


# The pages of an application's menu, in order.
MENU: Final = web.AppKey("cogmeter.menu", tuple[Page[Any], ...])


@dataclass(frozen=True, slots=True)
class PageView(Generic[P]):
    """One request for a page, and the URLs of related pages."""

    request: web.Request
    params: P
    page: str  # the name of its entry in the menu
    query: Query  # of the chosen process, or of all
    own: Mapping[str, object] = field(default_factory=dict)  # parameters that only this page's URLs keep
    now_us: int = field(default_factory=now_us)
    data_since_us: int | None = None  # where charts begin; set by ``page_response``

    @property
    def shared(self) -> Shared:
        """The parts that all requests share."""
        return self.request.app[CONTEXT].shared

    @property
    def monitor(self) -> Monitor:
        """The monitor behind the page."""
        return self.shared.monitor

    @property
    def zoomed(self) -> bool:
        """True for a range of time, False for a period that ends now."""
        return self.params.since is not None or self.params.until is not None or self._around_selection is not None

    @property
    def selection(self) -> Range | None:
        """The range that is selected in charts; see ``PageParams.selection``."""
        return self.params.selection(self.now_us)

    @property
    def span(self) -> Range:
        """The range of time that the page covers.

        Raises:
            Problem: 422; it is in the future.
        """
        return self._around_selection or self._chosen_span

    @property
    def _chosen_span(self) -> Range:
        params = self.params
        chosen = params.since is not None or params.until is not None
        return params.span(self.now_us) if chosen else params.default_range(self.now_us)

    @property
    def _around_selection(self) -> Range | None:
        """The range around a selection that the chosen range does not contain."""
        selection = self.selection
        if selection is None or self.params.covers_selection:
            return selection
        chosen = self._chosen_span
        if chosen.since_us <= selection.since_us and selection.until_us <= chosen.until_us:
            return None
        margin_us = max(selection.until_us - selection.since_us, AROUND_US)
        since_us = max(selection.since_us - margin_us, 0)
        return replace(selection, since_us=since_us, until_us=min(selection.until_us + margin_us, self.now_us))

    @property
    def refresh_s(self) -> float:
        """The refresh interval; 0: never."""
        if self.params.refresh is not None:
            return self.params.refresh
        return self.monitor.settings.dashboard_refresh_interval / 1000

    def query_with(self, **changes: object) -> str:
        """Return the query of the present parameters with these changes; a None is left out."""
        present = {
            "period": None if self.zoomed or self.params.period == "24h" else self.params.period,
            "since": iso_or_none(self.params.since),
            "until": iso_or_none(self.params.until),
            "from": iso_or_none(self.params.selected_since),
            "to": iso_or_none(self.params.selected_until),
            "service": self.params.service,
            "process": self.params.process,
            "refresh": self.params.refresh,
        }
        return query(present | changes)

    def to(self, path: str, **changes: object) -> str:
        """Return the URL of a page with the same range of time."""
        return f"{path}{self.query_with(**changes)}"

    def here(self, **changes: object) -> str:
        """Return the URL of this page with changed parameters."""
        return self.to(self.request.rel_url.raw_path, **{**self.own, **changes})

    def selecting(self, selection: Range | None, **changes: object) -> str:
        """Return the URL of this page with another selection, or without one."""
        times = (None, None) if selection is None else (iso(selection.since_us), iso(selection.until_us))
        return self.here(**dict(zip(("from", "to"), times, strict=True)), **changes)

    def service(self, name: str, **changes: object) -> str:
        """Return the URL of a service's page."""
        return self.to(links.service_path(name), **{"service": None, **changes})

    def comparison(self, service: str | None = None, operation: str | None = None, marker: Marker | None = None) -> str:
        """Return the URL of a comparison, around a marker; it has periods of its own, and keeps the selection."""
        values: dict[str, object] = {"service": service, "operation": operation, "period": None}
        values |= {"since": None, "until": None, "before": None if marker is None else reference(marker.id)}
        return self.to(f"{links.HOME}/compare", **values)

    def times(self) -> dict[str, str | None]:
        """Return ``since`` and ``until`` for the API; ``until`` is None if the page continues to now."""
        span = self.span
        is_open = span.until_us >= self.now_us if self._around_selection else self.params.until is None
        return {"since": iso(span.since_us), "until": None if is_open else iso(span.until_us)}

    @property
    def _of_process(self) -> dict[str, str | None]:
        return {"process": self.params.process}

    def api(self, path: str, **more: object) -> str:
        """Return a URL of the API for the part of the range that has data: ``view.api("series", service="memory")``."""
        times = self.times() if self.data_since_us is None else self.times() | {"since": iso(self.data_since_us)}
        return f"{API}/{path}{query({**times, **self._of_process, **more})}"

    def api_before(self, path: str, **more: object) -> str:
        """Return a URL of the API for the previous range of the same length."""
        before = self.span.before
        times = {"since": iso(before.since_us), "until": iso(before.until_us)}
        return f"{API}/{path}{query({**times, **self._of_process, **more})}"

    def chart(self, **more: object) -> str:
        """Return the URL of the picture that replaces charts."""
        return f"{CHART}{query({**self.times(), **self._of_process, **more})}"

    def ago(self, at_us: int | None) -> str:
        """Return the time since then as text."""
        if at_us is None:
            return "never"
        return "just now" if self.now_us - at_us < SECOND_US else f"{self.length_since(at_us)} ago"

    def length_since(self, at_us: int) -> str:
        """Return the length of the time since then as text; 0 for a moment that the page's clock has not reached."""
        return formatting.duration(max(self.now_us - at_us, 0))

    @staticmethod
    def better(before: float | None, now: float | None) -> bool | None:
        """Return True if a figure that should be low fell by 5% or more, False if it rose by 5% or more, else None."""
        if before is None or now is None or abs(now - before) < 0.05 * before or now == before:
            return None
        return now < before

    def clock(self, at_us: int) -> str:
        """Return a time of day in UTC, with its day unless that is today."""
        return formatting.clock_time(at_us, with_date=at_us // DAY_US != self.now_us // DAY_US)

    def moment(self, at_us: int) -> str:
        """Return a time of day with seconds, see ``clock``."""
        return f"{self.clock(at_us)}:{at_us // SECOND_US % 60:02}"

    def time(self, at_us: int, style: Literal["clock", "moment", "date", "ago"] = "clock") -> Markup:
        """Return a time as an element in UTC; zone.js shows it in the reader's time zone. ``date`` always has a day."""
        texts = {"clock": self.clock, "moment": self.moment, "ago": self.ago, "date": _dated}
        return Markup('<time datetime="{}" data-time="{}">{}</time>').format(iso(at_us), style, texts[style](at_us))


def _dated(at_us: int) -> str:
    return formatting.clock_time(at_us, with_date=True)


def iso_or_none(at_us: int | None) -> str | None:
    """Return a time as ISO 8601 text; None for None."""
    return None if at_us is None else iso(at_us)


def query(values: dict[str, Any]) -> str:
    """Return parameters as a URL's query, without those that are None; empty without any."""
    present = {name: value for name, value in values.items() if value is not None}
    return f"?{urlencode(present, quote_via=quote)}" if present else ""


def service_url(name: str, operation: str | None = None) -> str:
    """Return the URL of the page of a service or operation, with the default period."""
    return f"{HOME}/services/{quote(name, safe='')}{query({'operation': operation})}"


def has_uplot() -> bool:
    """Return True if the chart library is installed; without it, charts are pictures."""
    return (VENDOR / "uPlot.iife.min.js").is_file()


def menu_of(pages: Sequence[Page[Any]]) -> tuple[Page[Any], ...]:
    """Return the pages that have a menu entry, in order."""
    return tuple(sorted((page for page in pages if page.menu), key=lambda page: page.menu.order if page.menu else 0))


async def page_response(view: PageView[Any], template: str, *, title: str, **values: Any) -> web.Response:
    """Return the page in its frame. Templates get the view, ``text`` (`render/formatting.py`), and values."""
    guard = view.shared.guard
    view = replace(view, data_since_us=(await view.query.covered(view.span)).since_us)
    html = await rendered(
        template,
        view=view,
        title=title,
        menu=view.request.app[MENU],
        processes=await _processes(view),
        periods=[(period.key, period.label) for period in Period],
        refreshes=REFRESHES_S,
        all_services=list(await names_to_choose(view)),
        shown_span=shown_span(view),
        range_text=lambda span: f"{range_text(span, view.now_us)} UTC",
        range_data=range_data,
        uplot=has_uplot(),
        csrf=guard.csrf_token(),
        logout=LOGOUT if guard.has_token else None,
        version=__version__,
        text=formatting,
        error_text=error_text,
        slow_text=slow_text,
        safe=displayed,
        iso=iso,
        look_of=look_of,
        alert_text=alert_text,
        rule_title=rule_title,
        alert_value=value_text,
        change_value=change_value_text,
        **values,
    )
    response = web.Response(text=html, content_type="text/html", charset="utf-8", zlib_executor_size=THREAD_BYTES)
    response.headers["Vary"] = "Accept-Encoding"
    if accepts_gzip(view.request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)
    return response


async def rendered(template: str, **values: Any) -> str:
    """Render a template in short pieces, so that a table of many services does not block the loop."""
    generated = environment().get_template(template).generate(**values)
    return "".join([piece async for piece in paced(generated)])


async def names_to_choose(view: PageView[Any]) -> dict[str, list[str]]:
    """Return the services to choose from with their operations; that of overflowed series only after an overflow."""
    with_other = bool(view.monitor.recorder.overflowed) or view.params.service == OTHER
    return await view.monitor.query.names(other=with_other)


async def _processes(view: PageView[Any]) -> list[str]:
    """Return the processes to choose from; none unless several share the database."""
    names, chosen = await process_names(view.monitor.query), view.params.process
    if chosen is not None and chosen not in names:
        names.append(chosen)  # it is not listed any more
    return names if len(names) > 1 else []


def shown_span(view: PageView[Any]) -> str:
    """Return the range of time as text."""
    return f"{range_text(view.span, view.now_us)} UTC" if view.zoomed else view.span.label
