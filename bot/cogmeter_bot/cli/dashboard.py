"""``cogmeter dashboard``: the full-screen view of all of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from cogmeter_bot.cli.error_output import WRONG_USAGE, Failure, told
from cogmeter_bot.cli.options import Finite, ReadingOptions, browsing

if TYPE_CHECKING:
    from cogmeter_bot.sources.base import Source

LIBRARIES: Final = ("textual", "textual_plotext")
NEEDED: Final = 'The dashboard needs more libraries: pip install "cogmeter[tui]"'
NO_TERMINAL: Final = "The dashboard needs a terminal; in a pipe or a script use `cogmeter summary` or `cogmeter live`."
NO_STDERR: Final = (
    "The dashboard is drawn by way of standard error, which is redirected here; leave the redirection out."
)


@click.command()
@click.option("--interval", type=Finite(1, 3600), default=5.0, show_default=True, help="Seconds between two looks.")
@click.option("--theme", type=click.Choice(("dark", "light")), default="dark", show_default=True, help="The colours.")
@browsing
def dashboard(ask: ReadingOptions, interval: float, theme: str) -> None:
    """Watch all of it on one screen, by keys and mouse.

    There are an overview, all services, one service, errors and alerts. It needs the extra tui.

    The keys 1 to 5 switch, the arrows and Enter open a service, ? lists all keys, q quits. A database or bot that goes
    away is waited for.
    """
    _check_libraries()
    _check_terminal()
    name = ask.answer(_named)  # what cannot be read is said at once
    from cogmeter_bot.tui.app import THEMES, DashboardApp
    from cogmeter_bot.tui.ranges import choices
    from cogmeter_bot.tui.reconnecting_source import ReconnectingSource

    with told():
        from cogmeter_bot.sources.opening import url_of
        from cogmeter_storage.factory import sqlite_path

        settings = ask.settings
        file = None if ask.url else sqlite_path(url_of(settings, ask.database))
        listed, chosen = choices(ask.since, ask.until, ask.period)
    app = DashboardApp(ReconnectingSource(ask.open, file), settings, listed, chosen, name=name, interval_s=interval)
    app.theme = THEMES[theme]
    app.run()
    if app.return_code:
        raise click.exceptions.Exit(app.return_code)


async def _named(source: Source) -> str:
    """The source's name, after it has shown that it answers."""
    await source.names()
    return source.name


def _check_libraries() -> None:
    import importlib.util

    if any(importlib.util.find_spec(one) is None for one in LIBRARIES):
        raise Failure(NEEDED, WRONG_USAGE)


def _check_terminal() -> None:
    from cogmeter_bot.cli.output import is_rich

    if not (sys.stdin.isatty() and is_rich()):
        raise Failure(NO_TERMINAL, WRONG_USAGE)
    if not sys.stderr.isatty():
        raise Failure(NO_STDERR, WRONG_USAGE)
