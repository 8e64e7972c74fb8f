"""What is observed without a line of the host's code changed: one file for each surface, see ``watcher.py``."""
