"""``cogmeter dashboard``: the full-screen dashboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.exits import Failure, reporting_errors
from cogmeter_bot.cli.options import Finite, ReadingOptions, dashboard_options
from cogmeter_bot.cli.output import is_rich
from cogmeter_bot.errors import WRONG_USAGE

if TYPE_CHECKING:
    from cogmeter_bot.sources.base import Source

LIBRARIES: Final = ("textual", "textual_plotext")
MISSING_LIBRARIES: Final = 'The dashboard needs more libraries: pip install "cogmeter[tui]"'
NO_TERMINAL: Final = "The dashboard needs a terminal. In a pipe or a script use `cogmeter summary` or `cogmeter live`."
NO_STDERR: Final = "The dashboard is drawn on standard error, which is redirected. Remove the redirection."


@click.command()
@click.option("--interval", type=Finite(1, 3600), default=5.0, show_default=True, help="Seconds between refreshes.")
@click.option("--theme", type=click.Choice(("dark", "light")), default="dark", show_default=True, help="Colour theme.")
@dashboard_options
def dashboard(options: ReadingOptions, interval: float, theme: str) -> None:
    """Open the full-screen dashboard.

    Its views are an overview, all services, one service, errors and alerts. It needs the extra "tui".

    Keys: 1 to 6 switch views, arrows and Enter open a service, p and Enter (or a click) open a point of a chart, w
    shows why a service is slow, c compares it, ? lists all keys, q quits. While the database or bot is unavailable, the
    dashboard retries.
    """
    _check_libraries()
    _check_terminal()
    name = options.query(_source_name)  # reports an error before the screen is cleared
    from cogmeter_bot.sources.factory import ReconnectingSource, database_url
    from cogmeter_bot.tui.app import THEMES, DashboardApp
    from cogmeter_bot.tui.chrome import range_choices
    from cogmeter_storage.factory import database_file

    settings = options.settings
    with reporting_errors():
        file = None if options.url else database_file(database_url(settings, options.database))
        choices, selected = range_choices(options.since, options.until, options.period)
    source = ReconnectingSource(options.open_source, file)
    app = DashboardApp(source, settings, choices, selected, name=name, interval_s=interval)
    app.theme = THEMES[theme]
    app.run()
    if app.return_code:
        raise click.exceptions.Exit(app.return_code)


async def _source_name(source: Source) -> str:
    """Return the source's name after a query succeeded."""
    await source.service_names()
    return source.name


def _check_libraries() -> None:
    import importlib.util

    if any(importlib.util.find_spec(library) is None for library in LIBRARIES):
        raise Failure(MISSING_LIBRARIES, WRONG_USAGE)


def _check_terminal() -> None:
    if not (sys.stdin.isatty() and is_rich()):
        raise Failure(NO_TERMINAL, WRONG_USAGE)
    if not sys.stderr.isatty():
        raise Failure(NO_STDERR, WRONG_USAGE)
