"""The event loop of the bot: its lag, and the calls that block it, with their stacks."""
