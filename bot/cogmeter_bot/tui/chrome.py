"""The line of views at the top, the line of state at the bottom, and what stands above the views when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static

from cogmeter_bot.tui.styles import painted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from cogmeter_bot.cli.output import Cell

KEYS: Final = (
    ("1 to 5, Tab", "switch views"),
    ("arrows, Page Up, Page Down", "move, also into the next table"),
    ("Enter", "open the service of a row"),
    ("Esc", "drop the filter; go back"),
    ("/", "filter by a part of a name or text"),
    ("t", "choose the range of time"),
    ("s, S", "in Services: next column, other order"),
    ("r", "read again now"),
    ("d", "dark or light"),
    ("q, Ctrl+C", "quit"),
)


class Entry(Static):
    """A view's name; a click switches to it."""

    class Wanted(Message):
        """The view is wanted."""

        def __init__(self, view: str) -> None:
            super().__init__()
            self.view = view

    def __init__(self, number: int, name: str) -> None:
        super().__init__(f" {number} {name} ", markup=False, id=f"entry-{name.lower()}", classes="entry")
        self._view = name.lower()

    def on_click(self) -> None:
        """Switch to it."""
        self.post_message(self.Wanted(self._view))


class Views(Horizontal):
    """The names of all views, and the range of time that they show."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(id="views")
        self._names = names

    def compose(self) -> ComposeResult:
        """Names, then the range at the right."""
        for number, name in enumerate(self._names, 1):
            yield Entry(number, name)
        yield Static(id="range", markup=False)

    def mark(self, view: str) -> None:
        """Show which view is open."""
        for entry in self.query(Entry):
            entry.set_class(entry.id == f"entry-{view}", "open")


class StatusLine(Static):
    """A line that says what is read, when it was, and what is wrong."""

    def tell(self, *cells: Cell) -> None:
        """Say it."""
        made = painted(self.app.theme_variables, *cells)
        made.no_wrap = False
        self.update(made)


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar = [Binding("escape,question_mark,q,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        """Each key and what it does."""
        with Vertical(classes="box") as box:
            box.border_title = "Keys"
            width = max(len(keys) for keys, _ in KEYS)
            yield Static("\n".join(f"{keys:<{width}}  {does}" for keys, does in KEYS), markup=False)
            yield Static("\nThe mouse works, too: names above, headings, rows. Times are UTC.", markup=False)

    def on_click(self) -> None:
        """Any click closes it."""
        self.dismiss()


class Ranges(ModalScreen["int | None"]):
    """A list of ranges of time to choose one from; gives its place."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "leave", "Close"),
        Binding("t", "next", "Next"),
    ]

    def __init__(self, labels: Sequence[str], chosen: int) -> None:
        super().__init__()
        self._labels = labels
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """The list, on what is chosen now."""
        with Vertical(classes="box") as box:
            box.border_title = "Range of time"
            yield OptionList(*self._labels, markup=False)

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        self.query_one(OptionList).highlighted = self._chosen

    def action_next(self) -> None:
        """One further down, and from the last to the first."""
        self.query_one(OptionList).action_cursor_down()

    def action_leave(self) -> None:
        """Keep what was chosen."""
        self.dismiss(None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take it."""
        self.dismiss(event.option_index)
