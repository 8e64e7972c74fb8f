"""How old the newest record of a bot that runs may be."""

from __future__ import annotations

from typing import Final

CONNECTED: Final = "gateway.shards_connected"  # sampled with all other gauges, whether anything happens or not
LEAST_S: Final = 120.0
MISSED_SAMPLES: Final = 4  # before the bot counts as hung


def limit_s(sample_interval_s: float) -> float:
    """How old it may be by default, in seconds."""
    return max(LEAST_S, MISSED_SAMPLES * sample_interval_s)
