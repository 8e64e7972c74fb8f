"""The bot's event loop: its lag, and the calls that block it, with their stacks."""
