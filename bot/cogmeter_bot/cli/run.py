"""``cogmeter run`` and ``cogmeter demo``: the example bot on Discord, and in a simulated Discord."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from cogmeter_bot.cli.exits import Failure, reporting_errors
from cogmeter_bot.cli.options import Finite
from cogmeter_bot.cli.text import echo
from cogmeter_bot.errors import CannotRunError

MISSING: Final = (
    "DISCORD_TOKEN is not set. Set it in the environment or in .env in this folder, "
    "or try cogmeter without Discord: `cogmeter demo`."
)
PORT: Final = click.IntRange(0, 65535)


@click.command()
@click.option("--or-demo", is_flag=True, help="Run the demo if no token is set.")
@click.pass_context
def run(context: click.Context, or_demo: bool) -> None:
    """Run the example bot, watched by cogmeter, until Ctrl+C.

    The bot's token (DISCORD_TOKEN) and the monitor's settings (PERFORMANCE_*) come from the environment or from .env in
    the working directory.
    """
    from cogmeter_bot.settings import discord_token, set_own_defaults

    with reporting_errors():
        token = discord_token()
    if token is None and not or_demo:
        raise Failure(MISSING)
    if token is None:
        echo("DISCORD_TOKEN is not set, so the demo starts.")
        context.invoke(demo)
        return
    from cogmeter_bot.bot import run_bot

    with reporting_errors():
        warning = set_own_defaults()
    if warning:
        echo(warning)
    try:
        run_bot(token)
    except CannotRunError as error:
        raise Failure(str(error)) from error


@click.command()
@click.option("--port", type=PORT, default=0, help="Port of the simulated Discord; 0 selects a free one.")
@click.option(
    "--dashboard-port",
    type=PORT,
    default=0,
    help="Port of the dashboard, API, health and metrics; 0 selects a free one.",
)
@click.option(
    "--history-days",
    type=Finite(0, 30),
    default=7.0,
    show_default=True,
    help="Days of simulated history.",
)
@click.option("--no-history", is_flag=True, help="Start with an empty database.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated data.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Store the operations in this new SQLite file instead of a temporary one.",
)
def demo(  # noqa: PLR0917 - click passes one argument for each option
    port: int, dashboard_port: int, history_days: float, no_history: bool, seed: int, database: Path | None
) -> None:
    """Try cogmeter in the browser, in a simulated Discord.

    The demo needs no account and no network. It prints the address of the simulated Discord, where all commands work,
    and the address of the dashboard.
    """
    from cogmeter_bot.demo.runner import DemoOptions, run_demo

    days = 0.0 if no_history else history_days
    options = DemoOptions(port=port, dashboard_port=dashboard_port, history_days=days, seed=seed, database=database)
    try:
        run_demo(options, echo)
    except CannotRunError as error:
        raise Failure(str(error)) from error
