"""The view of all commands and services in a table that can be sorted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding

from cogmeter.schemas.statistics import RankedStats
from cogmeter_bot.cli.summary import ranking_heading
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.views.base import DashboardView, stats_columns, stats_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.base import Stats
    from cogmeter.schemas.statistics import Dashboard
    from cogmeter_bot.sources.base import Source

# For each column the sort key, and whether the largest value comes first.
ORDERS: Final[tuple[tuple[Callable[[str, Stats], float | str], bool], ...]] = (
    (lambda name, _: name.casefold(), False),
    (lambda _, stats: stats.total_operations, True),
    (lambda _, stats: 1 - stats.error_rate, False),
    (lambda _, stats: stats.average_response_time or 0, True),
    (lambda _, stats: stats.p50_response_time or 0, True),
    (lambda _, stats: stats.p95_response_time or 0, True),
    (lambda _, stats: stats.p99_response_time or 0, True),
    (lambda _, stats: stats.max_response_time or 0, True),
    (lambda _, stats: stats.operations_per_minute, True),
)


class ServicesView(DashboardView["Dashboard"]):
    """The table of all commands and services, including background services."""

    NAME: ClassVar[str] = "Services"
    BINDINGS: ClassVar = [
        Binding("s", "sort", "Sort by the next column", show=False),
        Binding("S,shift+s", "reverse", "Reverse the order", show=False),
    ]
    _column = 1
    _reversed = False

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield Grid("Services", stats_columns("service"), id="all-services")

    async def read(self, source: Source, time_range: Range) -> Dashboard:
        """Implement DashboardView.read."""
        return await source.dashboard(time_range, None)

    def draw(self, data: Dashboard) -> None:
        """Implement DashboardView.draw."""
        sort_key, largest_first = ORDERS[self._column]
        descending = largest_first is not self._reversed
        background = [RankedStats(name, name, "", stats) for name, stats in data.background.items()]
        listed = [ranked for ranked in (*data.ranking, *background) if self.matches(ranked.name)]
        listed.sort(key=lambda ranked: ranked.name)
        listed.sort(key=lambda ranked: sort_key(ranked.name, ranked.stats), reverse=descending)
        columns = stats_columns("name" if data.commands else "service")
        title = f"{columns[self._column].title} {'▼' if descending else '▲'}"
        columns[self._column] = replace(columns[self._column], title=title)
        grid = self.query_one(Grid)
        grid.set_columns(columns)
        heading = ranking_heading(data) if data.commands else "Services"
        grid.set_title(f"{heading.capitalize()} ({len(listed)}), by {title}")
        grid.set_rows([stats_row(ranked, self._limits) for ranked in listed])

    def action_sort(self) -> None:
        """Sort by the next visible column."""
        visible = self.query_one(Grid).visible
        self._sort_by(next((column for column in visible if column > self._column), visible[0]))

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._reversed = not self._reversed
        self.redraw()

    def on_grid_header_clicked(self, event: Grid.HeaderClicked) -> None:
        """Sort by the clicked column; reverse the order if it is sorted by that column already."""
        if event.column == self._column:
            self.action_reverse()
        else:
            self._sort_by(event.column)

    def _sort_by(self, column: int) -> None:
        self._column, self._reversed = column, False
        self.redraw()
