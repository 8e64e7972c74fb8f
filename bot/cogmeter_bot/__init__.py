"""The project's own bot, its command line and its demo."""
