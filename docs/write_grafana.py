"""Writes ``grafana-dashboard.json`` into this folder, with grafana-foundation-sdk: ``make docs``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from cogmeter.recording.service_names import BACKGROUND, BY_OPERATION, DEPENDENCIES

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET: Final = Path(__file__).resolve().with_name("grafana-dashboard.json")
NAMESPACE: Final = "chatterbot"  # PERFORMANCE_METRICS_NAMESPACE; for another, replace it in the file
SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, ORANGE, RED = "#4c9f70", "#d98c21", "#c8443c"

JOB: Final = 'job=~"$job"'
SELECTED: Final = f'{JOB},service=~"$service"'
# The totals leave out background services, as the summary in Discord does.
_BACKGROUND: Final = "|".join([*map(re.escape, sorted(BACKGROUND)), *(f"{re.escape(name)}.*" for name in DEPENDENCIES)])
FOREGROUND: Final = f'{JOB},service!~"{_BACKGROUND}"'.replace("\\", "\\\\")
COMMANDS: Final = f'{JOB},service=~"{"|".join(map(re.escape, sorted(BY_OPERATION)))}"'.replace("\\", "\\\\")
FAILED: Final = 'outcome=~"error|upstream"'
RATE: Final = "[$__rate_interval]"
OPERATIONS: Final = f"{NAMESPACE}_operations_total"
DURATION: Final = f"{NAMESPACE}_operation_duration_seconds"


class Chart(NamedTuple):
    """A panel: its title, its queries (expression, legend), its unit as Grafana names it, and its description."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str
    text: str = ""
    steps: tuple[tuple[float, str], ...] = ()  # of a single figure: (from value, colour); green below the first


def selector(metric: str, labels: str = JOB) -> str:
    """Return the selector of a metric."""
    return f"{NAMESPACE}_{metric}{{{labels}}}"


def ratio(labels: str, by: str = "") -> str:
    """Return the expression of an error rate, grouped by some labels."""
    grouped = f" by ({by}) " if by else ""
    failed = f"sum{grouped}(rate({OPERATIONS}{{{labels},{FAILED}}}{RATE}))"
    return f"{failed} / sum{grouped}(rate({OPERATIONS}{{{labels}}}{RATE}))"


def quantile(share: float, labels: str, by: str = "") -> str:
    """Return the expression of a quantile of the durations, grouped by some labels."""
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({DURATION}_bucket{{{labels}}}{RATE})))"


KEY_FIGURES: Final = (
    Chart("Operations/min", [(f"60 * sum(rate({OPERATIONS}{{{FOREGROUND}}}{RATE}))", "")], "short"),
    Chart("Error rate", [(ratio(FOREGROUND), "")], "percentunit", "Ended as error or upstream",
          ((0.01, ORANGE), (0.05, RED))),
    Chart("95th percentile", [(quantile(0.95, FOREGROUND), "")], "s", "", ((2.5, ORANGE), (5, RED))),
    Chart("Health", [(f"min({selector('health')})", "")], "percentunit", "1 healthy, 0.5 degraded, 0 unhealthy",
          ((0, RED), (0.5, ORANGE), (1, GREEN))),
    Chart("Active alerts", [(f"sum({selector('alerts_active')})", "")], "short", "", ((1, ORANGE), (3, RED))),
    Chart("Shards connected", [(f"sum({selector('gateway_shards_connected')})", "")], "short"),
)  # fmt: skip

