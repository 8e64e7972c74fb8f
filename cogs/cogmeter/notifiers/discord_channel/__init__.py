"""Alerts in a Discord channel, with buttons and follow-up messages."""
