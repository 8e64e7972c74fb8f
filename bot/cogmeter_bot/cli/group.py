"""The command ``cogmeter`` itself, and the table of its subcommands."""

from __future__ import annotations

from typing import Final

import click

from cogmeter.version import __version__
from cogmeter_bot.cli.demo import demo
from cogmeter_bot.cli.health import health
from cogmeter_bot.cli.run import run

COMMANDS: Final = (run, demo, health)


# Without arguments click shows the help and ends with 2, wrong usage; asking for nothing is not wrong.
@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="cogmeter")
@click.pass_context
def main(context: click.Context) -> None:
    """Performance monitoring that lives inside a discord.py bot."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in COMMANDS:
    main.add_command(_command)
