"""Bots in the patterns of discord.py's own examples, each with a script of events: `EXAMPLES` by name.

They are written as people write them after reading an example, without a line for the monitor. basic_voice is left
out: it needs a voice server.
"""

from example_bots import clients, prefix, slash, views

EXAMPLES = {**clients.EXAMPLES, **slash.EXAMPLES, **prefix.EXAMPLES, **views.EXAMPLES}
