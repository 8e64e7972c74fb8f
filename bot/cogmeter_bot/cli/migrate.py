"""``cogmeter migrate``: everything from one database to another, of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.exits import exit_on_signals, reporting_errors
from cogmeter_bot.cli.output import progress
from cogmeter_bot.cli.text import echo

if TYPE_CHECKING:
    from cogmeter_storage.transfer import Transferred


def _parse_url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from cogmeter_storage.factory import is_postgres

    if not is_postgres(value) and not value.startswith("sqlite:///"):
        raise click.BadParameter("expected sqlite:///data/performance.db or postgresql://user@host/database")
    return value


@click.command()
@click.option("--from", "source", required=True, metavar="URL", callback=_parse_url, help="The database to copy.")
@click.option(
    "--to", "target", required=True, metavar="URL", callback=_parse_url, help="The new database, which must be empty."
)
@click.option(
    "--process",
    default="imported",
    show_default=True,
    metavar="NAME",
    help="In PostgreSQL, the name of the process that has recorded the copied operations.",
)
@click.option("--force", is_flag=True, help="Copy though a process of a PostgreSQL database seems to run.")
def migrate(source: str, target: str, process: str, force: bool) -> None:
    """Copy everything from one database to another.

    A URL is sqlite:///data/performance.db or postgresql://user@host/database, as in PERFORMANCE_DATABASE_URL. Keep a
    password out of the process list by PGPASSWORD or ~/.pgpass.

    No bot may use either database. After an interruption, also by kill -9, the same command continues and copies
    nothing twice. At the end, counts of all tables and sums of operations are compared. Statistics stay the same, and
    alerts, errors and traces keep their ids. To use the copy, set PERFORMANCE_DATABASE_URL to it and start the bot.
    """
    from cogmeter_storage.transfer import transfer

    with reporting_errors(), exit_on_signals(), progress("Copying", "rows") as step:
        result = transfer(source, target, process=process, force=force, step=step)
    _show(result)


def _show(result: Transferred) -> None:
    survey = result.survey
    operations = survey.operation_count
    echo(
        f"{result.target} has everything of {result.source}: {operations:,} operations of"
        f" {survey.tables['series']:,} series, and {survey.rows - operations:,} other rows"
    )
    if result.resumed:
        echo(f"This call copied {result.copied:,} rows; the others were there already")
    echo("Counts of all tables and sums of operations are the same in both")
    if result.damaged:
        echo(f"{result.damaged:,} damaged rows were left out, as in every query", err=True)
