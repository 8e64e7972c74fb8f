"""The view of the operations that run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.widgets import Static

from cogmeter_bot.cli.output import WARN, Column
from cogmeter_bot.cli.running import NOTHING_RUNS, is_long
from cogmeter_bot.cli.text import duration, one_line
from cogmeter_bot.errors import NotLiveError
from cogmeter_bot.tui.grid import Grid, GridRow
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.tui.views.base import DashboardView

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.operations import RunningPage
    from cogmeter_bot.sources.base import Source

MAX_OPERATIONS: Final = 200


class RunningView(DashboardView["RunningPage | NotLiveError"]):
    """The table of running operations, longest first; it ignores the time range."""

    NAME: ClassVar[str] = "Running"

    def compose(self) -> ComposeResult:
        """Yield the table, and the line of the selected operation."""
        columns = [
            Column("age", right=True),
            Column("service / operation", flexible=True),
            Column("waits in", flexible=True),
        ]
        yield Grid("Running now", columns, empty=NOTHING_RUNS, id="running-operations")
        yield Static(id="line", classes="details")

    async def read(self, source: Source, time_range: Range) -> RunningPage | NotLiveError:  # noqa: ARG002 - there is no range
        """Implement DashboardView.read; a database has an explanation in place of the operations."""
        try:
            return await source.running(limit=MAX_OPERATIONS)
        except NotLiveError as error:
            return error

    def draw(self, data: RunningPage | NotLiveError) -> None:
        """Implement DashboardView.draw."""
        grid = self.query_one(Grid)
        if isinstance(data, NotLiveError):
            grid.set_empty("")
            grid.set_rows([])
            self._show(one_line(str(data)))
            return
        rows = [
            GridRow(
                f"{number}",
                operation.service,
                (
                    (duration(operation.age), WARN if is_long(operation, self._limits) else ""),
                    one_line(f"{operation.service} / {operation.operation}"),
                    one_line(operation.line, 300),
                ),
            )
            for number, operation in enumerate(data.operations)
            if self.matches(operation.service, operation.operation, operation.line)
        ]
        grid.set_empty(NOTHING_RUNS)
        grid.set_title(f"Running now ({data.total:,})")
        grid.set_rows(rows)
        self._show_line()

    def on_data_table_row_highlighted(self) -> None:
        """Show the line of the selected operation."""
        self._show_line()

    def _show_line(self) -> None:
        selected = self.query_one(Grid).selected
        if self._data is None or isinstance(self._data, NotLiveError):
            return
        line = "" if selected is None else self._data.operations[int(selected.key)].line
        self._show(one_line(line, 1000))

    def _show(self, text: str) -> None:
        self.query_one("#line", Static).update(styled_text(self.app.theme_variables, text, wrap=True))
