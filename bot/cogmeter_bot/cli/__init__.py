"""The command line, ``cogmeter``: one file a command, all of them in one table."""

from cogmeter_bot.cli.group import main

__all__ = ["main"]
