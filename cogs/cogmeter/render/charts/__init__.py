"""Charts: what to draw, and the worker process that draws it."""
