"""``cogmeter errors``: failed operations, grouped by error text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, operation_option, reading_options
from cogmeter_bot.cli.output import BAD, Column, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import one_line, range_title, timestamp

if TYPE_CHECKING:
    from cogmeter.query.records import Range
    from cogmeter.schemas.operations import Errors
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source


@click.command()
@operation_option
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Maximum number of groups.")
@reading_options
def errors(options: ReadingOptions, operation: str | None, limit: int) -> None:
    """List failures grouped by error text, most frequent first.

    --operation needs exactly one service in --services.

    --check: there is any failure.
    """
    if operation is not None and len(options.services or ()) != 1:
        raise click.UsageError("--operation needs the one service that it belongs to: --services NAME")
    time_range = options.time_range("24h")
    answer = options.query(lambda source: _errors(source, options.services, operation, time_range, limit))
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, f"Errors ({range_title(time_range.label)})"))
    options.exit_unless(not answer.groups)


async def _errors(
    source: Source, services: tuple[str, ...] | None, operation: str | None, time_range: Range, limit: int
) -> Errors:
    """Return the groups of all services, or of these services together."""
    answers = [await source.errors(time_range, name, operation, limit=limit) for name in services or (None,)]
    groups = [group for answer in answers for group in answer.groups]
    groups.sort(key=lambda group: (-group.count, group.service))
    truncated = any(answer.truncated for answer in answers)
    return answers[0].model_copy(update={"groups": groups[:limit], "truncated": truncated})


def _page(answer: Errors, title: str) -> OutputPage:
    if not answer.groups:
        return OutputPage(title, ["None."])
    columns = [
        Column("count", right=True, style=BAD),
        Column("last (UTC)", min_terminal=100),
        Column("service / operation", flexible=True),
        Column("outcome", min_terminal=90),
        Column("error", flexible=True),
    ]
    rows = [
        (
            f"{group.count:,}",
            timestamp(group.last_at),
            one_line(f"{group.service} / {group.operation}"),
            group.outcome,
            one_line(group.error) or "(no text)",
        )
        for group in answer.groups
    ]
    blocks: list[Block] = [Table(columns, rows)]
    if answer.truncated:
        blocks.append("Only the newest 20,000 failures were read. Use a shorter range.")
    return OutputPage(title, blocks)
