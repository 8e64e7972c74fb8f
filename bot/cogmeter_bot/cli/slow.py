"""``cogmeter slow``: the slowest operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, operation_option, reading_options
from cogmeter_bot.cli.output import WARN, Column, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import duration, one_line, range_title, timestamp
from cogmeter_bot.zones import zone_label

if TYPE_CHECKING:
    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.schemas.operations import Slowest
    from cogmeter_bot.sources.base import Source

NO_OPERATIONS: Final = "No operations in this period. Each command, component and reply that ends is listed here."


@click.command()
@operation_option
@click.option(
    "--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Maximum number of operations."
)
@reading_options
def slow(options: ReadingOptions, operation: str | None, limit: int) -> None:
    """List the slowest operations.

    Loops, listeners and REST requests are excluded unless --services names them.

    --check: an operation took longer than the response-time threshold in effect.
    """
    from cogmeter_bot.sources.diagnosis import is_slow

    time_range = options.time_range("24h")

    async def request(source: Source) -> tuple[Slowest, Limits]:
        return await source.slowest(time_range, options.services, operation, limit=limit), await source.limits()

    answer, limits = options.query(request)
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, f"Slowest Operations ({range_title(time_range.label)})", limits))
    options.exit_unless(not any(is_slow(operation, limits) for operation in answer.operations))


def _page(answer: Slowest, title: str, limits: Limits) -> OutputPage:
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
    return OutputPage(title, [Table(columns, rows)])
