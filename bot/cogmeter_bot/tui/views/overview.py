"""The overview: what needs attention, health, key figures, charts, the busiest commands and services, alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.containers import Horizontal
from textual.widgets import Static

from cogmeter.diagnosis import NO_CONCERN, Status, left_out_text
from cogmeter.recording.service_names import label
from cogmeter.render import formatting
from cogmeter.render.charts.ticks import duration_scale, rate_scale
from cogmeter_bot.cli.alerts import NO_ALERTS, SEVERITY_COLOURS, alert_text
from cogmeter_bot.cli.output import BAD, DIM, GOOD, WARN
from cogmeter_bot.cli.slow import NO_OPERATIONS
from cogmeter_bot.cli.summary import attention_lines, ranking_heading
from cogmeter_bot.cli.text import duration, one_line, share
from cogmeter_bot.sources.base import complete_steps
from cogmeter_bot.tui.chart import Line, TerminalChart
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.tui.views.base import TALL, DashboardView, alert_columns, alert_row, stats_columns, stats_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.statistics import Dashboard, Series
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source
    from cogmeter_bot.sources.diagnosis import Diagnosis

TOP: Final = 10  # commands and services
HEALTH_ROWS: Final = 2
OTHERS: Final = 3  # active alerts that no finding is about; the table below lists all
WRAP_LOSS: Final = 10  # columns of a row that stay empty when a word moves to the next row


class OverviewData(NamedTuple):
    """The data of the overview."""

    dashboard: Dashboard
    series: Series
    diagnosis: Diagnosis


class OverviewView(DashboardView[OverviewData]):
    """The overview."""

    NAME: ClassVar[str] = "Overview"

    def compose(self) -> ComposeResult:
        """Yield figures above, charts in the middle, tables below."""
        yield Static(id="attention", classes="line")
        yield Static(id="health", classes="line")
        yield Static(id="figures", classes="line")
        with Horizontal(classes="charts"):
            yield TerminalChart("Latency", duration_scale, formatting.duration, id="latency")
            yield TerminalChart("Operations/min", rate_scale, "{:,.1f}".format, id="throughput")
        with Horizontal(classes="tables"):
            yield Grid("Top services", stats_columns("service"), empty=NO_OPERATIONS, id="top")
            yield Grid("Active alerts", alert_columns(), empty=NO_ALERTS, id="active")

    async def read(self, source: Source, time_range: Range) -> OverviewData:
        """Implement DashboardView.read."""
        dashboard = await source.dashboard(time_range, None)
        series = await source.series(None, time_range, trim=True)
        return OverviewData(dashboard, series, await source.diagnosis(time_range, None))

    def draw(self, data: OverviewData) -> None:
        """Implement DashboardView.draw."""
        colours = self.app.theme_variables
        attention, whole = _attention(data.dashboard), self.app.size.height >= TALL
        self.query_one("#attention", Static).update(styled_text(colours, *attention, wrap=whole))
        health = _health(data.diagnosis, HEALTH_ROWS * (self.size.width - WRAP_LOSS))
        self.query_one("#health", Static).update(styled_text(colours, *health, wrap=True))
        self.query_one("#figures", Static).update(styled_text(colours, *_figures(data.dashboard)))
        draw_latency(self.query_one("#latency", TerminalChart), data.series)
        _draw_throughput(self.query_one("#throughput", TerminalChart), data.series)
        ranking = [ranked for ranked in data.dashboard.ranking if self.matches(ranked.name)]
        heading = ranking_heading(data.dashboard)
        top = self.query_one("#top", Grid)
        top.set_columns(stats_columns("service" if heading == "Services" else "name"))
        top.set_title(f"Top {heading.lower()} ({min(len(ranking), TOP)} of {len(ranking)})")
        top.set_rows([stats_row(ranked, self._limits) for ranked in ranking[:TOP]])
        alerts = [alert for alert in data.dashboard.alerts if self.matches(alert.service, alert_text(alert))]
        active = self.query_one("#active", Grid)
        active.set_title(f"Active alerts ({len(alerts)})")
        active.set_rows([alert_row(alert) for alert in alerts])


def draw_latency(chart: TerminalChart, series: Series, name: str = "") -> None:
    """Draw the percentiles over time; ``name`` is put into the title."""
    steps = complete_steps(series)
    lines = [
        Line("p99", _to_us(series.p99_response_time[:steps]), BAD),
        Line("p95", _to_us(series.p95_response_time[:steps]), WARN),
        Line("p50", _to_us(series.p50_response_time[:steps]), GOOD),
    ]
    _draw(chart, series, lines, name)


def draw_error_rate(chart: TerminalChart, series: Series) -> None:
    """Draw the share of operations that failed, over time."""
    steps = complete_steps(series)
    counts = zip(series.failures_per_minute[:steps], series.operations_per_minute[:steps], strict=True)
    rates = [failed / operations if operations else None for failed, operations in counts]
    _draw(chart, series, [Line("failed", rates, BAD)])


def _draw(chart: TerminalChart, series: Series, lines: Sequence[Line], name: str = "") -> None:
    """Draw lines of complete steps, which open as intervals of the series' service or command."""
    subject = series.service
    if series.service is not None and series.operation is not None:
        subject = label(series.service, series.operation)
    step = timedelta(seconds=series.step_seconds)
    chart.draw(series.timestamps[: complete_steps(series)], lines, name, step=step, subject=subject)


