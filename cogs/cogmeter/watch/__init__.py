"""Observes a running bot without changes to its code: one file for each surface, see ``watcher.py``."""
