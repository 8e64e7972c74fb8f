"""Judges the health of the running bot, of the monitor and of services, with reasons and ages."""

from __future__ import annotations

from cogmeter.diagnostics.health import Health

__all__ = ["Health"]
