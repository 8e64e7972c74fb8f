"""Exporters turn what is stored into a format. A new one is a file here and a line in the table of ``table.py``."""
