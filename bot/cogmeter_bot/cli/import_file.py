"""``cogmeter import``: an export back into a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.error_output import WRONG_USAGE, Failure, told
from cogmeter_bot.cli.options import database_option
from cogmeter_bot.cli.terminal_text import echo

if TYPE_CHECKING:
    from cogmeter_bot.importing import Imported


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@database_option
def import_file(path: Path, database: Path | None) -> None:
    """Bring the operations of an export into a database.

    FILE is JSON, NDJSON or CSV (.gz, too); - is standard input. The database is made if there is none; one that has
    operations takes only later ones. No bot may be running on it. All of the file is brought in, or, if something is
    wrong with it, nothing. For whole databases see `backup`.
    """
    from cogmeter.times import iso
    from cogmeter_bot.cli.progress import ended_by_signals
    from cogmeter_bot.importing import ImportFileError

    with told(), ended_by_signals():
        try:
            done = _run(path, database)
        except ImportFileError as error:
            raise Failure(str(error), WRONG_USAGE) from error
    since, until = iso(done.since_us), iso(done.until_us)
    again = f"; {done.again:,} that stood in the file again were left out" if done.again else ""
    echo(f"Imported {done.operations:,} operations of {done.series} series, {since} to {until}{again}")


def _run(path: Path, database: Path | None) -> Imported:
    import asyncio

    from cogmeter.query.query import now_us
    from cogmeter_bot.cli.progress import progress
    from cogmeter_bot.importing import bring_in, stage
    from cogmeter_bot.sources.opening import quiet_settings, writing

    quiet_settings()  # what is wrong with them is said before a large file is read
    with progress("Reading", "operations") as step, stage(path, lambda done: step(done, None)) as staged:
        return asyncio.run(writing(database, lambda store: bring_in(store, staged, now_us=now_us())))
