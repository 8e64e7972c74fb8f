"""The frame around the views: tabs above, the status line below, the key help, and the choice of a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter_bot.cli.text import range_title
from cogmeter_bot.sources.ranges import parse_range
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.zones import zone_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter_bot.cli.output import Cell

KEYS: Final = (
    ("1 to 6, Tab", "switch views"),
    ("arrows, Page Up, Page Down", "move, also into the next table"),
    ("Enter", "open the service of a row"),
    ("Esc", "clear the filter; go back"),
    ("/", "filter by a part of a name or text"),
    ("t", "choose the time range"),
    ("s, S", "in Services: next column, reverse"),
    ("p; click", "choose a point in a chart"),
    ("left, right, Enter", "in a chart: move, open its interval"),
    ("w, c", "a service: why slow, compare"),
    ("r", "refresh now"),
    ("d", "dark or light"),
    ("q, Ctrl+C", "quit"),
)


class ViewTab(Static):
    """The name of a view; a click switches to it."""

    class Clicked(Message):
        """A message that a tab was clicked."""

        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def __init__(self, number: int, name: str) -> None:
        super().__init__(f" {number} {name} ", markup=False, id=f"tab-{name.lower()}", classes="tab")
        self._view = name.lower()

    def on_click(self) -> None:
        """Switch to the view."""
        self.post_message(self.Clicked(self._view))


class ViewTabs(Horizontal):
    """The tabs of all views, and the time range."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(id="tabs")
        self._names = names

    def compose(self) -> ComposeResult:
        """Yield the tabs, and the range at the right."""
        for number, name in enumerate(self._names, 1):
            yield ViewTab(number, name)
        yield Static(id="range", markup=False)

    def mark(self, view: str) -> None:
        """Highlight the tab of the open view."""
        for tab in self.query(ViewTab):
            tab.set_class(tab.id == f"tab-{view}", "open")


class StatusLine(Static):
    """A line with the source, the time of the last refresh, and errors."""

    def set_text(self, *cells: Cell) -> None:
        """Show these texts."""
        self.update(styled_text(self.app.theme_variables, *cells, wrap=True))


class HelpScreen(ModalScreen[None]):
    """The list of keys."""

    BINDINGS: ClassVar = [Binding("escape,question_mark,q,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Yield the keys and their actions."""
        with Vertical(classes="box") as box:
            box.border_title = "Keys"
            width = max(len(keys) for keys, _ in KEYS)
            yield Static("\n".join(f"{keys:<{width}}  {action}" for keys, action in KEYS), markup=False)
            mouse = "The mouse works too: tabs, column headings, rows."
            yield Static(f"\n{mouse}\nTimes are in {zone_label()}: `--tz` changes this.", markup=False)

    def on_click(self) -> None:
        """Close it after any click."""
        self.dismiss()


@dataclass(frozen=True, slots=True)
class RangeChoice:
    """A time range in the list: the values of the command's options, and a label."""

    label: str
    since: str | None = None
    until: str | None = None
    period: str | None = None

    def time_range(self) -> Range:
        """Return the range, which ends now at the latest."""
        return parse_range(self.since, self.until, self.period, now_us=now_us())


def range_choices(since: str | None, until: str | None, period: str | None) -> tuple[list[RangeChoice], int]:
    """Return all periods, after the requested range if it is not a period, and the index of the first range to show.

    Raises:
        RequestError: the requested range cannot be parsed.
    """
    periods = [RangeChoice(range_title(period.label), period=period.key) for period in Period]
    if since is None and until is None:
        return periods, [choice.period for choice in periods].index(period or Period.DAY.key)
    requested = RangeChoice("", since, until, period)
    return [RangeChoice(requested.time_range().label, since, until, period), *periods], 0


class RangePicker(ModalScreen["int | None"]):
    """A list of time ranges; returns the index of the chosen one."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "cancel", "Close"),
        Binding("t", "next", "Next"),
    ]

    def __init__(self, labels: Sequence[str], selected: int) -> None:
        super().__init__()
        self._labels = labels
        self._selected = selected

    def compose(self) -> ComposeResult:
        """Yield the list."""
        with Vertical(classes="box") as box:
            box.border_title = "Time range"
            yield OptionList(*self._labels, markup=False)

    def on_mount(self) -> None:
        """Highlight the current range."""
        self.query_one(OptionList).highlighted = self._selected

    def action_next(self) -> None:
        """Move down, from the last to the first."""
        self.query_one(OptionList).action_cursor_down()

    def action_cancel(self) -> None:
        """Keep the current range."""
        self.dismiss(None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the chosen range."""
        self.dismiss(event.option_index)
