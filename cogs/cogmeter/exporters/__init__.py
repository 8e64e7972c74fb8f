"""Export formats: one module per format, and ``table.py``, which lists them."""
