"""``cogmeter run``: the project's own bot, on Discord."""

from __future__ import annotations

import click

from cogmeter_bot.cli.error_output import told
from cogmeter_bot.cli.terminal_text import echo

TOKENLESS = (
    "DISCORD_TOKEN is not set: put DISCORD_TOKEN=... into the environment or into .env here, "
    "or try the product without Discord by `cogmeter demo`"
)


@click.command()
@click.option("--or-demo", is_flag=True, help="Without a token, run the demo instead of ending with an error.")
@click.pass_context
def run(context: click.Context, or_demo: bool) -> None:
    """Run the example bot, watched by cogmeter, until Ctrl+C.

    Its token comes from DISCORD_TOKEN, in the environment or in a file .env in the working directory; so do the
    settings PERFORMANCE_* of the monitor.
    """
    from cogmeter_bot.settings import discord_token, set_own_defaults

    with told():
        token = discord_token()
    if token is None:
        if not or_demo:
            raise click.ClickException(TOKENLESS)
        from cogmeter_bot.cli.demo import demo

        echo("DISCORD_TOKEN is not set, so this is the demo.")
        context.invoke(demo)
        return
    from cogmeter_bot.errors import CannotRunError
    from cogmeter_bot.service import run_bot

    with told():
        said = set_own_defaults()
    if said:
        echo(said)
    try:
        run_bot(token)
    except CannotRunError as error:
        raise click.ClickException(str(error)) from error
