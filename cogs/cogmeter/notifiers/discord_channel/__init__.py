"""Alerts in a Discord channel: ``notifier.py`` posts and edits, ``message.py`` builds, ``channel.py`` checks."""
