"""``cogmeter state``: the state of every part of the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, reading_options
from cogmeter_bot.cli.output import BAD, DIM, GOOD, WARN, Column, LabelledValue, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import one_line

if TYPE_CHECKING:
    from cogmeter.schemas.state import BotStateAnswer, StateAreaAnswer
    from cogmeter_bot.cli.output import Block

STYLES: Final = {"healthy": GOOD, "degraded": WARN, "unhealthy": BAD, "unknown": DIM}
NOTHING: Final = "Nothing is known about the bot yet."


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Maximum number of rows of an area."
)
@reading_options
def state(options: ReadingOptions, limit: int) -> None:
    """Show the state of every part of the bot.

    The parts are components, shards, Discord's limits, the event loop, services, background loops and dependencies,
    each with its status, problems first. A database shows what the bot stored; with --url, the bot reports it. Ranges
    and --services have no effect.

    --check: a part is degraded or unhealthy.
    """
    answer = options.query(lambda source: source.state())
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, limit))
    options.exit_unless(not answer.to_state().problems)


def _page(answer: BotStateAnswer, limit: int) -> OutputPage:
    status = answer.verdict.status
    blocks: list[Block] = [LabelledValue("State", f"{status}; {one_line(answer.verdict.text)}", STYLES[status])]
    blocks += [_area(area, limit) for area in answer.areas] or [NOTHING]
    return OutputPage("State of the bot", blocks)


def _area(area: StateAreaAnswer, limit: int) -> Table:
    columns = [Column("name", flexible=True), Column("status"), Column("details", flexible=True, wraps=True)]
    rows = [
        (one_line(item.name), (item.status.value, STYLES[item.status]), one_line(item.text))
        for item in area.items[:limit]
    ]
    rest = len(area.items) - len(rows)
    return Table(columns, rows, f"{area.name} (and {rest:,} more)" if rest > 0 else area.name)
