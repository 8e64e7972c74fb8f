"""Failures, grouped by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.widgets import Static

from cogmeter_bot.cli import guide_format
from cogmeter_bot.cli.output import BAD, DIM, Column
from cogmeter_bot.tui.grid import Grid, GridRow
from cogmeter_bot.tui.styles import painted
from cogmeter_bot.tui.views.base import DashboardView

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.errors import ErrorGroupAnswer
    from cogmeter.schemas.errors import Errors as ErrorsAnswer
    from cogmeter_bot.sources.base import Source

MOST: Final = 500  # groups


class ErrorsView(DashboardView["ErrorsAnswer"]):
    """The groups, the largest first."""

    NAME: ClassVar[str] = "Errors"

    def compose(self) -> ComposeResult:
        """The table, and the newest failure of the chosen group in full."""
        yield Grid("Errors", _columns(), id="error-groups")
        yield Static(id="example", classes="in-full")

    async def read(self, source: Source, span: Range) -> ErrorsAnswer:
        """See View."""
        return await source.errors(span, None, None, limit=MOST)

    def show(self, data: ErrorsAnswer) -> None:
        """See View."""
        groups = self._groups(data)
        grid = self.query_one(Grid)
        some = ", of the newest 20,000 failures" if data.truncated else ""
        grid.entitle(f"Errors ({sum(one.count for one in groups):,} in {len(groups)} groups{some})")
        grid.fill([_row(one) for one in groups])
        self._explain()

    def on_data_table_row_highlighted(self) -> None:
        """Another group was chosen."""
        self._explain()

    def _groups(self, data: ErrorsAnswer) -> list[ErrorGroupAnswer]:
        return [one for one in data.groups if self.holds(one.service, one.operation, one.outcome, one.error)]

    def _explain(self) -> None:
        chosen = self.query_one(Grid).selected
        groups = [] if self._data is None else self._groups(self._data)
        one = next((each for each in groups if chosen is not None and _key(each) == chosen.key), None)
        if one is None:
            self.query_one("#example", Static).update("" if groups else "No failures in this stretch of time.")
            return
        newest = one.example
        head = (
            f"{guide_format.when(newest.end_time)} UTC, {newest.operation_id}, after"
            f" {guide_format.ms(newest.duration)}: "
        )
        made = painted(self.app.theme_variables, (head, DIM), guide_format.line(newest.error, 1000) or "(no text)")
        made.no_wrap = False
        self.query_one("#example", Static).update(made)


def _columns() -> list[Column]:
    return [
        Column("count", right=True),
        Column("first (UTC)", needs=120),
        Column("last (UTC)", needs=90),
        Column("service / operation", flexible=True),
        Column("outcome", needs=100),
        Column("error", flexible=True),
    ]


def _key(one: ErrorGroupAnswer) -> str:
    return f"{one.service}\0{one.operation}\0{one.outcome}\0{one.error}"


def _row(one: ErrorGroupAnswer) -> GridRow:
    cells = (
        (f"{one.count:,}", BAD),
        f"{one.first_at:%m-%d %H:%M:%S}",
        f"{one.last_at:%m-%d %H:%M:%S}",
        guide_format.line(f"{one.service} / {one.operation}"),
        one.outcome,
        guide_format.line(one.error, 300) or "(no text)",
    )
    return GridRow(_key(one), one.service, cells)
