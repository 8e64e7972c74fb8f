"""``cogmeter push --check``, which tries the push targets, and ``cogmeter export --push``, which sends a past range."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.exits import Failure, reporting_errors
from cogmeter_bot.cli.options import ReadingOptions, TableChoice, database_option
from cogmeter_bot.cli.output import progress
from cogmeter_bot.cli.text import echo, one_line
from cogmeter_bot.errors import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cogmeter.push.backfill import BackfillReport, BackfillStoppedError

TARGET: Final = TableChoice("target", "cogmeter.push.table", "TARGETS")


@click.command()
@click.argument("targets", metavar="[TARGET]...", nargs=-1, type=TARGET)
@click.option("--check", is_flag=True, help="Send one sample to each target, and show what its endpoint answers.")
@database_option
def push(targets: tuple[str, ...], check: bool, database: Path | None) -> None:
    """Check the targets that the bot pushes to.

    The running bot pushes by itself to the targets that are switched on, for example by PERFORMANCE_EXPORT_OTLP.
    With --check, this command sends one sample to the same addresses with the same keys. A TARGET that is named is
    checked even if it is not switched on. `cogmeter export --push` sends a range of the past.

    --check: the exit code is 1 if a target does not accept the sample.
    """
    import asyncio

    if not check:
        raise click.UsageError(
            "The running bot pushes by itself. Add --check to try the targets, or use `cogmeter export --push`"
        )
    with reporting_errors():
        from cogmeter_bot.sources.push_targets import check_targets

        results = asyncio.run(check_targets(targets, database))
    for result in results:
        echo(f"[{'ok' if result.well else '!!'}] {result.name}: {one_line(result.text).rstrip('.')}.")
    if not all(result.well for result in results):
        raise click.exceptions.Exit(FAILED)


def back_fill(options: ReadingOptions, target: str) -> None:
    """Send the range of the options to a push target, and print what it accepted."""
    import asyncio

    from cogmeter.push.backfill import BackfillStoppedError

    if options.url is not None:
        raise click.UsageError(
            "--push reads the database: an API has no minutes. Remove --url (or COGMETER_URL), or name a --database"
        )
    if not options.has_range:
        raise click.UsageError("--push needs a range, for example --since 6h or --period 24h")
    time_range = options.time_range(None)
    with reporting_errors():
        from cogmeter_bot.sources.push_targets import send_range

        try:
            with progress("Pushing", "minutes") as step:
                report = asyncio.run(send_range(target, time_range, options.services, options.database, step))
        except BackfillStoppedError as error:
            raise Failure(_stopped(error, target, options, time_range.until_us)) from None
    echo("\n".join(_lines(report, target)))


def _stopped(error: BackfillStoppedError, target: str, options: ReadingOptions, until_us: int) -> str:
    """Return why a back-fill ended early, how far it came, and how to continue."""
    from cogmeter.times import iso
    from cogmeter_storage.model import MINUTE_US

    accepted = _accepted(error.report)
    if error.next_us is None:
        return (
            f"{error}. All minutes were accepted ({accepted}), but not all traces, alert changes and markers. "
            "Repeat the command: minutes that are sent again have the same times and values."
        )
    last = f"The last minute accepted begins at {iso(error.last_us)}" if error.last_us else "No minute was accepted"
    until = iso(-(-until_us // MINUTE_US) * MINUTE_US)
    command = ["cogmeter", "export", "--push", target, "--since", iso(error.next_us), "--until", until]
    command += ["--services", ",".join(options.services)] if options.services else []
    command += ["--database", str(options.database)] if options.database else []
    return f"{error}. {last} ({accepted}). To continue: {shlex.join(command)}"


def _accepted(report: BackfillReport) -> str:
    from cogmeter.render import formatting

    counts = (
        (report.minutes, "minute"),
        (report.operations, "operation"),
        (report.traces, "trace"),
        (report.changes, "alert change"),
        (report.markers, "marker"),
    )
    return ", ".join(formatting.counted(count, name) for count, name in counts)


def _lines(report: BackfillReport, target: str) -> Iterator[str]:
    """Yield what was accepted, and what was not sent and why."""
    from cogmeter.render import formatting

    yield f"Pushed to {target}: {_accepted(report)}."
    if report.rejected:
        reason = f": {one_line(report.rejection)}" if report.rejection else ""
        yield f"Rejected by the endpoint: {formatting.counted(report.rejected, 'point')}{reason}."
    left_out = (
        (report.too_old, f"older than {target} accepts"),
        (report.not_kept, "their minutes are not stored any more, only hours or days"),
        (report.unfinished, "the last minute is not finished; the bot pushes it, or a later export"),
    )
    for count, reason in left_out:
        if count:
            yield f"Not sent: {formatting.counted(count, 'operation')} ({reason})."
