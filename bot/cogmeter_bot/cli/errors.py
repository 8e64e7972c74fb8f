"""``cogmeter errors``: failures, grouped by what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, operation_names, reading

if TYPE_CHECKING:
    from cogmeter.query.records import Range
    from cogmeter.schemas.errors import ErrorGroupAnswer, Errors
    from cogmeter_bot.cli.output import Block, OutputPage
    from cogmeter_bot.sources.base import Source


@click.command()
@click.option(
    "--operation",
    metavar="NAME",
    shell_complete=operation_names,
    help="Of this operation alone; needs one service in --services.",
)
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many groups at most.")
@reading
def errors(ask: ReadingOptions, operation: str | None, limit: int) -> None:
    """List failures grouped by what they say, most frequent first.

    --check: there is any.
    """
    from cogmeter.query.records import Period
    from cogmeter_bot.cli.output import show, show_json

    if operation is not None and len(ask.services or ()) != 1:
        raise click.UsageError("--operation needs the one service that it belongs to: --services NAME")
    span = ask.span(Period.DAY)
    found = ask.answer(lambda source: _asked(source, ask.services, operation, span, limit))
    if ask.as_json:
        show_json(found)
    else:
        show(page(found, span.label))
    ask.checked(well=not found.groups)


async def _asked(
    source: Source, services: tuple[str, ...] | None, operation: str | None, span: Range, limit: int
) -> Errors:
    """The answer for all, or those for each of the services put together."""
    parts = [await source.errors(span, name, operation, limit=limit) for name in services or (None,)]
    groups = sorted((one for part in parts for one in part.groups), key=lambda one: (-one.count, one.service))
    return parts[0].model_copy(update={"groups": groups[:limit], "truncated": any(part.truncated for part in parts)})


def page(found: Errors, label: str) -> OutputPage:
    """The page."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import BAD, Column, OutputPage, Table

    title = f"Errors ({guide_format.heading(label)})"
    if not found.groups:
        return OutputPage(title, ["None."])
    columns = [
        Column("count", right=True, style=BAD),
        Column("last", needs=100),
        Column("service / operation", flexible=True),
        Column("outcome", needs=90),
        Column("error", flexible=True),
    ]
    blocks: list[Block] = [Table(columns, [_row(one) for one in found.groups])]
    if found.truncated:
        blocks.append("Only the newest 20,000 failures were looked at; ask for a shorter stretch.")
    return OutputPage(title, blocks)


def _row(one: ErrorGroupAnswer) -> tuple[str, ...]:
    from cogmeter_bot.cli import guide_format

    place = guide_format.line(f"{one.service} / {one.operation}")
    return (
        f"{one.count:,}",
        guide_format.when(one.last_at),
        place,
        one.outcome,
        guide_format.line(one.error) or "(no text)",
    )
