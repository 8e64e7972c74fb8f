"""``cogmeter summary`` and ``cogmeter stats``: the statistics of all services, and of one, in the guide's layout.

Commands, components and replies are listed by their own names, like services.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, complete_subjects, operation_option, reading_options
from cogmeter_bot.cli.output import (
    BAD,
    GOOD,
    WARN,
    Column,
    LabelledValue,
    Listing,
    OutputPage,
    Table,
    is_rich,
    show,
    show_json,
)
from cogmeter_bot.cli.text import duration, ms, one_line, range_title, service_title, share, timestamp, zoned_title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.statistics import ConcernAnswer, Dashboard, RankedStats, ServiceAnswer
    from cogmeter.settings import Settings
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source


@click.command()
@click.option(
    "--top",
    type=click.IntRange(0, 1000),
    help="Number of commands and of services to list (default: 3; 10 on a terminal).",
)
@click.option(
    "--findings",
    type=click.IntRange(1, 100),  # as diagnosis.EVERY and MOST, which help must not import
    default=3,
    help="Number of findings about what needs attention to list (default: 3).",
)
@reading_options
def summary(options: ReadingOptions, top: int | None, findings: int) -> None:
    """Show findings, volume, response times, top commands, alerts.

    --check: an alert is active, or a service exceeds the thresholds in effect.
    """
    from cogmeter_bot.sources.diagnosis import judge_stats

    time_range = options.time_range("24h")

    async def request(source: Source) -> tuple[Dashboard, Limits]:
        return await source.dashboard(time_range, options.services, findings=findings), await source.limits()

    dashboard, limits = options.query(request, present=True)
    if options.as_json:
        show_json(dashboard)
    else:
        top = (10 if is_rich() else 3) if top is None else top
        show(summary_page(dashboard, time_range.label, limits, options.settings, top=top, tables=is_rich()))
    judgements = [judge_stats(stats, limits, name) for name, stats in dashboard.service_stats.items()]
    options.exit_unless(not dashboard.alerts and not any(judged.failing or judged.slow for judged in judgements))


def summary_page(
    dashboard: Dashboard, label: str, limits: Limits, settings: Settings, *, top: int, tables: bool
) -> OutputPage:
    """Return the page, on a terminal (``tables``) with the top services as a table."""
    from cogmeter.render import formatting
    from cogmeter_bot.sources.diagnosis import judge_stats

    total, commands, services = dashboard.overall_stats, dashboard.ranked_commands, dashboard.ranked_services
    count, failed = total.total_operations, total.failed_operations
    colour = BAD if judge_stats(total, limits).failing else GOOD if count else ""
    blocks: list[Block] = [
        *_attention(dashboard, rich=tables),
        LabelledValue("Total Operations", f"{count:,}"),
        LabelledValue("Success Rate", share(count - failed, count), colour),
        LabelledValue("Average Response Time", _response_time(total.average_response_time, tables=tables)),
        LabelledValue("Error Rate", share(failed, count), colour),
        LabelledValue("Active", formatting.active(commands, len(services)))
        if commands
        else LabelledValue("Active Services", f"{total.active_services:,}"),
        *_dropped(total.dropped_operations, settings),
        *_top(commands[:top], limits, f"Top {formatting.ranking_title(commands)}", tables=tables),
        *_top(services[:top], limits, "Top Services by Volume", tables=tables),
    ]
    if dashboard.alerts:
        blocks.append(Listing("Active Alerts", alert_lines(dashboard.alerts)))
    return OutputPage(f"Performance Summary ({range_title(label)})", blocks)


def _response_time(milliseconds: float | None, *, tables: bool) -> str:
    """Format a response time: ``1.2 s`` on a terminal, ``1,234ms`` in the guide's plain layout."""
    return duration(milliseconds) if tables else ms(milliseconds)


def attention_lines(concerns: list[ConcernAnswer]) -> list[str]:
    """Return one line for each finding, with the command that shows more."""
    from cogmeter.diagnosis import step_text

    return [
        f"{number}. {concern.severity}: {one_line(concern.text)}. "
        f"{step_text(one_line(concern.next_step), _command(concern))}"
        for number, concern in enumerate(concerns, 1)
    ]


