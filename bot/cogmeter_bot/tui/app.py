"""The application: five views, one of them on the screen, read again every few seconds."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import App
from textual.binding import Binding
from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.widgets import ContentSwitcher, Footer, Input, Static

from cogmeter_bot.cli import guide_format
from cogmeter_bot.cli.output import BAD, DIM, WARN
from cogmeter_bot.sources.base import SourceError
from cogmeter_bot.tui.chrome import Entry, Help, Ranges, StatusLine, Views
from cogmeter_bot.tui.views.alerts import AlertsView
from cogmeter_bot.tui.views.base import DashboardView
from cogmeter_bot.tui.views.errors import ErrorsView
from cogmeter_bot.tui.views.overview import OverviewView
from cogmeter_bot.tui.views.service import ServiceView
from cogmeter_bot.tui.views.services import ServicesView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from cogmeter.settings import Settings
    from cogmeter_bot.tui.grid import Grid
    from cogmeter_bot.tui.ranges import Choice
    from cogmeter_bot.tui.reconnecting_source import ReconnectingSource

VIEWS: Final[tuple[type[DashboardView[Any]], ...]] = (OverviewView, ServicesView, ServiceView, ErrorsView, AlertsView)
THEMES: Final = {"dark": "textual-dark", "light": "textual-light"}


class DashboardApp(App[None]):
    """Shows what a feed answers."""

    CSS_PATH = "app.tcss"
    TITLE = "cogmeter"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012 - textual declares it as no ClassVar
    BINDINGS: ClassVar = [
        Binding("1", "view(0)", "Views", key_display="1-5"),
        *(Binding(str(number), f"view({number - 1})", show=False) for number in range(2, len(VIEWS) + 1)),
        Binding("tab", "step(1)", "Next view", show=False, priority=True),
        Binding("shift+tab", "step(-1)", "View before", show=False, priority=True),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("t", "range", "Time range"),
        Binding("r", "again", "Refresh"),
        Binding("d", "shade", "Dark/light", show=False),
        Binding("escape", "leave", "Back"),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
    ]

    def __init__(
        self,
        feed: ReconnectingSource,
        settings: Settings,
        choices: Sequence[Choice],
        chosen: int,
        *,
        name: str,
        interval_s: float,
    ) -> None:
        """``name`` is what is read, for people."""
        super().__init__()
        self._feed = feed
        self._watched = settings
        self._choices = choices
        self._chosen = chosen
        self._source_name = name
        self._interval_s = interval_s
        self._before = ServicesView.NAME.lower()  # where Esc leads to
        self._asked = asyncio.Event()
        self._read_at = ""

    def compose(self) -> ComposeResult:
        """The lines above and below, and the views between them."""
        yield Views([one.NAME for one in VIEWS])
        with ContentSwitcher(initial=VIEWS[0].NAME.lower()):
            for one in VIEWS:
                yield one(self._watched)
        with Horizontal(id="filter"):
            yield Static("/", markup=False)
            yield Input(placeholder="part of a name or text; Enter keeps it, Esc drops it", compact=True)
        yield StatusLine(id="state", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin to read, and give the terminal back when somebody ends the process."""
        self._heed_signals()
        self.theme_changed_signal.subscribe(self, lambda _theme: self.call_after_refresh(self._recolour))
        self._tell(("reading ...", DIM))
        self._open(VIEWS[0].NAME.lower())
        self.run_worker(self._keep_fresh(), name="reading")

    def _heed_signals(self) -> None:
        # SIGHUP: the connection to the terminal broke. Windows has neither, and its loops take no handlers of signals.
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, None, 128 + number)

    @property
    def view(self) -> DashboardView[Any]:
        """The view on the screen."""
        return self._views()[self._place]

    def action_view(self, place: int) -> None:
        """Switch to a view by its place."""
        self._open(VIEWS[place].NAME.lower())

    def action_step(self, step: int) -> None:
        """Switch to the next view, or to the one before."""
        self.action_view((self._place + step) % len(VIEWS))

    def action_filter(self) -> None:
        """Ask for a text to filter by."""
        self.query_one("#filter").add_class("shown")
        self.query_one(Input).focus()

    def action_range(self) -> None:
        """Ask for the range of time."""
        self.push_screen(Ranges([one.label for one in self._choices], self._chosen), self._take_range)

    def action_again(self) -> None:
        """Read again now."""
        self._asked.set()

    def action_shade(self) -> None:
        """Dark instead of light, or light instead of dark."""
        self.theme = THEMES["light" if self.current_theme.dark else "dark"]

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def action_leave(self) -> None:
        """Drop the filter; without one, leave the service."""
        field = self.query_one(Input)
        if field.value or field.has_focus:
            field.value = ""
            self._close_filter()
        elif isinstance(self.view, ServiceView):
            self._open(self._before)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        for view in self._views():
            view.narrow(event.value)

    def on_input_submitted(self) -> None:
        """Keep the filter and go back to the table."""
        self._close_filter()

    def on_entry_wanted(self, event: Entry.Wanted) -> None:
        """A view's name was clicked."""
        self._open(event.view)

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """A service is wanted."""
        self._before = self.query_one(ContentSwitcher).current or self._before
        self.query_one(ServiceView).turn_to(event.service)
        self._open(ServiceView.NAME.lower())

    @property
    def _place(self) -> int:
        current = self.query_one(ContentSwitcher).current
        return next(place for place, one in enumerate(VIEWS) if one.NAME.lower() == current)

    def _views(self) -> list[DashboardView[Any]]:
        return list(self.query(DashboardView))

    def _open(self, view: str) -> None:
        self.query_one(ContentSwitcher).current = view
        self.query_one(Views).mark(view)
        self.view.enter()
        self._asked.set()

    def _close_filter(self) -> None:
        field = self.query_one(Input)
        self.query_one("#filter").set_class(bool(field.value), "shown")
        self.view.enter()

    def _take_range(self, place: int | None) -> None:
        if place is not None:
            self._chosen = place
            self._asked.set()

    def _recolour(self) -> None:
        for view in self._views():
            view.redraw()

    async def _keep_fresh(self) -> None:
        """Read what is on the screen, now and every few seconds, until the application ends."""
        try:
            while True:
                self._asked.clear()
                await self._read()
                try:
                    await asyncio.wait_for(self._asked.wait(), self._interval_s)
                except TimeoutError:
                    continue
        except NoMatches:
            if len(self._views()) == len(VIEWS):
                raise  # else the application is ending, and its widgets went first
        finally:
            await self._feed.close()

    async def _read(self) -> None:
        """Read for one view. The answer is dropped when another view or range is wanted meanwhile."""
        view, choice = self.view, self._choices[self._chosen]
        question = self._question()
        self.query_one("#range", Static).update(choice.label)
        try:
            data = await self._feed.ask(lambda source: view.read(source, choice.span()))
            limits = await self._feed.ask(lambda source: source.limits())
        except SourceError as error:
            last = f" (shown: {self._read_at})" if self._read_at else ""
            self._tell((f"{guide_format.line(str(error))} Trying again every {self._interval_s:g} s{last}", BAD))
            return
        if question != self._question():
            return
        view.bring(data, limits)
        self._read_at = f"{datetime.now(UTC):%H:%M:%S} UTC"
        self._tell((guide_format.line(self._source_name), ""), (f"  read at {self._read_at}", DIM), *self._filtered())

    def _question(self) -> tuple[int, int, str | None]:
        return self._place, self._chosen, self.query_one(ServiceView).service

    def _filtered(self) -> list[tuple[str, str]]:
        needle = self.query_one(Input).value
        return [(f"  filtered by {guide_format.line(needle)}", WARN)] if needle else []

    def _tell(self, *cells: tuple[str, str]) -> None:
        self.query_one(StatusLine).tell(*cells)
