"""``cogmeter stats``: one service or operation, in the guide's layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import ReadingOptions, operation_names, reading, service_names

if TYPE_CHECKING:
    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.records import Range
    from cogmeter.schemas.service import ServiceAnswer
    from cogmeter_bot.cli.output import Block, OutputPage
    from cogmeter_bot.sources.base import Source


@click.command()
@click.argument("service", shell_complete=service_names)
@click.option(
    "--operation", metavar="NAME", shell_complete=operation_names, help="Of this operation of the service alone."
)
@reading
def stats(ask: ReadingOptions, service: str, operation: str | None) -> None:
    """Show the statistics of SERVICE; of those of --services, too.

    --check: it exceeds the thresholds in effect.
    """
    from cogmeter.query.records import Period
    from cogmeter_bot.cli.output import is_rich, show, show_json
    from cogmeter_bot.sources.diagnosis import judged

    span = ask.span(Period.DAY)
    names = tuple(dict.fromkeys((service, *(ask.services or ()))))
    found, limits = ask.answer(lambda source: _asked(source, names, operation, span))
    if ask.as_json:
        show_json(*found)
    for number, one in enumerate(() if ask.as_json else found):
        if number:
            click.echo()
        show(page(one, limits, tables=is_rich()))
    judgements = [judged(one, limits, one.service_name, one.operation or "") for one in found]
    ask.checked(well=not any(one.failing or one.slow for one in judgements))


async def _asked(
    source: Source, names: tuple[str, ...], operation: str | None, span: Range
) -> tuple[list[ServiceAnswer], Limits]:
    return [await source.service(name, operation, span) for name in names], await source.limits()


def page(one: ServiceAnswer, limits: Limits, *, tables: bool) -> OutputPage:
    """The page; with ``tables`` the operations as a table."""
    from cogmeter_bot.cli import guide_format
    from cogmeter_bot.cli.output import BAD, GOOD, WARN, LabelledValue, Listing, OutputPage
    from cogmeter_bot.cli.summary import table
    from cogmeter_bot.sources.diagnosis import judged

    count, good, bad = one.total_operations, one.successful_operations, one.failed_operations
    judgement = judged(one, limits, one.service_name, one.operation or "")
    colour = BAD if judgement.failing else GOOD
    errors = [
        f"- {guide_format.when(each.end_time)}: {guide_format.line(each.error) or each.outcome}"
        for each in one.recent_errors
    ]
    blocks: list[Block] = [
        LabelledValue("Total Operations", f"{count:,}"),
        LabelledValue(
            "Successful", f"{good:,} ({guide_format.share(good, count)})" if count else "0", colour if count else ""
        ),
        LabelledValue("Failed", f"{bad:,} ({guide_format.share(bad, count)})" if count else "0", BAD if bad else ""),
        LabelledValue(
            "Average Response Time", guide_format.ms(one.average_response_time), WARN if judgement.slow else ""
        ),
        LabelledValue("95th Percentile", guide_format.ms(one.p95_response_time)),
        LabelledValue("99th Percentile", guide_format.ms(one.p99_response_time)),
    ]
    if tables and one.operations and one.operation is None:
        blocks.append(table(one.operations, limits, "Operations", service=one.service_name))
    if errors:
        blocks.append(Listing("Recent Errors", errors))
    operation = f" / {guide_format.line(one.operation)}" if one.operation else ""
    return OutputPage(f"{guide_format.title(one.service_name)}{operation} Service Statistics", blocks)
