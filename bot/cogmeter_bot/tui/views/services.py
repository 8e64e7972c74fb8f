"""The view of all commands and services in a table that can be sorted, on a tall screen with charts of the selected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.binding import Binding
from textual.containers import Horizontal

from cogmeter.render import formatting
from cogmeter.render.charts.ticks import duration_scale, share_scale
from cogmeter.schemas.statistics import RankedStats
from cogmeter_bot.cli.slow import NO_OPERATIONS
from cogmeter_bot.cli.summary import ranking_heading
from cogmeter_bot.cli.text import one_line
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.views.base import SUBJECT_KEYS, DashboardView, stats_columns, stats_row
from cogmeter_bot.tui.views.overview import draw_error_rate, draw_latency

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.base import Stats
    from cogmeter.schemas.statistics import Dashboard, Series
    from cogmeter_bot.sources.base import Source

# For each column the sort key, and whether the largest value comes first.
ORDERS: Final[tuple[tuple[Callable[[str, Stats], float | str], bool], ...]] = (
    (lambda name, _: name.casefold(), False),
    (lambda _, stats: stats.total_operations, True),
    # As it is shown: the error rate is rounded, so that two different shares would be equal.
    (lambda _, stats: stats.successful_operations / max(stats.total_operations, 1), False),
    (lambda _, stats: stats.average_response_time or 0, True),
    (lambda _, stats: stats.p50_response_time or 0, True),
    (lambda _, stats: stats.p95_response_time or 0, True),
    (lambda _, stats: stats.p99_response_time or 0, True),
    (lambda _, stats: stats.max_response_time or 0, True),
    (lambda _, stats: stats.operations_per_minute, True),
)


class ServicesData(NamedTuple):
    """All services, and the series of the selected one where its charts are shown."""

    dashboard: Dashboard
    selected: str | None
    series: Series | None


class ServicesView(DashboardView[ServicesData]):
    """The table of all commands and services, including background services."""

    NAME: ClassVar[str] = "Services"
    BINDINGS: ClassVar = [
        Binding("s", "sort", "Sort by the next column", show=False),
        Binding("S,shift+s", "reverse", "Reverse the order", show=False),
        *SUBJECT_KEYS,
    ]
    _column = 1
    _reversed = False

    def compose(self) -> ComposeResult:
        """Yield the table, and the charts of the selected service."""
        yield Grid("Services", stats_columns("service"), empty=NO_OPERATIONS, id="all-services")
        with Horizontal(id="services-charts"):
            yield TerminalChart("Latency", duration_scale, formatting.duration, id="service-times")
            yield TerminalChart("Error rate", share_scale, formatting.percent, id="service-errors")

    async def read(self, source: Source, time_range: Range) -> ServicesData:
        """Implement DashboardView.read."""
        dashboard = await source.dashboard(time_range, None)
        selected = self._selected or (dashboard.ranking[0].name if dashboard.ranking else None)
        series = None
        if selected is not None and self.query_one("#services-charts").display:
            series = await source.series(selected, time_range, trim=True)
        return ServicesData(dashboard, selected, series)

    def draw(self, data: ServicesData) -> None:
        """Implement DashboardView.draw."""
        self._draw_table(data.dashboard)
        if data.series is not None:
            draw_latency(self.query_one("#service-times", TerminalChart), data.series, one_line(data.selected))
            draw_error_rate(self.query_one("#service-errors", TerminalChart), data.series)

    def on_data_table_row_highlighted(self) -> None:
        """Read the charts of the selected service, if they are not shown yet."""
        data = self._data
        if data is not None and data.series is not None and self._selected not in {None, data.selected}:
            self.app.action_refresh_now()  # type: ignore[attr-defined]  # the application is a DashboardApp

    @property
    def subject(self) -> str | None:
        """Implement DashboardView.subject."""
        return self._selected

    @property
    def _selected(self) -> str | None:
        row = self.query_one(Grid).selected
        return None if row is None else row.service

    def _draw_table(self, data: Dashboard) -> None:
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
        visible = self.query_one(Grid).shown_columns
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
