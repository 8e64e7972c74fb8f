"""A table that fits its columns to the screen and keeps what is selected when its rows are read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len
from textual.message import Message
from textual.widgets import DataTable

from cogmeter_bot.cli.output import fitted
from cogmeter_bot.tui.styles import painted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text
    from textual import events

    from cogmeter_bot.cli.output import Cell, Column

PADDING: Final = 1  # columns left and right of each cell


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row; ``key`` tells it from all others, and ``service`` is what Enter opens."""

    key: str
    service: str
    cells: Sequence[Cell]


class Grid(DataTable[Any]):
    """Rows to choose from; Enter or a click on the chosen row opens its service."""

    class Opened(Message):
        """A row's service is wanted."""

        def __init__(self, service: str) -> None:
            super().__init__()
            self.service = service

    class Headed(Message):
        """A column's heading was clicked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, title: str, columns: Sequence[Column], **more: Any) -> None:
        super().__init__(cursor_type="row", cell_padding=PADDING, **more)
        self._columns = columns
        self._rows: Sequence[GridRow] = ()
        self._drawn: object = None
        self.entitle(title)

    def entitle(self, title: str) -> None:
        """Set what stands above the table."""
        self.border_title = title.replace("[", r"\[")

    def head(self, columns: Sequence[Column]) -> None:
        """Give the columns other headings."""
        self._columns = columns

    def fill(self, rows: Sequence[GridRow]) -> None:
        """Show these rows; the selection stays on the row that it was on, or at its place if that is gone."""
        self._rows = rows
        self._draw()

    @property
    def selected(self) -> GridRow | None:
        """The row under the cursor."""
        return self._rows[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    def shown(self, columns: Sequence[Column]) -> list[int]:
        """The places of those columns for which there is room."""
        return [place for place, column in enumerate(columns) if column.needs <= self._room]

    @property
    def _room(self) -> int:
        """In columns of the terminal, without the scroll bar."""
        return self.scrollable_content_region.width

    def on_resize(self, _event: events.Resize) -> None:
        """Fit the columns to the new width."""
        self._draw()

    def action_cursor_down(self) -> None:
        """One row down; behind the last, to the next table of the screen."""
        if self.cursor_row >= len(self._rows) - 1:
            self._leave(1)
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """One row up; above the first, to the table before."""
        if self.cursor_row <= 0:
            self._leave(-1)
        else:
            super().action_cursor_up()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter, or a click on the row under the cursor."""
        event.stop()
        row = self.selected
        if row is not None and row.service:
            self.post_message(self.Opened(row.service))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a heading."""
        event.stop()
        self.post_message(self.Headed(int(str(event.column_key.value))))

    def _leave(self, step: int) -> None:
        view = self.parent
        grids = [] if view is None else list(view.query(Grid))
        place = grids.index(self) + step if self in grids else -1
        if 0 <= place < len(grids):
            grids[place].focus()

    def _draw(self) -> None:
        """Make the table anew, unless it would be the same."""
        width = self._room
        if not width:
            return
        drawn = (width, self.app.theme, tuple(self._columns), tuple((one.key, tuple(one.cells)) for one in self._rows))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        chosen, place, top = self._chosen_key, self.cursor_row, self.scroll_y
        self.clear(columns=True)
        shown = self.shown(self._columns)
        for number, cells in zip(shown, self._widths(shown, width), strict=True):
            self.add_column(self._cell(self._columns[number].title, number), width=cells, key=str(number))
        for row in self._rows:
            self.add_row(*(self._cell(row.cells[number], number) for number in shown), key=row.key)
        keys = [row.key for row in self._rows]
        # Never above the first row, where the heading would be taken for what is chosen.
        cursor = keys.index(chosen) if chosen in keys else max(min(place, len(keys) - 1), 0)
        self.move_cursor(row=cursor, scroll=False)
        self.scroll_to(y=top, animate=False)

    @property
    def _chosen_key(self) -> str | None:
        return str(self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value) if self.is_valid_cursor else None

    @property
    def is_valid_cursor(self) -> bool:
        """Whether there is a row under the cursor."""
        return bool(self.columns) and self.is_valid_coordinate(self.cursor_coordinate)

    def _widths(self, shown: Sequence[int], width: int) -> list[int]:
        texts = [[self._columns[place].title, *(_words(row.cells[place]) for row in self._rows)] for place in shown]
        natural = [max(map(cell_len, column)) for column in texts]
        flexible = [self._columns[place].flexible for place in shown]
        return fitted(natural, flexible, width - 2 * PADDING * len(shown))

    def _cell(self, cell: Cell, number: int) -> Text:
        return painted(self.app.theme_variables, cell, justify_right=self._columns[number].right)


def _words(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]
