"""One service: its figures against the period before, percentiles over time, operations, recent errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.containers import Horizontal
from textual.widgets import Static

from cogmeter.render import formatting
from cogmeter.render.charts.ticks import duration_scale
from cogmeter_bot.cli import guide_format
from cogmeter_bot.cli.output import BAD, DIM, Column
from cogmeter_bot.tui.chart import TerminalChart
from cogmeter_bot.tui.grid import Grid, GridRow
from cogmeter_bot.tui.styles import painted
from cogmeter_bot.tui.views.base import DashboardView, stats_columns, stats_row
from cogmeter_bot.tui.views.overview import draw_latency, joined

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.operations import OperationAnswer
    from cogmeter.schemas.series import Series
    from cogmeter.schemas.service import ServiceAnswer
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source


class ServiceData(NamedTuple):
    """What is read of a service; None of both where nothing is recorded in the range."""

    stats: ServiceAnswer | None
    series: Series | None


class ServiceView(DashboardView[ServiceData]):
    """A service in detail; until one is opened, the busiest."""

    NAME: ClassVar[str] = "Service"
    service: str | None = None

    def compose(self) -> ComposeResult:
        """Figures, chart and tables."""
        yield Static(id="service-name", classes="line", markup=False)
        yield Static(id="service-figures", classes="line", markup=False)
        yield TerminalChart("Latency", duration_scale, id="service-latency", classes="charts")
        with Horizontal(classes="tables"):
            yield Grid("Operations", stats_columns("operation"), id="operations")
            yield Grid("Recent errors", _error_columns(), id="recent-errors")

    def turn_to(self, service: str) -> None:
        """Have this service read next; what is shown of another one goes."""
        if service != self.service:
            self.service, self._data = service, None
            self.query_one("#service-name", Static).update(guide_format.line(service))
            self.query_one("#service-figures", Static).update("reading ...")
            self.query_one(TerminalChart).draw((), ())
            for grid in self.query(Grid):
                grid.fill(())

    async def read(self, source: Source, span: Range) -> ServiceData:
        """See View."""
        service = self.service
        if service is None:
            service = next(iter((await source.dashboard(span, None)).service_stats), None)
            if service is None:
                return ServiceData(None, None)
        return ServiceData(await source.service(service, None, span), await source.series(service, span, trim=True))

    def show(self, data: ServiceData) -> None:
        """See View."""
        name, figures = self.query_one("#service-name", Static), self.query_one("#service-figures", Static)
        if data.stats is None or data.series is None:
            name.update("No operations in this stretch of time.")
            figures.update("")
            return
        one, colours = data.stats, self.app.theme_variables
        name.update(painted(colours, *_heading(one)))
        figures.update(painted(colours, *_figures(one)))
        draw_latency(self.query_one(TerminalChart), data.series)
        operations = {key: stats for key, stats in one.operations.items() if self.holds(key)}
        grid = self.query_one("#operations", Grid)
        grid.entitle(f"Operations ({len(operations)})")
        grid.fill([stats_row(key, stats, self._limits, one.service_name, key) for key, stats in operations.items()])
        errors = [each for each in one.recent_errors if self.holds(each.operation, each.error)]
        recent = self.query_one("#recent-errors", Grid)
        recent.entitle(f"Recent errors ({len(errors)})")
        recent.fill([_error_row(each) for each in errors])


def _heading(one: ServiceAnswer) -> list[Cell]:
    now, before = one.average_response_time, one.before.average_response_time
    slower = formatting.change(now, before, more="slower", less="faster")
    more = formatting.change(one.total_operations, one.before.total_operations)
    said = f"  operations {more}, average {slower} (than the period before)"
    return [(guide_format.line(one.service_name), "bold"), (said, DIM)]


def _figures(one: ServiceAnswer) -> list[Cell]:
    count, failed = one.total_operations, one.failed_operations
    facts: list[tuple[str, Cell]] = [
        ("ops", (f"{count:,}", "bold")),
        ("failed", (f"{failed:,} ({guide_format.share(failed, count)})", BAD if failed else "bold")),
        ("avg", (guide_format.ms(one.average_response_time), "bold")),
        ("p50", (guide_format.ms(one.p50_response_time), "bold")),
        ("p95", (guide_format.ms(one.p95_response_time), "bold")),
        ("p99", (guide_format.ms(one.p99_response_time), "bold")),
        ("max", (guide_format.ms(one.max_response_time), "bold")),
    ]
    return joined(facts)


def _error_columns() -> list[Column]:
    return [
        Column("time (UTC)"),
        Column("operation", flexible=True, needs=70),
        Column("outcome", needs=180),
        Column("error", flexible=True),
    ]


def _error_row(one: OperationAnswer) -> GridRow:
    said = guide_format.line(one.error, 300) or one.outcome
    return GridRow(
        one.operation_id,
        "",
        (f"{one.end_time:%m-%d %H:%M:%S}", guide_format.line(one.operation), one.outcome, (said, BAD)),
    )
