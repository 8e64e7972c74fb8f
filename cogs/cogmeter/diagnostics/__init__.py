"""What of the running bot is healthy, degraded, unhealthy or unknown, with reasons and ages."""

from __future__ import annotations

from cogmeter.diagnostics.health import Health, health_of

__all__ = ["Health", "health_of"]
