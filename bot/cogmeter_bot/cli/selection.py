"""``cogmeter selection``: what happened in a few minutes, as behind a point of a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.alerts import SEVERITY_COLOURS, alert_text
from cogmeter_bot.cli.options import ReadingOptions, complete_subjects, reading_options
from cogmeter_bot.cli.output import BAD, Column, LabelledValue, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.slow import run_lines, run_title
from cogmeter_bot.cli.text import duration, one_line, share, timestamp
from cogmeter_bot.zones import zone_label, zone_name

if TYPE_CHECKING:
    from datetime import datetime

    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.base import Stats
    from cogmeter.schemas.operations import OperationAnswer, SpanAnswer
    from cogmeter.schemas.selection import SelectionAnswer
    from cogmeter.schemas.slow import SlowRunAnswer
    from cogmeter_bot.cli.output import Block, Cell

ALL: Final = "All commands and services"
NO_ALERT: Final = "No alert fired. Alerts fire when a metric exceeds its threshold; `cogmeter alerts` lists them."
NO_MARKER: Final = "No deploy, restart or other marker. The start of the bot and a new version are marked here."
NO_OPERATION: Final = "No operations. Each command, component and reply that ends is listed here."
NO_ERROR: Final = "No operation failed."
NO_TRACE: Final = "No trace is stored. Traces are kept of slow and failed commands, buttons and forms."
WATERFALL: Final = 24  # columns of a whole run
NAME: Final = 30  # columns of the name of a part
MOST_BARS: Final = 12
DEEPEST: Final = 4  # levels of indentation


@click.command()
@click.argument("service", required=False, shell_complete=complete_subjects)
@reading_options
def selection(options: ReadingOptions, service: str | None) -> None:
    """Show what happened in a short range.

    The slowest operations, errors, alerts and markers: of all, or of a SERVICE
    or a command such as /ask. Without --since, the last hour. It is what a
    point of a chart opens. --services is ignored: name a SERVICE.

    --check: an operation failed.
    """
    time_range = options.time_range("1h")
    answer = options.query(lambda source: source.selection(time_range, service))
    if options.as_json:
        show_json(answer)
    else:
        show(selection_page(answer, service))
    options.exit_unless(not answer.stats.failed_operations)


def interval_text(since: datetime, until: datetime) -> str:
    """Return a range in words, in the zone in use: ``2025-08-17 10:20:00 to 10:25:00 CEST``."""
    first, last = timestamp(since), timestamp(until)
    same_day = first[:10] == last[:10]
    zones = zone_name(since), zone_name(until)
    first = first if zones[0] == zones[1] else f"{first} {zones[0]}"
    return f"{first} to {last[11:] if same_day else last} {zones[1]}"


def selection_page(answer: SelectionAnswer, name: str | None) -> OutputPage:
    """Return the page of a range; ``name`` is the service or command as the owner knows it."""
    when = interval_text(answer.time_range.since, answer.time_range.until)
    blocks: list[Block] = [
        LabelledValue("Operations", _figures(answer.stats), BAD if answer.stats.failed_operations else ""),
        LabelledValue("Before", _figures(answer.before)),
        _slowest(answer.slowest),
    ]
    blocks += [Listing(run_title(run), [*run_lines(run), *waterfall_lines(run)]) for run in answer.runs]
    if answer.slowest and not answer.runs:
        blocks.append(NO_TRACE)
    blocks += [_errors(answer), _alerts(answer)]
    markers = [f"{timestamp(marker.at)}  {one_line(marker.name)}" for marker in answer.markers]
    blocks.append(Listing(f"Markers ({zone_label()})", markers or [NO_MARKER]))
    return OutputPage(f"{one_line(name or ALL)}: {when}", blocks)


def waterfall_lines(run: SlowRunAnswer) -> list[str]:
    """Return a line with a bar at its place in the run for each part, in the order of their start."""
    from cogmeter.render.charts.bar_chart import depths_of
    from cogmeter.render.formatting import counted

    depths, whole = depths_of(run.spans), max(run.duration, 0.001)
    longest = sorted(run.spans, key=lambda span: -span.duration)[:MOST_BARS]
    shown = sorted(longest, key=lambda span: (span.start, span.id))
    lines = [_bar_line(span, min(depths[span.id], DEEPEST), whole) for span in shown]
    left_out = len(run.spans) - len(shown) + run.spans_left_out
    return [*lines, *([f"and {counted(left_out, 'shorter part')}"] if left_out else [])]


def _bar_line(span: SpanAnswer, depth: int, whole: float) -> str:
    from rich.cells import set_cell_size

    name = f"{'  ' * depth}{one_line(f'{span.service} {span.operation}', 2 * NAME)}"
    left = min(max(round(WATERFALL * span.start / whole), 0), WATERFALL - 1)
    width = min(max(round(WATERFALL * span.duration / whole), 1), WATERFALL - left)
    failed = "" if span.outcome == "ok" else f"  {span.outcome}"
    bar = f"{' ' * left}{'#' * width}".ljust(WATERFALL)
    return f"{set_cell_size(name, NAME)} |{bar}| {duration(span.duration):>8}{failed}"


def _figures(stats: Stats) -> str:
    count = stats.total_operations
    if not count:
        return "none"
    return f"{count:,}, {share(stats.failed_operations, count)} failed, p95 {duration(stats.p95_response_time)}"


def _slowest(operations: list[OperationAnswer]) -> Block:
    if not operations:
        return Listing("Slowest operations", [NO_OPERATION])
    columns = [
        Column("duration", right=True),
        Column("ended"),
        Column("service / operation", flexible=True, least=20),
        Column("outcome", hides=1),
        Column("error", hides=2, flexible=True, least=20),
    ]
    rows: list[list[Cell]] = [
        [
            duration(one.duration),
            timestamp(one.end_time)[11:],
            one_line(f"{one.service} / {one.operation}"),
            one.outcome,
            one_line(one.error, 200),
        ]
        for one in operations
    ]
    return Table(columns, rows, f"Slowest operations ({zone_label()})")


def _errors(answer: SelectionAnswer) -> Block:
    if not answer.errors:
        return Listing("Errors", [NO_ERROR])
    columns = [
        Column("count", right=True),
        Column("last"),
        Column("service / operation", flexible=True, least=16),
        Column("error", flexible=True, least=20),
    ]
    rows: list[list[Cell]] = [
        [
            f"{group.count:,}",
            timestamp(group.last_at)[11:],
            one_line(f"{group.service} / {group.operation}"),
            (one_line(group.example.error, 200) or "(no message)", BAD),
        ]
        for group in answer.errors
    ]
    of = ", of the newest 20,000 failures" if answer.truncated else ""
    return Table(columns, rows, f"Errors ({zone_label()}{of})")


def _alerts(answer: SelectionAnswer) -> Block:
    if not answer.alerts:
        return Listing("Alerts", [NO_ALERT])
    columns = [Column("severity"), Column("state", hides=1), Column("began"), Column("alert", flexible=True, least=30)]
    rows = [_alert_row(alert) for alert in answer.alerts]
    newest = f"; the newest {len(rows)} of {len(rows) + answer.alerts_left_out:,}" if answer.alerts_left_out else ""
    return Table(columns, rows, f"Alerts ({zone_label()}{newest})")


def _alert_row(alert: AlertAnswer) -> list[Cell]:
    return [
        (alert.severity, SEVERITY_COLOURS.get(alert.severity, "")),
        alert.state,
        timestamp(alert.started_at),
        f"{one_line(alert.service)}: {alert_text(alert, 200)}",
    ]
