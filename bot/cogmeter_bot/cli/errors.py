"""``cogmeter errors``: errors grouped by type and place, failed operations grouped by error text, and one group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, operation_option, reading_options
from cogmeter_bot.cli.output import BAD, Column, LabelledValue, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import of_services, one_line, range_title, timestamp, zoned
from cogmeter_bot.errors import RequestError
from cogmeter_bot.zones import zone_label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import MarkerAnswer
    from cogmeter.schemas.errors import ErrorGroupAnswer, ErrorGroupDetail, ErrorGroupSummary, ErrorReport
    from cogmeter_bot.cli.output import Block
    from cogmeter_bot.sources.base import Source

MAX_GROUPS: Final = 1_000  # read from the source
NO_ERRORS: Final = (
    "No errors in this period. Exceptions in commands, listeners, loops and tasks are listed here, and logged errors."
)


@click.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@operation_option
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Maximum number of groups.")
@reading_options
def errors(options: ReadingOptions, number: int | None, operation: str | None, limit: int) -> None:
    """List errors by type and place, or show one of them.

    With ID, show one error group with its stacks. Without it, list the groups, most frequent first. Resolved groups
    are not listed. Errors are counted by UTC day. Failures without a known place are listed by their text, as are all
    failures in the JSON. --operation needs exactly one service in --services.

    --check: there is any failure, or any error that is neither resolved nor muted.
    """
    if number is not None:
        _show_group(options, number)
        return
    if operation is not None and len(options.services or ()) != 1:
        raise click.UsageError("--operation needs the one service that it belongs to: --services NAME")
    time_range = options.time_range("24h")
    report = options.query(lambda source: error_report(source, options.services, operation, time_range))
    if options.as_json:
        cut = {"groups": report.groups[:limit], "error_groups": report.error_groups[:limit]}
        show_json(report.model_copy(update=cut))
    else:
        show(_page(report, time_range, limit=limit, services=options.services, operation=operation))
    unmuted = [group for group in report.error_groups if group.muted_until is None]
    options.exit_unless(not report.groups and not unmuted)


async def error_report(
    source: Source, services: tuple[str, ...] | None, operation: str | None, time_range: Range
) -> ErrorReport:
    """Return the groups of all services, or of these services together, the most frequent first: MAX_GROUPS at most."""
    from cogmeter.schemas.errors import ErrorReport

    page = await source.error_groups(time_range, services, operation, limit=MAX_GROUPS)
    with_errors = {place.service for group in page.groups for place in group.operations}
    answers = []
    for name in services or (None,):
        try:
            answers.append(await source.errors(time_range, name, operation, limit=MAX_GROUPS))
        except RequestError:
            if name not in with_errors:  # else its errors ended no operation, such as those of the service "log"
                raise
    groups = [group for answer in answers for group in answer.groups]
    groups.sort(key=lambda group: (-group.count, group.service))
    return ErrorReport(
        time_range=page.time_range,
        groups=groups[:MAX_GROUPS],
        truncated=any(answer.truncated for answer in answers),
        deploy=page.deploy,
        error_groups=page.groups,
    )


def _page(
    report: ErrorReport, span: Range, *, limit: int, services: tuple[str, ...] | None, operation: str | None
) -> OutputPage:
    from cogmeter.recording.service_names import label
    from cogmeter.render.error_text import INNER_TITLE, counted_days

    unplaced = [failures for failures in report.groups if failures.group_id is None]
    inner = [failures for failures in report.groups if failures.raised_in is not None and services]
    blocks: list[Block] = []
    if report.error_groups:
        blocks.append(f"{counted_days(span.since_us, span.until_us)}.")
        blocks.append(_group_table(report.error_groups[:limit], report.deploy))
    if inner:
        blocks.append(_inner_table(inner[:limit], INNER_TITLE))
    if unplaced:
        title = "Failures without a known place, each with its newest text"
        blocks.append(_failure_table(unplaced[:limit], title if report.error_groups else ""))
    lists: dict[str, Sequence[object]] = {
        "errors": report.error_groups,
        "errors raised inside another operation": inner,
        "failures without a known place": unplaced,
    }
    if more := " and ".join(name for name, listed in lists.items() if len(listed) > limit):
        blocks.append(f"Cut after the {limit} most frequent: {more}. List more with --limit.")
    if report.truncated:
        blocks.append("Only the newest 20,000 failures were read. Use a shorter range.")
    of = of_services(services) if operation is None else f" of {one_line(label(next(iter(services or ())), operation))}"
    return OutputPage(f"Errors{of} ({range_title(span.label)})", blocks or [NO_ERRORS])


def _group_table(groups: list[ErrorGroupSummary], deploy: MarkerAnswer | None) -> Table:
    columns = [
        Column("id", right=True),
        Column("count", right=True, style=BAD),
        Column("people (total)", hides=4),
        Column(f"last seen ({zone_label()})", hides=1),
        Column("kind", hides=3),
        Column("state", hides=2),
        Column("place", flexible=True),
        Column("error", flexible=True, least=24),
    ]
    rows = [
        (
            str(group.id),
            f"{group.count:,}",
            people_text(group),
            timestamp(group.last_seen),
            group.kind,
            state_text(group, deploy),
            place_text(group),
            error_line(group),
        )
        for group in groups
    ]
    return Table(columns, rows)


def _inner_table(groups: list[ErrorGroupAnswer], title: str) -> Table:
    columns = [
        Column("id", right=True),
        Column("count", right=True, style=BAD),
        Column(f"last ({zone_label()})", hides=1),
        Column("operation", hides=2),
        Column("raised in", flexible=True),
        Column("error", flexible=True, least=24),
    ]
    rows = [
        (
            str(group.group_id),
            f"{group.count:,}",
            timestamp(group.last_at),
            one_line(group.operation),
            one_line(f"{group.raised_in.service} / {group.raised_in.operation}" if group.raised_in else ""),
            one_line(group.example.error) or "(no text)",
        )
        for group in groups
    ]
    return Table(columns, rows, title)


def _failure_table(groups: list[ErrorGroupAnswer], title: str) -> Table:
    columns = [
        Column("count", right=True, style=BAD),
        Column(f"last ({zone_label()})", hides=1),
        Column("service / operation", flexible=True),
        Column("outcome", hides=2),
        Column("error", flexible=True, least=24),
    ]
    rows = [
        (
            f"{group.count:,}",
            timestamp(group.last_at),
            one_line(f"{group.service} / {group.operation}"),
            group.outcome,
            one_line(group.example.error) or "(no text)",
        )
        for group in groups
    ]
    return Table(columns, rows, title)


def _show_group(options: ReadingOptions, number: int) -> None:
    detail = options.query(lambda source: source.error_group(number))
    if options.as_json:
        show_json(detail)
    else:
        show(OutputPage(f"Error {number}", list(_detail_blocks(detail))))
    options.exit_unless(detail.group.resolved or detail.group.muted_until is not None)


def _detail_blocks(detail: ErrorGroupDetail) -> Iterator[Block]:
    from cogmeter.render.error_text import chain_lines, happened_text
    from cogmeter_storage.errors import headline

    group = detail.group
    yield LabelledValue("Error", one_line(headline(group.type, group.message)), BAD)
    yield LabelledValue("Place", place_text(group))
    yield LabelledValue("State", state_text(group, detail.deploy))
    operations = [(place.service, place.operation) for place in group.operations]
    yield LabelledValue("Kind", f"{group.kind}. {one_line(happened_text(group.kind, operations))}")
    days = len(group.trend)
    yield LabelledValue("Count", f"{sum(group.trend):,} in the last {days} days, {group.total:,} in total")
    yield LabelledValue("People", people_text(group) or "unknown")
    yield LabelledValue("First Seen", _seen(group.first_seen, group.first_version))
    yield LabelledValue("Last Seen", _seen(group.last_seen, group.last_version))
    if detail.running_version is not None:
        yield LabelledValue("Running Version", one_line(detail.running_version))
    places = [f"- {one_line(f'{place.service} / {place.operation}')}: {place.count:,}" for place in group.operations]
    yield Listing("Started by" if group.kind == "unhandled" else "Operations", places)
    for example in detail.examples:
        where = one_line(f"{example.service} / {example.operation}")
        lines = [f"{line[:4]}{one_line(line[4:])}" for line, _ in chain_lines(example.chain)]
        yield Listing(f"{_seen(example.at, example.version)}, {where}", lines)


def _seen(at: datetime, version: str | None) -> str:
    return f"{zoned(at)}, version {one_line(version)}" if version else zoned(at)


def place_text(group: ErrorGroupSummary) -> str:
    """Return the place of a group on one line."""
    from cogmeter.render import error_text

    return one_line(error_text.place_text(group.place))


def error_line(group: ErrorGroupSummary, limit: int | None = None) -> str:
    """Return the type and message of a group on one line."""
    from cogmeter.render.error_text import type_text
    from cogmeter_storage.errors import headline

    return one_line(headline(type_text(group.type), group.message), limit)


def people_text(group: ErrorGroupSummary) -> str:
    """Return the number of people that a group affected."""
    from cogmeter.render import error_text

    return error_text.people_text(group.users, group.guilds)


def state_text(group: ErrorGroupSummary, deploy: MarkerAnswer | None) -> str:
    """Return the state of a group: ``new since version 1.4``, ``resolved by Ada``."""
    from cogmeter.render import error_text

    word = error_text.state_word(
        is_new=group.is_new,
        reopened=group.reopened_at is not None,
        resolved=group.resolved,
        muted=group.muted_until is not None,
    )
    if word == "new" and deploy is not None:
        return one_line(f"new since {error_text.deploy_text(deploy.kind, deploy.name)}", 40)
    return one_line(f"resolved by {group.resolved_by}") if word == "resolved" and group.resolved_by else word