ROWS: Final[dict[str, tuple[Chart, ...]]] = {
    "Services": (
        Chart("Operations/min", [(f"60 * sum by (service) (rate({OPERATIONS}{{{SELECTED}}}{RATE}))", "{{service}}")],
              "short"),
        Chart("Top commands", [(f"topk(10, 60 * sum by (operation) (rate({OPERATIONS}{{{COMMANDS}}}{RATE})))",
                                "{{operation}}")], "short", "Commands, components and replies; ops/min"),
        Chart("Error rate", [(ratio(SELECTED, "service"), "{{service}}")], "percentunit", "Ended as error or upstream"),
        Chart("Response time", [(quantile(share, FOREGROUND), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)], "s",
              "Foreground services; exact within one bucket"),
        Chart("95th percentile by service", [(quantile(0.95, SELECTED, "service"), "{{service}}")], "s"),
        Chart("Slowest operations",
              [(f"topk(10, {quantile(0.95, SELECTED, 'service, operation')})", "{{service}} / {{operation}}")], "s",
              "95th percentile of the ten slowest"),
        Chart("Outcomes",
              [(f"60 * sum by (outcome) (rate({OPERATIONS}{{{SELECTED}}}{RATE}))", "{{outcome}}")], "short", "ops/min"),
    ),
    "Discord": (
        Chart("First response to interactions",
              [(quantile(share, f'{JOB},service="discord.acknowledgement"'), f"p{share * 100:g}")
               for share in (0.5, 0.99)], "s", "Discord limit: 3 s"),
        Chart("Gateway latency", [(selector("gateway_latency_seconds"), "shard {{shard}}")], "s"),
        Chart("Heartbeat age", [(selector("gateway_heartbeat_age_seconds"), "shard {{shard}}")], "s",
              "Above a minute the connection is dead"),
        Chart("Gateway events",
              [(f"sum by (event) (increase({selector('gateway_events_total')}[1h]))", "{{event}}")], "short",
              "per hour"),
        Chart("Rate limits", [(f"sum by (scope) ({selector('rate_limits_recent')})", "{{scope}}")], "short",
              "In the last 10 min"),
        Chart("Invalid requests", [(f"max({selector('invalid_requests_ratio')})", "used")], "percentunit",
              "At 100% Discord bans the address for a while"),
        Chart("Event-loop lag", [(f"max by (statistic) ({selector('loop_lag_seconds')})", "{{statistic}}")], "s"),
        Chart("Guilds", [(f"sum({selector('guilds')})", "guilds")], "short"),
    ),
    "Process": (
        Chart("Memory", [(selector("process_memory_bytes"), "resident")], "bytes"),
        Chart("CPU", [(selector("process_cpu_ratio"), "of one core")], "percentunit"),
        Chart("Threads and open files",
              [(selector("process_threads"), "threads"), (selector("process_open_files"), "open files")], "short"),
        Chart("Garbage collection", [(f"rate({selector('gc_pause_seconds_total')}{RATE})", "share of time")],
              "percentunit"),
    ),
    "Cost": (
        Chart("Cost in the last 24 h", [(f"sum by (service) ({selector('cost_usd_day', SELECTED)})", "{{service}}")],
              "currencyUSD"),
        Chart("Tokens/min",
              [(f"60 * sum by (service, direction) (rate({selector('tokens_total', SELECTED)}{RATE}))",
                "{{service}} {{direction}}")], "short"),
    ),
    "Monitor": (
        Chart("Component health", [(selector("health"), "{{component}}")], "percentunit",
              "1 healthy, 0.5 degraded, 0 unhealthy"),
        Chart("Buffer",
              [(f"{selector('monitor_buffer_operations')} / {selector('monitor_buffer_capacity')}", "filled")],
              "percentunit"),
        Chart("Last flush", [(selector("monitor_flush_age_seconds"), "age")], "s"),
        Chart("Lost operations and faults",
              [(f"increase({selector('monitor_dropped_total')}[1h])", "dropped"),
               (f"increase({selector('monitor_refused_total')}[1h])", "refused"),
               (f"sum(increase({selector('monitor_faults_total')}[1h]))", "faults")], "short", "per hour"),
        Chart("Overhead", [(selector("monitor_overhead_ratio"), "of one core")], "percentunit"),
        Chart("Scrape duration", [(selector("monitor_scrape_duration_seconds"), "scrape")], "s"),
        Chart("Alert deliveries", [(f"sum by (target, outcome) (increase({selector('alert_deliveries_total')}[1h]))",
                               "{{target}} {{outcome}}")], "short", "per hour"),
        Chart("Database", [(selector("monitor_store_size_bytes"), "size")], "bytes"),
    ),
}  # fmt: skip


def query(expression: str, legend: str, index: int) -> prometheus.Dataquery:
    """Return a query of a panel; ``index`` is its position there."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + index))


def figure(chart: Chart) -> stat.Panel:
    """Return a panel with one figure, and its past in the background."""
    panel = (
        stat.Panel()
        .title(chart.title)
        .description(chart.text)
        .datasource(SOURCE)
        .unit(chart.unit)
        .span(4)
        .height(4)
        .graph_mode(common_models.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    steps = [models.Threshold(color=GREEN), *(models.Threshold(at, color) for at, color in chart.steps)]
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    for index, (expression, legend) in enumerate(chart.queries):
        panel.with_target(query(expression, legend, index))
    return panel


def lines(chart: Chart) -> timeseries.Panel:
    """Return a panel with lines over time."""
    panel = (
        timeseries.Panel()
        .title(chart.title)
        .description(chart.text)
        .datasource(SOURCE)
        .unit(chart.unit)
        .min(0)
        .span(12)
        .height(8)
        .fill_opacity(8)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    for index, (expression, legend) in enumerate(chart.queries):
        panel.with_target(query(expression, legend, index).exemplar("_bucket" in expression))
    return panel


def durations() -> heatmap.Panel:
    """Return a panel with all durations as a heatmap."""
    expression = f"sum by (le) (increase({DURATION}_bucket{{{SELECTED}}}{RATE}))"
    return (
        heatmap.Panel()
        .title("Durations")
        .description("Number of operations by duration")
        .datasource(SOURCE)
        .span(24)
        .height(8)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .color(heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .with_target(query(expression, "{{le}}", 0).format(PromQueryFormat.HEATMAP))
    )


def variable(name: str, title: str, metric: str, label: str) -> dashboard.QueryVariable:
    """Return a variable with all values of a metric's label."""
    return (
        dashboard.QueryVariable(name)
        .label(title)
        .datasource(SOURCE)
        .query({"query": f"label_values({metric}, {label})", "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def dashboard_json() -> str:
    """Return the dashboard as JSON."""
    board = (
        dashboard.Dashboard("Discord bot performance")
        .uid("cogmeter")
        .description("What cogmeter records of a bot: its services, Discord, its process, its costs, and the monitor.")
        .tags(["discord", "cogmeter"])
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("utc")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("job", "Bot", f"{NAMESPACE}_monitor_info", "job"))
        .with_variable(variable("service", "Service", selector("operations_total"), "service"))
    )
    board.with_row(dashboard.Row("Overview"))
    for chart in KEY_FIGURES:
        board.with_panel(figure(chart))
    for title, charts in ROWS.items():
        board.with_row(dashboard.Row(title))
        for chart in charts:
            board.with_panel(lines(chart))
        if title == "Services":
            board.with_panel(durations())
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(dashboard_json(), encoding="utf-8")
