"""Notifiers deliver alert events. A new one is a file here and a line in the literal table of ``table.py``."""
