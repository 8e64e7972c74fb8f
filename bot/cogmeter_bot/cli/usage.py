"""``cogmeter usage``: who uses what, when and where, and which commands nobody uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, reading_options
from cogmeter_bot.cli.output import BAD, Column, LabelledValue, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import one_line, range_title, share, timestamp, zoned
from cogmeter_bot.zones import zone_label

if TYPE_CHECKING:
    from cogmeter.schemas.usage import UsageAnswer
    from cogmeter_bot.cli.output import Block

NOTHING_USED: Final = (
    "No command, component or reply was used in this period. Each use is counted here while PERFORMANCE_USAGE is on."
)
SHADES: Final = ".:+*#"  # of a heat map: none, and quarters of the busiest hour


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Maximum number of commands."
)
@reading_options
def usage(options: ReadingOptions, limit: int) -> None:
    """Show who uses what, when and where.

    List commands, components and replies by runs, with distinct users and servers (above 512, estimates within 3%),
    and the registered commands that were never used. Hours of the week are in UTC. --services has no effect.

    --check: a registered command was never used.
    """
    time_range = options.time_range("7d")
    answer = options.query(lambda source: source.usage(time_range))
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, f"Usage ({range_title(time_range.label)})", limit))
    options.exit_unless(not answer.unused)


def _page(answer: UsageAnswer, title: str, limit: int) -> OutputPage:
    from cogmeter.query.usage import CONTEXT_TITLES
    from cogmeter.render.formatting import heat_map

    if not answer.commands:
        blocks: list[Block] = [NOTHING_USED]
    else:
        span = answer.time_range
        covered = f"{span.since:%Y-%m-%d %H:%M} to {span.until:%Y-%m-%d %H:%M}, whole hours (UTC)"
        blocks = [
            LabelledValue("Covers", covered),
            LabelledValue("Runs", f"{answer.operations:,}"),
            LabelledValue("Users", _number(answer.users)),
            LabelledValue("Servers", _number(answer.guilds)),
            _commands(answer, limit),
            Listing("Runs by hour (UTC)", heat_map(answer.heat_map, SHADES)),
        ]
    where = {CONTEXT_TITLES.get(name, name): count for name, count in answer.contexts.items()}
    for name, counts in (("Where", where), ("Languages", answer.locales)):
        if counts:
            whole = sum(counts.values())
            shares = [f"{one_line(key)}: {share(count, whole)}" for key, count in counts.items()]
            blocks.append(Listing(name, shares))
    sampled = [step for step in answer.audience if step.guilds is not None]
    if sampled:
        blocks.append(LabelledValue("Servers now", f"{sampled[-1].guilds:,}, members {sampled[-1].members or 0:,}"))
    if answer.joined or answer.left:
        blocks.append(LabelledValue("Joined / left", f"{answer.joined:,} / {answer.left:,}"))
    if answer.unused:
        unused = [f"{one_line(one.name)} (registered {zoned(one.registered_at)})" for one in answer.unused]
        blocks.append(Listing("Never used", unused))
    return OutputPage(title, blocks)


def _number(people: int | None) -> str:
    """Return a number of people; a dash if nobody was counted."""
    from cogmeter.render.formatting import NOTHING

    return NOTHING if people is None else f"{people:,}"


def _commands(answer: UsageAnswer, limit: int) -> Table:
    columns = [
        Column("command", flexible=True),
        Column("runs", right=True),
        Column("users", right=True),
        Column("servers", right=True, hides=2),
        Column("failed", right=True, style=BAD, hides=3),
        Column(f"last use ({zone_label()})", hides=1),
    ]
    rows = [
        (
            one_line(one.name),
            f"{one.operations:,}",
            _number(one.users),
            _number(one.guilds),
            share(one.failures, one.operations) if one.operations else "",
            "" if one.last_used is None else timestamp(one.last_used),
        )
        for one in answer.commands[:limit]
    ]
    return Table(columns, rows)
