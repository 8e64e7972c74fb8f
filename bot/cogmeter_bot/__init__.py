"""The example bot, the command line and the demo."""
