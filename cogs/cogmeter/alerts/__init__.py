"""Alerting: running totals in memory, rules over them, and the engine that stores and hands on what they find."""
