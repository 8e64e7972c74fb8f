"""Notifiers send alert changes to a target. A new one is a file here and a name in ``table.py``."""
