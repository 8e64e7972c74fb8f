"""``cogmeter running``: the operations that run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, live_options
from cogmeter_bot.cli.output import WARN, Column, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import duration, one_line

if TYPE_CHECKING:
    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.schemas.operations import RunningAnswer, RunningPage
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source

NOTHING_RUNS: Final = (
    "Nothing runs now. Commands, loops and other operations are listed here while they run, with the line they wait in."
)


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="Maximum number of operations."
)
@live_options
def running(options: ReadingOptions, limit: int) -> None:
    """List the operations that run now, longest first.

    Each has the line that it waits in. Only a running bot knows this: --url or COGMETER_URL names its API.

    --check: an operation runs for longer than the threshold of the rule hung.
    """

    async def request(source: Source) -> tuple[RunningPage, Limits]:
        return await source.running(limit=limit), await source.limits()

    answer, limits = options.query(request)
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, limits))
    options.exit_unless(not any(is_long(operation, limits) for operation in answer.operations))


def is_long(operation: RunningAnswer, limits: Limits) -> bool:
    """Return whether an operation runs for longer than the threshold of the rule hung."""
    from cogmeter.alerts.rules.running import HUNG

    threshold_s = limits.of(HUNG.subject(operation.service, operation.operation)).threshold
    return bool(threshold_s) and operation.age > threshold_s * 1000


def _page(answer: RunningPage, limits: Limits) -> OutputPage:
    if not answer.operations:
        return OutputPage("Running Now", [NOTHING_RUNS])
    columns = [
        Column("age", right=True),
        Column("service / operation", flexible=True),
        Column("waits in", flexible=True, least=30, wraps=True),
    ]
    rows = [
        (
            (duration(operation.age), WARN if is_long(operation, limits) else ""),
            one_line(f"{operation.service} / {operation.operation}"),
            one_line(operation.line) or "-",
        )
        for operation in answer.operations
    ]
    blocks: list[Block] = [Table(columns, rows)]
    hidden = answer.total - len(answer.operations)
    if hidden > 0:
        blocks.append(f"{hidden:,} more. Raise --limit.")
    return OutputPage("Running Now", blocks)
