"""``python -m cogmeter_bot`` is the command ``cogmeter``."""

from cogmeter_bot.cli import main

main()
