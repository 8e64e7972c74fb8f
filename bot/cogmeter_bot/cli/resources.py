"""``cogmeter resources``: CPU, memory, event-loop lag, GC, network and open files, and what grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, reading_options
from cogmeter_bot.cli.output import WARN, Column, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import one_line, range_title

if TYPE_CHECKING:
    from cogmeter.schemas.resources import ResourceAnswer, ResourcesAnswer
    from cogmeter_bot.cli.output import Block

NOTHING: Final = "No resources were sampled in this period. A bot samples them while PERFORMANCE_WATCH_RESOURCES is on."


@click.command()
@reading_options
def resources(options: ReadingOptions) -> None:
    """Show CPU, memory, event-loop lag, GC, network and open files.

    Growth is per day over the longest run of the bot in the range, by the median of all slopes: peaks do not change it.
    The network is that of the machine. With --url, the bot also names the objects that grew within the last hour.
    --services has no effect.

    --check: a resource grows steadily.
    """
    time_range = options.time_range("24h")
    answer = options.query(lambda source: source.resources(time_range))
    if options.as_json:
        show_json(answer)
    else:
        show(_page(answer, f"Resources ({range_title(time_range.label)})"))
    options.exit_unless(not any(one.growing for one in answer.resources))


def _page(answer: ResourcesAnswer, title: str) -> OutputPage:
    from cogmeter.query.query import now_us
    from cogmeter.render.formatting import sentence
    from cogmeter.render.resource_text import newest_title, rate_text

    if not answer.resources:
        return OutputPage(title, [NOTHING])
    columns = [
        Column("resource", flexible=True),
        Column(newest_title(round(answer.time_range.until.timestamp() * 1e6), now_us()), right=True),
        Column("mean", right=True, hides=2),
        Column("highest", right=True, hides=1),
        Column("growth per day", right=True),
    ]
    blocks: list[Block] = [Table(columns, [_row(one) for one in answer.resources])]
    if answer.grown_objects:
        blocks.append(Listing("Objects that grew", [f"- {one_line(name)}" for name in answer.grown_objects]))
    elif answer.grown_objects is None:
        blocks.append(
            "Objects that grew: not known. The running bot compares them, first 20 min after its start; "
            "a database does not have them."
        )
    if note := rate_text(answer.rate_window_seconds):
        blocks.append(f"{sentence(note)}.")
    return OutputPage(title, blocks)


def _row(one: ResourceAnswer) -> list[str | tuple[str, str]]:
    from cogmeter.render.resource_text import growth_of, unit_text

    growth = growth_of(one.unit, one.growth_per_day)
    return [
        one_line(one.title),
        unit_text(one.unit, one.latest),
        unit_text(one.unit, one.mean),
        unit_text(one.unit, one.peak),
        (growth, WARN) if one.growing else growth,
    ]
