"""``python -m bot`` in a checkout: the command ``cogmeter``; without arguments it runs the bot."""

import sys

from cogmeter_bot.cli import main

main(sys.argv[1:] or ["run"], prog_name="python -m bot")
