"""Anomaly detection: baselines, forecasts and rarity."""
