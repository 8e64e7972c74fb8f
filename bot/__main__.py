"""Runs the command ``cogmeter`` in a checkout. Without arguments, runs the bot, or the demo if no token is set."""

import sys

from cogmeter_bot.cli import main

main(sys.argv[1:] or ["run", "--or-demo"], prog_name="python -m bot")
