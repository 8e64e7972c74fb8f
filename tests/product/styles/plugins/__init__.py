"""Plugins that the bot loads, reloads and unloads while it runs."""
