"""Thresholds: their keys, the settings and the overrides in effect."""
