"""``cogmeter demo``: the same bot in a simulated Discord, in the browser."""

from __future__ import annotations

from pathlib import Path

import click

from cogmeter_bot.cli.options import Finite
from cogmeter_bot.cli.terminal_text import echo


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Serve the page on this port; 0 takes a free one."
)
@click.option(
    "--dashboard-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Serve the dashboard, API, health and metrics on this port; 0 takes a free one.",
)
@click.option(
    "--history-days",
    type=Finite(0, 30),
    default=7.0,
    show_default=True,
    help="How many days of made-up operations to begin with.",
)
@click.option("--no-history", is_flag=True, help="Begin with an empty database.")
@click.option("--seed", type=int, default=1, show_default=True, help="The seed of everything that is made up.")
@click.option(
    "--database",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the operations in this new SQLite file, instead of a temporary one that is removed in the end.",
)
def demo(  # noqa: PLR0917 - click gives one for each option
    port: int, dashboard_port: int, history_days: float, no_history: bool, seed: int, database: Path | None
) -> None:
    """Try the product in the browser, in a simulated Discord.

    Needs no account and no network. Prints the address of a page in which /perf summary and all other commands can be
    used, and the dashboard's.
    """
    from cogmeter_bot.demo.options import DemoOptions
    from cogmeter_bot.demo.runner import show
    from cogmeter_bot.errors import CannotRunError

    days = 0.0 if no_history else history_days
    plan = DemoOptions(port=port, dashboard_port=dashboard_port, history_days=days, seed=seed, database=database)
    try:
        show(plan, say=echo)
    except CannotRunError as error:
        raise click.ClickException(str(error)) from error
