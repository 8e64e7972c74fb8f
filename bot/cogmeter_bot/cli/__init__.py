"""The command line, ``cogmeter``. All commands are in the table of ``group.py``."""

from cogmeter_bot.cli.group import main

__all__ = ["main"]
