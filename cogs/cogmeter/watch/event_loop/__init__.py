"""The bot's event loop and process: lag, blocking calls, stacks, resources."""
