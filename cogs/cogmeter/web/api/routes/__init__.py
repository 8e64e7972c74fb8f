"""The routes, one file per family; each holds a literal tuple ROUTES, and ``table.py`` names them all."""
