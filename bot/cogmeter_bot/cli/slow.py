"""``cogmeter slow``: the slowest operations, and why the slowest runs of commands are slow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, complete_subjects, operation_option, reading_options
from cogmeter_bot.cli.output import WARN, Column, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import duration, one_line, range_title, timestamp, zoned
from cogmeter_bot.zones import zone_label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.records import Range
    from cogmeter.schemas.operations import Slowest
    from cogmeter.schemas.slow import SlowAnswer, SlowRunAnswer, TimeProfileAnswer
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source

NO_OPERATIONS: Final = "No operations in this period. Each command, component and reply that ends is listed here."
NO_RUNS: Final = "No runs in this period."
BAR: Final = 40  # characters of a whole run


@click.command()
@click.argument("service", required=False, shell_complete=complete_subjects)
@operation_option
@click.option(
    "--limit", type=click.IntRange(1, 100), help="Maximum number of operations, without a SERVICE (default: 20)."
)
@reading_options
def slow(options: ReadingOptions, service: str | None, operation: str | None, limit: int | None) -> None:
    """List the slowest operations, and why commands are slow.

    With a SERVICE, or a command such as /ask: explain its slowest runs by their
    parts, and show where its time goes.

    Loops, listeners and REST requests are excluded unless --services names them.

    --check: an operation took longer than the response-time threshold in effect.
    """
    from cogmeter_bot.sources.diagnosis import is_slow

    time_range = options.time_range("24h")
    if service is not None:
        if limit is not None:
            raise click.UsageError("--limit has no effect with a SERVICE: its slowest runs are shown, five at most.")
        _explain(options, service, operation, time_range)
        return

    narrowed = options.services is not None or operation is not None

    async def request(source: Source) -> tuple[Slowest, Limits, SlowAnswer | None]:
        slowest = await source.slowest(time_range, options.services, operation, limit=limit or 20)
        # Reasons are known of commands; --json has one document, and reasons with a SERVICE.
        reasons = None if narrowed or options.as_json else await source.slow(time_range, None)
        return slowest, await source.limits(), reasons

    answer, limits, reasons = options.query(request)
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, f"Slowest Operations ({range_title(time_range.label)})", limits, reasons))
    options.exit_unless(not any(is_slow(operation, limits) for operation in answer.operations))


def _explain(options: ReadingOptions, service: str, operation: str | None, time_range: Range) -> None:
    """Show the slowest runs of one command, service or operation of it."""
    from cogmeter_bot.sources.diagnosis import is_slow

    async def request(source: Source) -> tuple[SlowAnswer, Limits]:
        return await source.slow(time_range, service, operation), await source.limits()

    answer, limits = options.query(request)
    if options.as_json:
        show_json(answer)
    else:
        name = service if operation is None else f"{service} / {operation}"
        show(reasons_page(answer, name, time_range.label))
    options.exit_unless(not any(is_slow(run, limits) for run in answer.runs))


def reasons_page(answer: SlowAnswer, service: str, range_label: str) -> OutputPage:
    """Return the page of the slowest runs of one command or service, and of where its time goes."""
    blocks: list[Block] = [Listing(run_title(run), run_lines(run)) for run in answer.runs]
    if answer.where_the_time_goes is not None:
        blocks.insert(0, _profile_table(answer.where_the_time_goes))
    return OutputPage(f"Slow: {one_line(service)} ({range_title(range_label)})", blocks or [NO_RUNS])


def _page(answer: Slowest, title: str, limits: Limits, reasons: SlowAnswer | None) -> OutputPage:
    from cogmeter_bot.sources.diagnosis import is_slow

    if not answer.operations:
        return OutputPage(title, [NO_OPERATIONS])
    columns = [
        Column("duration", right=True),
        Column(f"ended ({zone_label()})"),
        Column("service / operation", flexible=True, least=20),
        Column("outcome", hides=1),
        Column("error", hides=2, flexible=True, least=20),
    ]
    rows = [
        (
            (duration(operation.duration), WARN if is_slow(operation, limits) else ""),
            timestamp(operation.end_time),
            one_line(f"{operation.service} / {operation.operation}"),
            operation.outcome,
            one_line(operation.error, 200),
        )
        for operation in answer.operations
    ]
    blocks: list[Block] = [Table(columns, rows)]
    if reasons is not None and reasons.runs:
        blocks.append(Listing("Why", [f"- {line}" for run in reasons.runs for line in _reasons(run)]))
    return OutputPage(title, blocks)


def _reasons(run: SlowRunAnswer) -> list[str]:
    return [f"{one_line(run.name, 60)} {duration(run.duration)}: {sentence}" for sentence in _sentences(run)[:1]]


def _sentences(run: SlowRunAnswer) -> list[str]:
    """Return the cause and the advice of each pattern; without any, what is known."""
    from cogmeter.render.slow_text import cause, unexplained

    found = []
    for one in run.patterns:
        usual_us = None if one.usual_time is None else one.usual_time * 1000
        found.append(f"{cause(one.pattern, one_line(one.what), one.time * 1000, one.calls, usual_us)} {one.advice}")
    parts = {key: milliseconds * 1000 for key, milliseconds in run.parts.items()}
    step = None if run.slowest_step is None else (run.slowest_step, (run.slowest_step_time or 0) * 1000)
    return found or [unexplained(parts, run.not_broken_down * 1000, step, traced=run.traced)]


def run_title(run: SlowRunAnswer) -> str:
    """Return the name of a run, its duration, its start, and its outcome if it is not ok."""
    failed = f", {run.outcome}" if run.outcome != "ok" else ""
    return f"{one_line(run.name, 60)} {duration(run.duration)}, began {zoned(run.start_time)}{failed}"


def run_lines(run: SlowRunAnswer) -> list[str]:
    """Return the sentences of a run, its first output, and a line with a bar for each part."""
    from cogmeter.render.slow_text import shared_lines

    lines = [*_sentences(run), *(_part_lines(run.parts, run.duration) if run.traced else ())]
    if run.error:
        lines.insert(0, one_line(run.error, 200))
    if run.first_output is not None:
        lines.append(f"first output after {duration(run.first_output)}")
    return [*lines, *shared_lines(run.shared * 1000, run.duration * 1000)]


def _part_lines(parts: Mapping[str, float], whole_ms: float) -> list[str]:
    from cogmeter.query.time_parts import TimePart

    shown = [part for part in TimePart if parts.get(part.key, 0) > 0]
    shown.sort(key=lambda part: -parts[part.key])
    return [
        f"{part.title:<16} {duration(parts[part.key]):>9}  {'#' * max(round(BAR * parts[part.key] / whole_ms), 1)}"
        for part in shown
    ]


def _profile_table(profile: TimeProfileAnswer) -> Table:
    from cogmeter.query.time_parts import TimePart
    from cogmeter.render.formatting import percent

    shown = [part for part in TimePart if profile.shares.get(part.key, 0) > 0]
    shown.sort(key=lambda part: -profile.shares[part.key])
    columns = [Column("part"), Column("share", right=True), Column("p50", right=True), Column("p95", right=True)]
    rows = [
        (
            part.title,
            percent(round(profile.shares[part.key], 2)),
            duration(profile.p50[part.key]),
            duration(profile.p95[part.key]),
        )
        for part in shown
    ]
    title = f"Where the time goes ({profile.traced_runs:,} traced of {profile.runs:,} runs)"
    return Table(columns, rows, title)