def _attention(dashboard: Dashboard, *, rich: bool) -> Iterator[Block]:
    """Yield what needs attention. That nothing does is said on terminals: the guide's plain layout has no such line."""
    from cogmeter.diagnosis import NO_CONCERN, left_out_text

    if dashboard.attention:
        lines, left_out = attention_lines(dashboard.attention), dashboard.attention_left_out
        more = [f"{left_out_text(left_out)}. List them with --findings {len(lines) + left_out}"] if left_out else []
        yield Listing("Needs Attention", [*lines, *more])
    elif rich:
        yield f"{NO_CONCERN}."


def _subject(service: str, operation: str | None) -> str:
    """Return the command's own name, or the service."""
    from cogmeter.recording.service_names import BY_OPERATION, label

    return label(service, operation) if operation and service in BY_OPERATION else service


def _command(concern: ConcernAnswer) -> str:
    """Return the command that shows more about a finding."""
    kind, _, more = concern.target.partition(":")
    if kind == "error":
        return f"`cogmeter errors {more}`"
    if kind == "slow" and concern.service is not None:
        return f"`cogmeter slow {shlex.quote(one_line(_subject(concern.service, concern.operation)))}`"
    if kind in {"stats", "compare"} and concern.service is not None:
        operation = f" --operation {shlex.quote(one_line(concern.operation))}" if concern.operation else ""
        before = f" --before {shlex.quote(more)}" if more else ""
        return f"`cogmeter {kind} {shlex.quote(one_line(concern.service))}{operation}{before}`"
    return {
        "errors": "`cogmeter errors`",
        "stats": "`cogmeter slow`",
        "slow": "`cogmeter slow`",
        "running": "`cogmeter running`",
        "doctor": "`/perf doctor` in Discord",
        "report": "`/perf report` in Discord",
    }.get(kind, "`cogmeter alerts`")


def _dropped(operations: int, settings: Settings) -> Iterator[Block]:
    from cogmeter.settings import buffer_setting

    if operations:
        setting = buffer_setting(by_memory=settings.max_operations_in_memory is None)
        yield LabelledValue("Dropped Operations", f"{operations:,} (the buffer was full: raise {setting})", WARN)


def _top(ranked: Sequence[RankedStats], limits: Limits, title: str, *, tables: bool) -> Iterator[Block]:
    from cogmeter.render import formatting

    if ranked and tables:
        yield stats_table(ranked, limits, title, kind="service" if not ranked[0].operation else "name")
    elif ranked:
        items = [
            f"{number}. {one_line(row.name)}: {formatting.counted(row.stats.total_operations, 'op')}"
            f" ({share(row.stats.successful_operations, row.stats.total_operations)} success)"
            for number, row in enumerate(ranked, 1)
        ]
        yield Listing(title, items)


def ranking_heading(dashboard: Dashboard) -> str:
    """Return what the ranking lists: ``Services``, ``Commands``, or both."""
    from cogmeter.render import formatting

    return formatting.ranking_title(dashboard.commands, services=bool(dashboard.ranked_services))


def alert_lines(alerts: list[AlertAnswer]) -> list[str]:
    """Return one line for each alert."""
    from cogmeter_bot.cli.alerts import alert_text

    return [f"- {alert.severity}: {one_line(alert.service)}: {alert_text(alert)}" for alert in alerts]


@click.command()
@click.argument("service", shell_complete=complete_subjects)
@operation_option
@reading_options
def stats(options: ReadingOptions, service: str, operation: str | None) -> None:
    """Show one SERVICE, or a command such as /ask.

    --services adds the statistics of further services.

    --check: one of them exceeds the thresholds in effect.
    """
    from cogmeter_bot.sources.diagnosis import judge_stats

    names = tuple(dict.fromkeys((service, *(options.services or ()))))
    time_range = options.time_range("24h")
    answers, limits = options.query(lambda source: _service_stats(source, names, operation, time_range), present=True)
    if options.as_json:
        show_json(*answers)
    else:
        for number, answer in enumerate(answers):
            if number:
                click.echo()
            show(stats_page(answer, limits, tables=is_rich()))
    judgements = [judge_stats(answer, limits, answer.service_name, answer.operation or "") for answer in answers]
    options.exit_unless(not any(judgement.failing or judgement.slow for judgement in judgements))


