"""``cogmeter compare``: two periods, or the time before and after a deploy, with confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.options import ReadingOptions, complete_subjects, operation_option, zone_options
from cogmeter_bot.cli.output import BAD, GOOD, Column, LabelledValue, Listing, OutputPage, Table, show, show_json
from cogmeter_bot.cli.text import one_line, zoned

if TYPE_CHECKING:
    from cogmeter.query.comparison import MeasuredChange
    from cogmeter.schemas.comparison import (
        ComparedPeriodAnswer,
        ComparisonAnswer,
        MeasuredChangeAnswer,
        NewErrorAnswer,
    )
    from cogmeter_bot.cli.output import Block

STYLES: Final = {"worse": BAD, "better": GOOD}


@click.command()
@click.argument("service", required=False, shell_complete=complete_subjects)
@operation_option
@click.option("--before", metavar="PERIOD", help="The first period; default: up to the last deploy.")
@click.option("--after", metavar="PERIOD", help="The second period; default: since the last deploy.")
@zone_options
def compare(
    options: ReadingOptions, service: str | None, operation: str | None, before: str | None, after: str | None
) -> None:
    """Compare two periods of a SERVICE, of a command, or of all.

    A PERIOD is a length such as 24h, a range such as 2025-08-16..2025-08-17 (UTC),
    or the name of a marker, such as "deployed 1.4". One marker alone means the
    time before and after it.

    Response times are judged by the one of p50 and p95 that changed more clearly.

    --check: it became slower, or fails more.
    """
    if operation is not None and service is None:
        raise click.UsageError("--operation needs a SERVICE.")
    answer = options.query(lambda source: source.comparison(service, operation, before=before, after=after))
    if options.as_json:
        show_json(answer)
    else:
        show(comparison_page(answer))
    options.exit_unless(answer.verdict != "worse")


def comparison_page(answer: ComparisonAnswer) -> OutputPage:
    """Return the page of a comparison: the verdicts, the figures, the periods, and new errors."""
    from cogmeter.render.comparison_text import around_text, notes, subject_text, verdict_text
    from cogmeter.render.formatting import sentence

    operations = (answer.before.operations, answer.after.operations)
    blocks: list[Block] = []
    for name, change in (
        ("Response times", answer.latency),
        ("Errors", answer.errors),
        ("Throughput", answer.throughput),
    ):
        text = verdict_text(_measured(change), operations)
        blocks.append(LabelledValue(name, sentence(text), _style(change)))
    blocks.append(_table(answer))
    blocks += [
        LabelledValue(name, _period(period)) for name, period in (("Before", answer.before), ("After", answer.after))
    ]
    since = "" if answer.recorded_since is None else zoned(answer.recorded_since)
    blocks += [f"{sentence(note)}." for note in notes(answer.hours, answer.before, answer.after, recorded_since=since)]
    if answer.new_errors:
        blocks.append(Listing("New Errors", [_new_error(error) for error in answer.new_errors], cut=True))
    between = "" if answer.marker is None else f" ({around_text(one_line(answer.marker.name))})"
    return OutputPage(f"Comparison of {one_line(subject_text(answer.service, answer.operation))}{between}", blocks)


def _new_error(error: NewErrorAnswer) -> str:
    """Return the count, type, place and message of an error; several places can have the same message."""
    from cogmeter.render.error_text import place_text, type_text

    place = "" if error.place is None else f" in {one_line(place_text(error.place))}"
    return f"{error.count:,}x {one_line(type_text(error.type))}{place}: {one_line(error.message)}"


def _style(change: MeasuredChangeAnswer) -> str:
    """Return the colour of a change; more or fewer operations are neither good nor bad."""
    return "" if change.statistic == "throughput" else STYLES.get(change.verdict, "")


def _measured(change: MeasuredChangeAnswer) -> MeasuredChange:
    """Return the record of a change, whose text is the same on every surface."""
    from cogmeter.query.comparison import ChangeVerdict, MeasuredChange

    factor = 1000 if change.statistic in {"p50", "p95"} else 1
    before, after = (None if value is None else value * factor for value in (change.before, change.after))
    return MeasuredChange(ChangeVerdict(change.verdict), change.statistic, before, after, change.p_value)


def _table(answer: ComparisonAnswer) -> Table:
    from cogmeter.render.comparison_text import NAMES, change_text, value_texts

    rows = []
    for change in (*answer.percentiles, answer.errors, answer.throughput):
        measured = _measured(change)
        rows.append((
            NAMES[change.statistic],
            *value_texts(measured),
            (change_text(measured), _style(change)),
        ))  # fmt: skip
    columns = [Column(""), Column("before", right=True), Column("after", right=True), Column("change", right=True)]
    return Table(columns, rows)


def _period(period: ComparedPeriodAnswer) -> str:
    left_out = f", {period.left_out:,} left out" if period.left_out else ""
    since, until = zoned(period.time_range.since), zoned(period.time_range.until)
    return f"{period.operations:,} operations{left_out}, {since} to {until}"
