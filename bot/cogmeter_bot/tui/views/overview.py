"""How the bot is: health, key figures, latency and throughput, the busiest services, the alerts that stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.containers import Horizontal
from textual.widgets import Static

from cogmeter.render import formatting
from cogmeter.render.charts.ticks import duration_scale, rate_scale
from cogmeter_bot.cli import guide_format
from cogmeter_bot.cli.output import BAD, DIM, GOOD, WARN
from cogmeter_bot.sources.steps import drawn_steps
from cogmeter_bot.tui.chart import Line, TerminalChart
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.styles import painted
from cogmeter_bot.tui.views.base import DashboardView, alert_columns, alert_row, stats_columns, stats_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.dashboard import Dashboard, OverallStats
    from cogmeter.schemas.series import Series
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source
    from cogmeter_bot.sources.diagnosis import Diagnosis

TOP: Final = 10  # services
HEALTH_ROWS: Final = 2
MARGINS: Final = 10  # columns of a row that words too long for its end leave empty


class OverviewData(NamedTuple):
    """What the overview reads."""

    view: Dashboard
    series: Series
    diagnosis: Diagnosis


class OverviewView(DashboardView[OverviewData]):
    """The overview."""

    NAME: ClassVar[str] = "Overview"

    def compose(self) -> ComposeResult:
        """Figures above, charts in the middle, tables below."""
        yield Static(id="health", classes="line")
        yield Static(id="figures", classes="line")
        with Horizontal(classes="charts"):
            yield TerminalChart("Latency", duration_scale, id="latency")
            yield TerminalChart("Operations/min", rate_scale, id="throughput")
        with Horizontal(classes="tables"):
            yield Grid("Top services", stats_columns("service"), id="top")
            yield Grid("Active alerts", alert_columns(), id="standing")

    async def read(self, source: Source, span: Range) -> OverviewData:
        """See View."""
        view = await source.dashboard(span, None)
        return OverviewData(view, await source.series(None, span, trim=True), await source.diagnosis(span, None))

    def show(self, data: OverviewData) -> None:
        """See View."""
        colours = self.app.theme_variables
        health = painted(colours, *_health(data.diagnosis, HEALTH_ROWS * (self.size.width - MARGINS)))
        health.no_wrap = False
        self.query_one("#health", Static).update(health)
        self.query_one("#figures", Static).update(painted(colours, *_figures(data.view.overall_stats)))
        one, steps = data.series, drawn_steps(data.series)
        draw_latency(self.query_one("#latency", TerminalChart), one)
        lines = [
            Line("all", one.operations_per_minute[:steps], "main"),
            Line("failed", one.failures_per_minute[:steps], BAD),
        ]
        self.query_one("#throughput", TerminalChart).draw(one.timestamps[:steps], lines)
        named = [pair for pair in data.view.service_stats.items() if self.holds(pair[0])]
        top = self.query_one("#top", Grid)
        top.entitle(f"Top services ({min(len(named), TOP)} of {len(named)})")
        top.fill([stats_row(name, stats, self._limits, name) for name, stats in named[:TOP]])
        standing = self.query_one("#standing", Grid)
        alerts = [each for each in data.view.alerts if self.holds(each.service, each.message)]
        standing.entitle(f"Active alerts ({len(alerts)})")
        standing.fill([alert_row(each) for each in alerts])


def draw_latency(chart: TerminalChart, one: Series) -> None:
    """The percentiles over time."""
    steps = drawn_steps(one)
    lines = [
        Line("p99", _in_us(one.p99_response_time[:steps]), BAD),
        Line("p95", _in_us(one.p95_response_time[:steps]), WARN),
        Line("p50", _in_us(one.p50_response_time[:steps]), GOOD),
    ]
    chart.draw(one.timestamps[:steps], lines)


def _in_us(values_ms: Sequence[float | None]) -> list[float | None]:
    return [None if one is None else one * 1_000 for one in values_ms]


def _health(diagnosis: Diagnosis, room: int) -> list[Cell]:
    """What is not well, in so many columns."""
    ill = [one for one in diagnosis.findings if not one.well]
    if not ill:
        return [("● healthy", GOOD), (f"  all {len(diagnosis.findings)} checks pass", DIM)]
    said = "; ".join(f"{guide_format.line(one.name)}: {guide_format.line(one.text, 120)}" for one in ill)
    head = f"● {len(ill)} of {len(diagnosis.findings)} checks fail"
    return [(head, BAD), f"  {formatting.cut(said, max(room - len(head), 0))}"]


def _figures(total: OverallStats) -> list[Cell]:
    count, failed = total.total_operations, total.failed_operations
    facts: list[tuple[str, Cell]] = [
        ("ops", (f"{count:,}", "bold")),
        ("success", (guide_format.share(count - failed, count), "bold")),
        ("average", (guide_format.ms(total.average_response_time), "bold")),
        ("p95", (guide_format.ms(total.p95_response_time), "bold")),
        ("p99", (guide_format.ms(total.p99_response_time), "bold")),
        ("services", (f"{total.active_services:,}", "bold")),
    ]
    if total.dropped_operations:
        facts.append(("dropped: the buffer was full", (f"{total.dropped_operations:,}", WARN)))
    return joined(facts)


def joined(facts: list[tuple[str, Cell]]) -> list[Cell]:
    """Values with their names behind them, on one line."""
    made: list[Cell] = []
    for name, value in facts:
        made += ["  " if made else "", value, (f" {name}", DIM)]
    return made
