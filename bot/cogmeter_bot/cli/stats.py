"""``cogmeter stats``: one service or operation, in the guide's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import Ask, operation_names, reading, service_names

if TYPE_CHECKING:
    from cogmeter.answers.service import ServiceAnswer
    from cogmeter.records import Range
    from cogmeter.settings import Settings
    from cogmeter_bot.cli.page import Block, Page
    from cogmeter_bot.reading.base import Source


@click.command()
@click.argument("service", shell_complete=service_names)
@click.option(
    "--operation", metavar="NAME", shell_complete=operation_names, help="Of this operation of the service alone."
)
@reading
def stats(ask: Ask, service: str, operation: str | None) -> None:
    """Show the statistics of SERVICE; of those of --services, too.

    --check: it fails or is slow beyond the thresholds of the settings.
    """
    from cogmeter.records import Period
    from cogmeter_bot.cli.page import is_rich, show, show_json
    from cogmeter_bot.reading.diagnosis import is_failing, is_slow

    span = ask.span(Period.DAY)
    names = tuple(dict.fromkeys((service, *(ask.services or ()))))
    found = ask.answer(lambda source: _asked(source, names, operation, span))
    settings = ask.settings
    if ask.as_json:
        show_json(*found)
    for number, one in enumerate(() if ask.as_json else found):
        if number:
            click.echo()
        show(page(one, settings, tables=is_rich()))
    ask.checked(well=not any(is_failing(one, settings) or is_slow(one, settings) for one in found))


async def _asked(source: Source, names: tuple[str, ...], operation: str | None, span: Range) -> list[ServiceAnswer]:
    return [await source.service(name, operation, span) for name in names]


def page(one: ServiceAnswer, settings: Settings, *, tables: bool) -> Page:
    """The page; with ``tables`` the operations as a table."""
    from cogmeter_bot.cli import words
    from cogmeter_bot.cli.page import BAD, GOOD, WARN, Fact, Listing, Page
    from cogmeter_bot.cli.summary import table
    from cogmeter_bot.reading.diagnosis import is_failing, is_slow

    count, good, bad = one.total_operations, one.successful_operations, one.failed_operations
    colour = BAD if is_failing(one, settings) else GOOD
    errors = [f"- {words.when(each.end_time)}: {words.line(each.error) or each.outcome}" for each in one.recent_errors]
    blocks: list[Block] = [
        Fact("Total Operations", f"{count:,}"),
        Fact("Successful", f"{good:,} ({words.share(good, count)})" if count else "0", colour if count else ""),
        Fact("Failed", f"{bad:,} ({words.share(bad, count)})" if count else "0", BAD if bad else ""),
        Fact("Average Response Time", words.ms(one.average_response_time), WARN if is_slow(one, settings) else ""),
        Fact("95th Percentile", words.ms(one.p95_response_time)),
        Fact("99th Percentile", words.ms(one.p99_response_time)),
    ]
    if tables and one.operations and one.operation is None:
        blocks.append(table(one.operations, settings, "Operations", "operation"))
    if errors:
        blocks.append(Listing("Recent Errors", errors))
    operation = f" / {words.line(one.operation)}" if one.operation else ""
    return Page(f"{words.title(one.service_name)}{operation} Service Statistics", blocks)
