"""The view of one service or command: figures, percentiles over time, operations, and recent errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.containers import Horizontal
from textual.widgets import Static

from cogmeter.recording.service_names import label
from cogmeter.render import formatting
from cogmeter.render.charts.ticks import duration_scale
from cogmeter.schemas.statistics import RankedStats
from cogmeter_bot.cli.output import BAD, DIM, Column
from cogmeter_bot.cli.slow import NO_OPERATIONS
from cogmeter_bot.cli.text import duration, one_line, share, short_timestamp
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.grid import Grid, GridRow
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.tui.views.base import SUBJECT_KEYS, DashboardView, stats_columns, stats_row
from cogmeter_bot.tui.views.overview import draw_latency, joined

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.operations import OperationAnswer
    from cogmeter.schemas.statistics import Series, ServiceAnswer
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source


NO_FAILURES: Final = "No operation of this service failed in this period. The newest failures are listed here."


class ServiceData(NamedTuple):
    """The data of a service; None if nothing is recorded in the range."""

    stats: ServiceAnswer | None
    series: Series | None


class ServiceView(DashboardView[ServiceData]):
    """A service or command in detail; the busiest one until another is selected."""

    NAME: ClassVar[str] = "Service"
    BINDINGS: ClassVar = [*SUBJECT_KEYS]
    service: str | None = None  # or the label of a command

    def compose(self) -> ComposeResult:
        """Yield figures, chart and tables."""
        yield Static(id="service-name", classes="line", markup=False)
        yield Static(id="service-figures", classes="line", markup=False)
        yield TerminalChart("Latency", duration_scale, formatting.duration, id="service-latency", classes="charts")
        with Horizontal(classes="tables"):
            yield Grid("Operations", stats_columns("operation"), empty=NO_OPERATIONS, id="operations")
            yield Grid("Recent errors", _error_columns(), empty=NO_FAILURES, id="recent-errors")

    def select(self, service: str) -> None:
        """Show this service or command from the next refresh on; clear the data of another one."""
        if service != self.service:
            self.service, self._data = service, None
            self.query_one("#service-name", Static).update(one_line(service))
            self.query_one("#service-figures", Static).update("loading ...")
            self.query_one(TerminalChart).draw((), ())
            for grid in self.query(Grid):
                grid.set_rows(())

    @property
    def subject(self) -> str | None:
        """Implement DashboardView.subject."""
        stats = None if self._data is None else self._data.stats
        return self.service if stats is None else label(stats.service_name, stats.operation)

    async def read(self, source: Source, time_range: Range) -> ServiceData:
        """Implement DashboardView.read."""
        service = self.service
        if service is None:
            ranking = (await source.dashboard(time_range, None)).ranking
            if not ranking:
                return ServiceData(None, None)
            service = ranking[0].name
        stats = await source.service(service, None, time_range)
        return ServiceData(stats, await source.series(service, time_range, trim=True))

    def draw(self, data: ServiceData) -> None:
        """Implement DashboardView.draw."""
        name, figures = self.query_one("#service-name", Static), self.query_one("#service-figures", Static)
        if data.stats is None or data.series is None:
            name.update("No operations in this period.")
            figures.update("")
            return
        stats, colours = data.stats, self.app.theme_variables
        name.update(styled_text(colours, *_heading(stats)))
        figures.update(styled_text(colours, *_figures(stats)))
        draw_latency(self.query_one(TerminalChart), data.series)
        rows = [
            stats_row(RankedStats(operation, stats.service_name, operation, operation_stats), self._limits, opens=False)
            for operation, operation_stats in stats.operations.items()
            if self.matches(operation)
        ]
        operations = self.query_one("#operations", Grid)
        operations.set_title(f"Operations ({len(rows)})")
        operations.set_rows(rows)
        errors = [error for error in stats.recent_errors if self.matches(error.operation, error.error)]
        recent = self.query_one("#recent-errors", Grid)
        recent.set_title(f"Recent errors ({len(errors)})")
        recent.set_rows([_error_row(error) for error in errors])


def _heading(stats: ServiceAnswer) -> list[Cell]:
    now, before = stats.average_response_time, stats.before.average_response_time
    slower = formatting.change(now, before)
    more = formatting.change(stats.total_operations, stats.before.total_operations)
    changes = f"  vs previous period: operations {more}, average {slower}"
    return [(one_line(label(stats.service_name, stats.operation)), "bold"), (changes, DIM)]


def _figures(stats: ServiceAnswer) -> list[Cell]:
    count, failed = stats.total_operations, stats.failed_operations
    return joined([
        ("ops", (f"{count:,}", "bold")),
        ("failed", (f"{failed:,} ({share(failed, count)})", BAD if failed else "bold")),
        ("average", (duration(stats.average_response_time), "bold")),
        ("p50", (duration(stats.p50_response_time), "bold")),
        ("p95", (duration(stats.p95_response_time), "bold")),
        ("p99", (duration(stats.p99_response_time), "bold")),
        ("max", (duration(stats.max_response_time), "bold")),
    ])  # fmt: skip


def _error_columns() -> list[Column]:
    return [
        Column("time"),
        Column("operation", flexible=True, hides=1),
        Column("outcome", hides=2),
        Column("error", flexible=True, least=20),
    ]


def _error_row(error: OperationAnswer) -> GridRow:
    text = one_line(error.error, 300) or error.outcome
    cells: list[Cell] = [short_timestamp(error.end_time), one_line(error.operation), error.outcome, (text, BAD)]
    return GridRow(error.operation_id, "", cells)