async def _service_stats(
    source: Source, names: tuple[str, ...], operation: str | None, time_range: Range
) -> tuple[list[ServiceAnswer], Limits]:
    return [await source.service(name, operation, time_range) for name in names], await source.limits()


def stats_page(answer: ServiceAnswer, limits: Limits, *, tables: bool) -> OutputPage:
    """Return the page of one service or operation, on a terminal (``tables``) with the service's operations."""
    from cogmeter.recording.service_names import BY_OPERATION, label
    from cogmeter.schemas.statistics import RankedStats
    from cogmeter_bot.sources.diagnosis import judge_stats

    count, successful, failed = answer.total_operations, answer.successful_operations, answer.failed_operations
    judgement = judge_stats(answer, limits, answer.service_name, answer.operation or "")
    colour = "" if not count else BAD if judgement.failing else GOOD
    blocks: list[Block] = [
        *_health_now(answer, rich=tables),
        LabelledValue("Total Operations", f"{count:,}"),
        LabelledValue("Successful", f"{successful:,} ({share(successful, count)})" if count else "0", colour),
        LabelledValue("Failed", f"{failed:,} ({share(failed, count)})" if count else "0", BAD if failed else ""),
        LabelledValue(
            "Average Response Time",
            _response_time(answer.average_response_time, tables=tables),
            WARN if judgement.slow else "",
        ),
        LabelledValue("95th Percentile", _response_time(answer.p95_response_time, tables=tables)),
        LabelledValue("99th Percentile", _response_time(answer.p99_response_time, tables=tables)),
    ]
    if tables and answer.operations and answer.operation is None:
        operations = [RankedStats(name, answer.service_name, name, stats) for name, stats in answer.operations.items()]
        blocks.append(stats_table(operations, limits, "Operations", kind="operation"))
    if answer.recent_errors:
        errors = [
            f"- {timestamp(error.end_time)}: {one_line(error.error) or error.outcome}" for error in answer.recent_errors
        ]
        blocks.append(Listing(zoned_title("Recent Errors"), errors))
    if answer.operation and answer.service_name in BY_OPERATION:
        return OutputPage(f"{one_line(label(answer.service_name, answer.operation))} Statistics", blocks)
    operation = f" / {one_line(answer.operation)}" if answer.operation else ""
    return OutputPage(f"{service_title(answer.service_name)}{operation} Service Statistics", blocks)


def _health_now(answer: ServiceAnswer, *, rich: bool) -> Iterator[Block]:
    """Yield its health now; only a problem is shown off terminals: the guide's plain layout has no such line."""
    from cogmeter.diagnosis import Status

    now = answer.health_now
    colours = {Status.HEALTHY: GOOD, Status.UNKNOWN: "", Status.DEGRADED: WARN, Status.UNHEALTHY: BAD}
    if now is not None and (rich or now.status in {Status.DEGRADED, Status.UNHEALTHY}):
        yield LabelledValue("Now", f"{now.status}: {one_line(now.reason)}", colours[now.status])


def stats_table(rows: Sequence[RankedStats], limits: Limits, title: str, *, kind: str) -> Table:
    """Return a table of services, operations or commands; ``kind`` is the heading of their names."""
    from cogmeter_bot.sources.diagnosis import judge_stats

    columns = [
        Column(kind, flexible=True, least=18),
        Column("ops", right=True),
        Column("success", right=True),
        Column("average", right=True),
        Column("p95", right=True),
        Column("p99", right=True, hides=1),
        Column("ops/min", right=True, hides=2),
    ]
    cells = []
    for name, service, operation, stats in rows:
        judgement = judge_stats(stats, limits, service, operation)
        success = share(stats.successful_operations, stats.total_operations)
        cells.append((
            one_line(name),
            f"{stats.total_operations:,}",
            (success, BAD if judgement.failing else GOOD),
            (duration(stats.average_response_time), WARN if judgement.slow else ""),
            duration(stats.p95_response_time),
            duration(stats.p99_response_time),
            f"{stats.operations_per_minute:,.2f}",
        ))  # fmt: skip
    return Table(columns, cells, title)
