"""A table that fits its columns to the screen and keeps the selection when its rows are refreshed."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from textual.message import Message
from textual.widgets import DataTable

from cogmeter_bot.cli.output import DIM, MIN_COLUMN_WIDTH, fit_columns
from cogmeter_bot.tui.styles import styled_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text
    from textual import events

    from cogmeter_bot.cli.output import Cell, Column

PADDING: Final = 1  # columns left and right of each cell


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row with a unique ``key`` and the service that Enter opens."""

    key: str
    service: str
    cells: Sequence[Cell]


class Grid(DataTable[Any]):
    """A table; Enter or a click on the selected row opens its service."""

    class ServiceOpened(Message):
        """A message that the service of a row was opened."""

        def __init__(self, service: str) -> None:
            super().__init__()
            self.service = service

    class HeaderClicked(Message):
        """A message that the heading of a column was clicked."""

        def __init__(self, column: int) -> None:
            super().__init__()
            self.column = column

    def __init__(self, title: str, columns: Sequence[Column], *, empty: str = "", **options: Any) -> None:
        """``empty`` is shown instead of the headings while there are no rows: what would fill the table."""
        super().__init__(cursor_type="row", cell_padding=PADDING, **options)
        self._columns = columns
        self._empty = empty
        self._rows: Sequence[GridRow] = ()
        self._displayed: object = None
        self.shown_columns: list[int] = []  # the indexes of the columns that fit
        self._filled = False  # rows were set, so an empty table is known to be empty
        self.set_title(title)

    def set_title(self, title: str) -> None:
        """Set the title above the table."""
        self.border_title = title.replace("[", r"\[")

    def set_empty(self, text: str) -> None:
        """Set the text of the empty table; the next ``set_rows`` shows it."""
        self._empty = text

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Set the columns; the next ``set_rows`` shows them."""
        self._columns = columns

    def set_rows(self, rows: Sequence[GridRow]) -> None:
        """Show these rows; keep the selected row, or its position if it is gone."""
        self._rows, self._filled = rows, True
        self._draw()

    @property
    def selected(self) -> GridRow | None:
        """The selected row."""
        return self._rows[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    @property
    def _width(self) -> int:
        """The width in columns of the terminal, without the scroll bar."""
        return self.scrollable_content_region.width

    def on_resize(self, _event: events.Resize) -> None:
        """Fit the columns to the new width."""
        self._draw()

    def action_cursor_down(self) -> None:
        """Move down; from the last row to the next table."""
        if self.cursor_row >= len(self._rows) - 1:
            self._focus_neighbour(1)
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """Move up; from the first row to the previous table."""
        if self.cursor_row <= 0:
            self._focus_neighbour(-1)
        else:
            super().action_cursor_up()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the service of the selected row."""
        event.stop()
        row = self.selected
        if row is not None and row.service:
            self.post_message(self.ServiceOpened(row.service))

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Forward the click on a heading."""
        event.stop()
        if event.column_key.value is not None:  # else it is the text of an empty table
            self.post_message(self.HeaderClicked(int(event.column_key.value)))

    def _focus_neighbour(self, step: int) -> None:
        grids = [] if self.parent is None else list(self.parent.query(Grid))
        index = grids.index(self) + step if self in grids else -1
        if 0 <= index < len(grids):
            grids[index].focus()

    def _draw(self) -> None:
        """Rebuild the table, unless nothing has changed."""
        width = self._width
        if not width:
            return
        rows = tuple((row.key, tuple(row.cells)) for row in self._rows)
        displayed = (width, self.app.theme, tuple(self._columns), rows, self._filled, self._empty)
        if displayed == self._displayed:
            return
        self._displayed = displayed
        selected, cursor_row, top = self._selected_key, self.cursor_row, self.scroll_y
        self.clear(columns=True)
        if self._filled and self._empty and not rows:
            self._draw_empty(width - 2 * PADDING)
            return
        self.header_height = 1
        cells = [row.cells for row in self._rows]
        self.shown_columns, widths = fit_columns(self._columns, cells, width, gap=2 * PADDING)
        for index, column_width in zip(self.shown_columns, widths, strict=True):
            self.add_column(self._cell(self._columns[index].title, index), width=column_width, key=str(index))
        for row in self._rows:
            self.add_row(*(self._cell(row.cells[index], index) for index in self.shown_columns), key=row.key)
        keys = [row.key for row in self._rows]
        # Never -1: the heading would look selected.
        cursor = keys.index(selected) if selected in keys else max(min(cursor_row, len(keys) - 1), 0)
        self.move_cursor(row=cursor, scroll=False)
        self.scroll_to(y=top, animate=False)

    def _draw_empty(self, width: int) -> None:
        lines = wrap(self._empty, max(width, MIN_COLUMN_WIDTH))
        self.header_height = len(lines)
        text = styled_text(self.app.theme_variables, ("\n".join(lines), DIM), wrap=True)
        self.add_column(text, width=width)

    @property
    def _selected_key(self) -> str | None:
        return str(self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value) if self.is_valid_cursor else None

    @property
    def is_valid_cursor(self) -> bool:
        """Return whether there is a row under the cursor."""
        return bool(self.columns) and self.is_valid_coordinate(self.cursor_coordinate)

    def _cell(self, cell: Cell, column: int) -> Text:
        return styled_text(self.app.theme_variables, cell, justify_right=self._columns[column].right)
