"""The application: six views, one of them visible and refreshed every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import App, ScreenStackError
from textual.binding import Binding
from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.widgets import ContentSwitcher, Footer, Input, Static
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter_bot.cli.compare import comparison_page
from cogmeter_bot.cli.output import BAD, DIM, WARN
from cogmeter_bot.cli.selection import selection_page
from cogmeter_bot.cli.slow import reasons_page
from cogmeter_bot.cli.text import one_line
from cogmeter_bot.errors import RequestError, SourceError
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.chrome import HelpScreen, RangePicker, StatusLine, ViewTab, ViewTabs
from cogmeter_bot.tui.report import ReportScreen
from cogmeter_bot.tui.views.alerts import AlertsView
from cogmeter_bot.tui.views.base import TALL, DashboardView
from cogmeter_bot.tui.views.errors import ErrorsView
from cogmeter_bot.tui.views.overview import OverviewView
from cogmeter_bot.tui.views.running import RunningView
from cogmeter_bot.tui.views.service import ServiceView
from cogmeter_bot.tui.views.services import ServicesView
from cogmeter_bot.zones import shown_at, zone_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from textual.app import ComposeResult

    from cogmeter.settings import Settings
    from cogmeter_bot.cli.output import OutputPage
    from cogmeter_bot.sources.base import Source
    from cogmeter_bot.sources.factory import ReconnectingSource
    from cogmeter_bot.tui.chrome import RangeChoice
    from cogmeter_bot.tui.grid import Grid

VIEWS: Final[tuple[type[DashboardView[Any]], ...]] = (
    OverviewView,
    ServicesView,
    ServiceView,
    ErrorsView,
    AlertsView,
    RunningView,
)
THEMES: Final = {"dark": "textual-dark", "light": "textual-light"}


class DashboardApp(App[None]):
    """The dashboard of one source."""

    CSS_PATH = "app.tcss"
    TITLE = "cogmeter"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012 - textual does not declare it as a ClassVar
    VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL, "-tall")]  # noqa: RUF012 - textual does not declare it as a ClassVar
    BINDINGS: ClassVar = [
        Binding("1", "view(0)", "Views", key_display="1-6"),
        *(Binding(str(number), f"view({number - 1})", show=False) for number in range(2, len(VIEWS) + 1)),
        Binding("tab", "step(1)", "Next view", show=False, priority=True),
        Binding("shift+tab", "step(-1)", "Previous view", show=False, priority=True),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("t", "range", "Range"),
        Binding("p", "point", "Point"),
        Binding("r", "refresh_now", "Refresh", show=False),
        Binding("d", "toggle_theme", "Dark/light", show=False),
        Binding("escape", "leave", "Back"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(
        self,
        source: ReconnectingSource,
        settings: Settings,
        choices: Sequence[RangeChoice],
        selected: int,
        *,
        name: str,
        interval_s: float,
    ) -> None:
        """``name`` is the source's name for display, ``selected`` the index of the first range to show."""
        super().__init__()
        self._source = source
        self._monitor_settings = settings
        self._choices = choices
        self._selected = selected
        self._source_name = name
        self._interval_s = interval_s
        self._previous_view = ServicesView.NAME.lower()  # for Esc
        self._refresh_requested = asyncio.Event()
        self._updated_at = ""
        self._refresher: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """Yield the tabs, the views and the lines below."""
        yield ViewTabs([view.NAME for view in VIEWS])
        with ContentSwitcher(initial=VIEWS[0].NAME.lower()):
            for view in VIEWS:
                yield view(self._monitor_settings)
        with Horizontal(id="filter"):
            yield Static("/", markup=False)
            yield Input(placeholder="part of a name or text; Enter keeps it, Esc clears it", compact=True)
        yield StatusLine(id="status", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Start the refresh loop, and restore the terminal when a signal ends the process."""
        self._handle_signals()
        self.theme_changed_signal.subscribe(self, lambda _theme: self.call_after_refresh(self._redraw))
        self._set_status(("loading ...", DIM))
        self._switch_to(VIEWS[0].NAME.lower())
        self._refresher = self.run_worker(self._refresh_loop, name="refresh")

    async def on_unmount(self) -> None:
        """End the refresh loop, then close the source, so that no connection outlives the application."""
        if self._refresher is not None:
            if not self._refresher.is_cancelled:  # a second cancellation would interrupt its clean-up
                self._refresher.cancel()
            with contextlib.suppress(WorkerCancelled, WorkerFailed):  # Textual shows the error of a failed worker
                await self._refresher.wait()
        await self._source.close()

    def _handle_signals(self) -> None:
        # SIGHUP: the connection to the terminal broke. Windows has neither signal nor handlers in its event loop.
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    @property
    def view(self) -> DashboardView[Any]:
        """The visible view."""
        return self._views()[self._index]

    def action_view(self, index: int) -> None:
        """Switch to a view."""
        self._switch_to(VIEWS[index].NAME.lower())

    def action_step(self, step: int) -> None:
        """Switch to the next or previous view."""
        self.action_view((self._index + step) % len(VIEWS))

    def action_filter(self) -> None:
        """Open the filter field."""
        self.query_one("#filter").add_class("shown")
        self.query_one(Input).focus()

    def action_range(self) -> None:
        """Open the list of time ranges."""
        self.push_screen(RangePicker([choice.label for choice in self._choices], self._selected), self._select_range)

    def action_refresh_now(self) -> None:
        """Refresh now."""
        self._refresh_requested.set()

    def action_point(self) -> None:
        """Move to the next chart of the view, in which the arrows choose a point."""
        charts = [chart for chart in self.view.query(TerminalChart) if chart.size and chart.chosen is not None]
        if not charts:
            self._set_status(("No chart with points here. Services has charts from 40 rows on.", WARN))
            return
        focused = next((index for index, chart in enumerate(charts) if chart.has_focus), -1)
        charts[(focused + 1) % len(charts)].focus()

    def action_why_slow(self) -> None:
        """Show the slowest runs of the selected service, and why they were slow."""
        subject, span = self.view.subject, self._choices[self._selected].time_range()
        if subject is not None:

            async def read(source: Source) -> OutputPage:
                return reasons_page(await source.slow(span, subject), subject, span.label)

            self._open(read)

    def action_compare(self) -> None:
        """Compare the selected service before and after the last deploy."""
        subject = self.view.subject
        if subject is not None:

            async def read(source: Source) -> OutputPage:
                return comparison_page(await source.comparison(subject, None, before=None, after=None))

            self._open(read)

    def action_toggle_theme(self) -> None:
        """Switch between dark and light."""
        self.theme = THEMES["light" if self.current_theme.dark else "dark"]

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())

    def action_leave(self) -> None:
        """Leave a chart; else clear the filter; without a filter, leave the service."""
        field = self.query_one(Input)
        if isinstance(self.focused, TerminalChart):
            self.view.focus_first_table()
        elif field.value or field.has_focus:
            field.value = ""
            self._close_filter()
        elif isinstance(self.view, ServiceView):
            self._switch_to(self._previous_view)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Apply the filter while it is typed."""
        for view in self._views():
            view.set_filter(event.value)

    def on_input_submitted(self) -> None:
        """Keep the filter and return to the table."""
        self._close_filter()

    def on_view_tab_clicked(self, event: ViewTab.Clicked) -> None:
        """Switch to the view of the tab."""
        self._switch_to(event.view)

    def on_grid_service_opened(self, event: Grid.ServiceOpened) -> None:
        """Switch to the service of a row."""
        self._previous_view = self.query_one(ContentSwitcher).current or self._previous_view
        self.query_one(ServiceView).select(event.service)
        self._switch_to(ServiceView.NAME.lower())

    def on_terminal_chart_interval_opened(self, event: TerminalChart.IntervalOpened) -> None:
        """Show what happened in the interval of a point."""
        since_us = round(event.since.timestamp() * 1e6)
        until_us = max(min(round(event.until.timestamp() * 1e6), now_us()), since_us + 1)
        span, subject = Range(since_us, until_us, "selection"), event.subject

        async def read(source: Source) -> OutputPage:
            return selection_page(await source.selection(span, subject), subject)

        self._open(read)

    def _open(self, read: Callable[[Source], Awaitable[OutputPage]]) -> None:
        self.push_screen(ReportScreen(read))
        self._refresh_requested.set()

    @property
    def _index(self) -> int:
        current = self.query_one(ContentSwitcher).current
        return next(index for index, view in enumerate(VIEWS) if view.NAME.lower() == current)

    def _views(self) -> list[DashboardView[Any]]:
        return list(self.query(DashboardView))

    def _switch_to(self, view: str) -> None:
        self.query_one(ContentSwitcher).current = view
        self.query_one(ViewTabs).mark(view)
        self.view.focus_first_table()
        self._refresh_requested.set()

    def _close_filter(self) -> None:
        field = self.query_one(Input)
        self.query_one("#filter").set_class(bool(field.value), "shown")
        self.view.focus_first_table()

    def _select_range(self, index: int | None) -> None:
        if index is not None:
            self._selected = index
            self._refresh_requested.set()

    def _redraw(self) -> None:
        for view in self._views():
            view.redraw()

    async def _refresh_loop(self) -> None:
        """Refresh the visible view every few seconds, and on request, until the application ends."""
        try:
            while True:
                self._refresh_requested.clear()
                await self._refresh()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._interval_s):  # wait_for may lose a cancellation
                        await self._refresh_requested.wait()
        except (NoMatches, ScreenStackError, IndexError):
            if self.is_running:
                raise  # else the application is ending, and its widgets are gone already

    async def _refresh(self) -> None:
        """Read the open report, if there is one that is not complete; else refresh the view.

        One task reads both, so that no two of them open or close the source at the same time.
        """
        report = self.screen
        if not isinstance(report, ReportScreen) or report.complete:
            await self._refresh_view()
            return
        try:
            page = await self._source.query(report.read)
        except SourceError as error:
            final = isinstance(error, RequestError)
            retry = "" if final else f" Retrying every {self._interval_s:g} s."
            if report.is_current:
                report.show_problem(f"{one_line(str(error))}{retry}", final=final)
            return
        if report.is_current:
            report.show_page(page)

    async def _refresh_view(self) -> None:
        """Read the data of one view; drop it if the view, range or service has changed in the meantime."""
        view, choice = self.view, self._choices[self._selected]
        selection = self._selection()
        self.query_one("#range", Static).update(choice.label)
        try:
            data = await self._source.query(lambda source: view.read(source, choice.time_range()))
            limits = await self._source.query(lambda source: source.limits())
        except SourceError as error:
            shown = f" Showing data from {self._updated_at}." if self._updated_at else ""
            self._set_status((f"{one_line(str(error))} Retrying every {self._interval_s:g} s.{shown}", BAD))
            return
        if selection != self._selection():
            return
        view.update_data(data, limits)
        now = datetime.now(UTC)
        self._updated_at = f"{shown_at(now):%H:%M:%S} {zone_name(now)}"
        status = [(one_line(self._source_name), ""), (f"  updated {self._updated_at}", DIM)]
        needle = self.query_one(Input).value
        self._set_status(*status, *([(f"  filter: {one_line(needle)}", WARN)] if needle else []))

    def _selection(self) -> tuple[int, int, str | None]:
        return self._index, self._selected, self.query_one(ServiceView).service

    def _set_status(self, *cells: tuple[str, str]) -> None:
        self.query_one(StatusLine).set_text(*cells)
