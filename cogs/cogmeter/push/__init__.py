"""Pushes metrics, traces and alerts to monitoring systems: one file per protocol, named in ``table``."""
