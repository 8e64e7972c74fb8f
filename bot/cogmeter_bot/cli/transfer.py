"""``cogmeter export`` and ``cogmeter import``: operations to a file, and back into a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from cogmeter_bot.cli.exits import exit_on_signals, reporting_errors
from cogmeter_bot.cli.options import ReadingOptions, TableChoice, database_option, export_options
from cogmeter_bot.cli.output import progress
from cogmeter_bot.cli.push import TARGET, back_fill
from cogmeter_bot.cli.text import echo

if TYPE_CHECKING:
    from cogmeter.query.records import Range
    from cogmeter_bot.cli.output import ProgressStep
    from cogmeter_bot.importing import ImportResult
    from cogmeter_bot.sources.base import Source

DEFAULT_NAME: Final = "performance-export"


@click.command()
@click.option(
    "--format",
    "kind",
    type=TableChoice("format", "cogmeter.exporters.table", "EXPORTERS"),
    help="Format (default: by the suffix of FILE, else PERFORMANCE_EXPORT_FORMAT).",
)
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Write to FILE (default: standard output if it is a pipe or a file, else {DEFAULT_NAME}.<suffix>);"
    " - is standard output, and .gz at the end compresses.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--push", "target", type=TARGET, help="Send the given range to this push target instead of a file.")
@export_options
def export(options: ReadingOptions, kind: str | None, path: Path | None, force: bool, target: str | None) -> None:
    """Export operations and statistics to a file or a push target.

    The export contains all stored operations, or those of the given range and services. FILE appears only when it is
    complete.

    With --push, the minutes, traces, alert changes and markers of the range are sent to a monitoring system, also while
    the bot runs. This needs the database and a range, and does not change what the bot pushes.
    """
    if target is not None:
        if kind or path or force:
            raise click.UsageError("--push writes no file. Remove --format, --output and --force.")
        back_fill(options, target)
        return
    from cogmeter.exporters.table import exporter, format_of
    from cogmeter_bot.files import STDOUT, check_writable, is_redirected, output

    time_range = options.time_range(None)
    kind = kind or (path and format_of(path.name.removesuffix(".gz"))) or options.settings.export_format
    path = path or Path(STDOUT if is_redirected() else f"{DEFAULT_NAME}.{exporter(kind).suffixes[0]}")
    with reporting_errors(), exit_on_signals():
        if str(path) != STDOUT:
            check_writable(path, force=force)
        # An API does not report the number of operations, and some formats contain none.
        counted = exporter(kind).streams and not options.url
        with progress("Exporting", "operations" if counted else "kB") as step, output(path, force=force) as file:
            operations = options.query(lambda source: _write(source, file, step, kind, time_range, options.services))
    if str(path) != STDOUT:
        size = path.stat().st_size if path.is_file() else 0
        count = f"{operations:,} operations, " if operations else ""
        echo(f"Wrote {path} ({count}{size:,} bytes)", err=True)


async def _write(  # noqa: PLR0917 - the parts of one export
    source: Source,
    file: BinaryIO,
    step: ProgressStep,
    kind: str,
    time_range: Range,
    services: tuple[str, ...] | None,
) -> int:
    """Write an export to a file and return the number of operations; 0 if the source does not report it."""
    stream = await source.export(kind, time_range, services)
    size = 0
    async for chunk in stream.chunks:
        file.write(chunk)
        size += len(chunk)
        done = size // 1_000 if stream.expected_operations is None else stream.read_operations()
        step(done, stream.expected_operations)
    return stream.read_operations()


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@database_option
def import_file(path: Path, database: Path | None) -> None:
    """Import the operations of an export into a database.

    FILE is JSON, NDJSON or CSV, also compressed (.gz); - is standard input. A missing database is created; an existing
    one accepts only operations later than its own. No bot may use the database at the same time. If anything in the
    file is wrong, nothing is imported. To copy a whole database, use `backup`.
    """
    from cogmeter.times import iso

    with reporting_errors(), exit_on_signals():
        result = _import(path, database)
    since, until = iso(result.since_us), iso(result.until_us)
    duplicates = f"; skipped {result.duplicates:,} duplicates in the file" if result.duplicates else ""
    echo(f"Imported {result.operations:,} operations of {result.series} series, {since} to {until}{duplicates}")


def _import(path: Path, database: Path | None) -> ImportResult:
    import asyncio

    from cogmeter.query.query import now_us
    from cogmeter_bot.importing import import_staged, stage
    from cogmeter_bot.sources.factory import quiet_settings, write_database

    quiet_settings()  # reports a wrong setting before a large file is read
    with progress("Reading", "operations") as step, stage(path, lambda count: step(count, None)) as staged:
        return asyncio.run(write_database(database, lambda store: import_staged(store, staged, now_us=now_us())))
