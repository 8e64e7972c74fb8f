"""Counts of live objects by owner and type, which name what makes the memory grow."""
