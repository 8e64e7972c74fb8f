"""``cogmeter slow``: the slowest operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, operation_names, reading

if TYPE_CHECKING:
    from cogmeter.schemas.slowest import Slowest
    from cogmeter_bot.cli.output import OutputPage


@click.command()
@click.option("--operation", metavar="NAME", shell_complete=operation_names, help="Of operations of this name alone.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many at most.")
@reading
def slow(ask: ReadingOptions, operation: str | None, limit: int) -> None:
    """List the slowest operations. Loops, listeners and REST are left out, unless --services names them.

    --check: one took longer than PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME.
    """
    from cogmeter.query.records import Period
    from cogmeter_bot.cli.output import show, show_json

    span = ask.span(Period.DAY)
    found = ask.answer(lambda source: source.slowest(span, ask.services, operation, limit=limit))
    threshold_ms = ask.settings.alert_threshold_response_time or float("inf")
    if ask.as_json:
        show_json(found)
    else:
        show(page(found, span.label, threshold_ms))
    ask.checked(well=not any(one.duration > threshold_ms for one in found.operations))


def page(found: Slowest, label: str, threshold_ms: float) -> OutputPage:
    """The page."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import WARN, Column, OutputPage, Table

    title = f"Slowest Operations ({guide_format.heading(label)})"
    if not found.operations:
        return OutputPage(title, ["None."])
    columns = [
        Column("took", right=True),
        Column("ended"),
        Column("service / operation", flexible=True),
        Column("outcome", needs=80),
        Column("error", needs=110, flexible=True),
    ]
    rows = [
        (
            (guide_format.ms(one.duration), WARN if one.duration > threshold_ms else ""),
            guide_format.when(one.end_time),
            guide_format.line(f"{one.service} / {one.operation}"),
            one.outcome,
            guide_format.line(one.error, 200),
        )
        for one in found.operations
    ]
    return OutputPage(title, [Table(columns, rows)])
