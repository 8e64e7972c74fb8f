"""One service: its figures against the period before, percentiles over time, operations, recent errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.containers import Horizontal
from textual.widgets import Static

from cogmeter.render import text
from cogmeter.render.ticks import duration_scale
from cogmeter_bot.cli import words
from cogmeter_bot.cli.page import BAD, DIM, Column
from cogmeter_bot.tui.chart import Chart
from cogmeter_bot.tui.grid import Grid, Row
from cogmeter_bot.tui.looks import painted
from cogmeter_bot.tui.views.base import View, stats_columns, stats_row
from cogmeter_bot.tui.views.overview import draw_latency, joined

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.answers.operations import OperationAnswer
    from cogmeter.answers.series import Series
    from cogmeter.answers.service import ServiceAnswer
    from cogmeter.records import Range
    from cogmeter_bot.cli.page import Cell
    from cogmeter_bot.reading.base import Source


class Detail(NamedTuple):
    """What is read of a service; None of both where nothing is recorded in the range."""

    stats: ServiceAnswer | None
    series: Series | None


class Service(View[Detail]):
    """A service in detail; until one is opened, the busiest."""

    NAME: ClassVar[str] = "Service"
    service: str | None = None

    def compose(self) -> ComposeResult:
        """Figures, chart and tables."""
        yield Static(id="service-name", classes="line", markup=False)
        yield Static(id="service-figures", classes="line", markup=False)
        yield Chart("Latency", duration_scale, id="service-latency", classes="charts")
        with Horizontal(classes="tables"):
            yield Grid("Operations", stats_columns("operation"), id="operations")
            yield Grid("Recent errors", _error_columns(), id="recent-errors")

    def turn_to(self, service: str) -> None:
        """Have this service read next; what is shown of another one goes."""
        if service != self.service:
            self.service, self._data = service, None
            self.query_one("#service-name", Static).update(words.line(service))
            self.query_one("#service-figures", Static).update("reading ...")
            self.query_one(Chart).draw((), ())
            for grid in self.query(Grid):
                grid.fill(())

    async def read(self, source: Source, span: Range) -> Detail:
        """See View."""
        service = self.service
        if service is None:
            service = next(iter((await source.dashboard(span, None)).service_stats), None)
            if service is None:
                return Detail(None, None)
        return Detail(await source.service(service, None, span), await source.series(service, span))

    def show(self, data: Detail) -> None:
        """See View."""
        name, figures = self.query_one("#service-name", Static), self.query_one("#service-figures", Static)
        if data.stats is None or data.series is None:
            name.update("No operations in this stretch of time.")
            figures.update("")
            return
        one, colours = data.stats, self.app.theme_variables
        name.update(painted(colours, *_heading(one)))
        figures.update(painted(colours, *_figures(one)))
        draw_latency(self.query_one(Chart), data.series)
        operations = {key: stats for key, stats in one.operations.items() if self.holds(key)}
        grid = self.query_one("#operations", Grid)
        grid.entitle(f"Operations ({len(operations)})")
        grid.fill([stats_row(key, "", stats, self._settings) for key, stats in operations.items()])
        errors = [each for each in one.recent_errors if self.holds(each.operation, each.error)]
        recent = self.query_one("#recent-errors", Grid)
        recent.entitle(f"Recent errors ({len(errors)})")
        recent.fill([_error_row(each) for each in errors])


def _heading(one: ServiceAnswer) -> list[Cell]:
    now, before = one.average_response_time, one.before.average_response_time
    slower = text.change(now, before, more="slower", less="faster")
    more = text.change(one.total_operations, one.before.total_operations)
    said = f"  operations {more}, average {slower} (than the period before)"
    return [(words.line(one.service_name), "bold"), (said, DIM)]


def _figures(one: ServiceAnswer) -> list[Cell]:
    count, failed = one.total_operations, one.failed_operations
    facts: list[tuple[str, Cell]] = [
        ("ops", (f"{count:,}", "bold")),
        ("failed", (f"{failed:,} ({words.share(failed, count)})", BAD if failed else "bold")),
        ("avg", (words.ms(one.average_response_time), "bold")),
        ("p50", (words.ms(one.p50_response_time), "bold")),
        ("p95", (words.ms(one.p95_response_time), "bold")),
        ("p99", (words.ms(one.p99_response_time), "bold")),
        ("max", (words.ms(one.max_response_time), "bold")),
    ]
    return joined(facts)


def _error_columns() -> list[Column]:
    return [
        Column("time (UTC)"),
        Column("operation", flexible=True, needs=70),
        Column("outcome", needs=180),
        Column("error", flexible=True),
    ]


def _error_row(one: OperationAnswer) -> Row:
    said = words.line(one.error, 300) or one.outcome
    return Row(
        one.operation_id, "", (f"{one.end_time:%m-%d %H:%M:%S}", words.line(one.operation), one.outcome, (said, BAD))
    )
