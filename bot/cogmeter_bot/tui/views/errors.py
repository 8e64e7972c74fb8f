"""The view of failed operations, grouped by error text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.widgets import Static

from cogmeter_bot.cli.output import BAD, DIM, Column
from cogmeter_bot.cli.text import ms, one_line, timestamp
from cogmeter_bot.tui.grid import Grid, GridRow
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.tui.views.base import DashboardView

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.operations import ErrorGroupAnswer, Errors
    from cogmeter_bot.sources.base import Source

MAX_GROUPS: Final = 500


class ErrorsView(DashboardView["Errors"]):
    """The table of groups, the largest first."""

    NAME: ClassVar[str] = "Errors"

    def compose(self) -> ComposeResult:
        """Yield the table, and the newest failure of the selected group."""
        yield Grid("Errors", _columns(), id="error-groups")
        yield Static(id="example", classes="details")

    async def read(self, source: Source, time_range: Range) -> Errors:
        """Implement DashboardView.read."""
        return await source.errors(time_range, None, None, limit=MAX_GROUPS)

    def draw(self, data: Errors) -> None:
        """Implement DashboardView.draw."""
        groups = self._groups(data)
        grid = self.query_one(Grid)
        truncated = ", of the newest 20,000 failures" if data.truncated else ""
        grid.set_title(f"Errors ({sum(group.count for group in groups):,} in {len(groups)} groups{truncated})")
        grid.set_rows([_row(group) for group in groups])
        self._show_example()

    def on_data_table_row_highlighted(self) -> None:
        """Show the newest failure of the selected group."""
        self._show_example()

    def _groups(self, data: Errors) -> list[ErrorGroupAnswer]:
        return [
            group for group in data.groups if self.matches(group.service, group.operation, group.outcome, group.error)
        ]

    def _show_example(self) -> None:
        selected = self.query_one(Grid).selected
        groups = [] if self._data is None else self._groups(self._data)
        key = None if selected is None else selected.key
        example = next((group.example for group in groups if _key(group) == key), None)
        field = self.query_one("#example", Static)
        if example is None:
            field.update("" if groups else "No failures in this period.")
            return
        head = f"{timestamp(example.end_time)} UTC, {example.operation_id}, after {ms(example.duration)}: "
        text = one_line(example.error, 1000) or "(no text)"
        field.update(styled_text(self.app.theme_variables, (head, DIM), text, wrap=True))


def _columns() -> list[Column]:
    return [
        Column("count", right=True),
        Column("first (UTC)", min_terminal=120),
        Column("last (UTC)", min_terminal=90),
        Column("service / operation", flexible=True),
        Column("outcome", min_terminal=100),
        Column("error", flexible=True),
    ]


def _key(group: ErrorGroupAnswer) -> str:
    return f"{group.service}\0{group.operation}\0{group.outcome}\0{group.error}"


def _row(group: ErrorGroupAnswer) -> GridRow:
    cells = (
        (f"{group.count:,}", BAD),
        f"{group.first_at:%m-%d %H:%M:%S}",
        f"{group.last_at:%m-%d %H:%M:%S}",
        one_line(f"{group.service} / {group.operation}"),
        group.outcome,
        one_line(group.error, 300) or "(no text)",
    )
    return GridRow(_key(group), group.service, cells)