def _to_us(values_ms: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else value * 1_000 for value in values_ms]


def _draw_throughput(chart: TerminalChart, series: Series) -> None:
    steps = complete_steps(series)
    lines = [
        Line("all", series.operations_per_minute[:steps], "main"),
        Line("failed", series.failures_per_minute[:steps], BAD),
    ]
    _draw(chart, series, lines)


def _attention(dashboard: Dashboard) -> list[Cell]:
    """Return a line for each finding and each other active alert, or the line that nothing needs attention."""
    concerns = dashboard.attention
    lines = [
        (line, SEVERITY_COLOURS.get(concern.severity, ""))
        for line, concern in zip(attention_lines(concerns), concerns, strict=True)
    ]
    lines += [(text, DIM) for text in filter(None, [left_out_text(dashboard.attention_left_out)])]
    named = {concern.alert for concern in concerns}
    others = [alert for alert in dashboard.alerts if alert.id not in named][:OTHERS]
    lines += [
        (f"{alert.severity}: {one_line(alert.service)}: {alert_text(alert)}", SEVERITY_COLOURS.get(alert.severity, ""))
        for alert in others
    ]
    cells: list[Cell] = []
    for line, colour in lines or [(NO_CONCERN, DIM)]:
        cells += ["\n" if cells else "", (line, colour)]
    return cells


def _health(diagnosis: Diagnosis, width: int) -> list[Cell]:
    """Return the verdict, what it follows from, and the checks that fail, in ``width`` columns."""
    colour = {Status.HEALTHY: GOOD, Status.DEGRADED: WARN}.get(diagnosis.status, BAD)
    head, text = f"● {diagnosis.status}", diagnosis.verdict or diagnosis.result
    failed = "; ".join(
        f"{one_line(check.name)}: {one_line(check.text, 120)}" for check in diagnosis.failed if check.name != "alerts"
    )
    rest = max(width - len(head) - len(text) - 2, 0)
    return [
        (head, colour),
        (f"  {text}", DIM if colour == GOOD else ""),
        f"  {formatting.cut(failed, rest)}" if failed else "",
    ]


def _figures(dashboard: Dashboard) -> list[Cell]:
    total = dashboard.overall_stats
    count, failed = total.total_operations, total.failed_operations
    figures: list[tuple[str, Cell]] = [
        ("ops", (f"{count:,}", "bold")),
        ("success", (share(count - failed, count), "bold")),
        ("average", (duration(total.average_response_time), "bold")),
        ("p95", (duration(total.p95_response_time), "bold")),
        ("p99", (duration(total.p99_response_time), "bold")),
    ]
    if total.dropped_operations:
        figures.append(("dropped: the buffer was full", (f"{total.dropped_operations:,}", WARN)))
    active = formatting.active(dashboard.commands, len(dashboard.ranked_services))
    return [*joined(figures), "  ", (active, "bold")]


def joined(figures: list[tuple[str, Cell]]) -> list[Cell]:
    """Return values, each followed by its name, as one line."""
    cells: list[Cell] = []
    for name, value in figures:
        cells += ["  " if cells else "", value, (f" {name}", DIM)]
    return cells
