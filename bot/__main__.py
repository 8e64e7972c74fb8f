"""``python -m bot`` in a checkout is the command ``cogmeter``; alone it runs the bot, or the demo without a token."""

import sys

from cogmeter_bot.cli import main

main(sys.argv[1:] or ["run", "--or-demo"], prog_name="python -m bot")
