"""The gauges of the made-up past: the connection, the event loop, what the process used, Discord's limits."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter_bot.demo.fake_gateway import SLOW_HOURS, heartbeat_age_s, latency_ms
from cogmeter_bot.demo.profiles import activity
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

    from cogmeter_storage.base import Store

# A bot takes a sample every 15 s; these are enough for every chart, and are there a hundred times sooner.
STEP_US: Final = 10 * MINUTE_US
FINE_STEP_US: Final = 2 * MINUTE_US  # within the last day
LIMITED_HOURS: Final = ((-77.0, -76.6), (-4.0, -3.8))  # before now: when Discord limited the bot's requests
SHORT_BLOCK_MS: Final = (160.0, 420.0)


async def bring_gauges(store: Store, *, until_us: int, days: float, seed: int) -> None:
    """Store what the gauges showed in the ``days`` before ``until_us``."""
    rng = np.random.default_rng(seed + 2)
    for at_us in _moments(until_us, days):
        await store.add_samples(at_us, gauges(rng, at_us, until_us))


def gauges(rng: Generator, at_us: int, now_us: int) -> dict[str, float]:
    """All gauges at one moment of the past, by the names that the watch gives them."""
    hours, busy = (at_us - now_us) / HOUR_US, float(activity(at_us))
    lag_ms = 0.25 * (0.7 + 0.3 * busy) * float(rng.lognormal(0.0, 0.25))
    blocked_ms = float(rng.uniform(*SHORT_BLOCK_MS)) if rng.random() < 0.02 else 0.0
    limited = float(rng.poisson(14.0)) if any(first <= hours < last for first, last in LIMITED_HOURS) else 0.0
    resumed = 1.0 if hours >= SLOW_HOURS[1] else 0.0
    return {
        "gateway.latency_ms.shard_0": latency_ms(at_us, now_us=now_us),
        "gateway.heartbeat_age_s.shard_0": heartbeat_age_s(at_us),
        "gateway.shards_connected": 1.0,
        "gateway.disconnects": resumed,
        "gateway.reconnects": resumed,
        "gateway.resumes": resumed,
        "gateway.identifies": 1.0,
        "loop.lag_p50_ms": lag_ms,
        "loop.lag_p99_ms": lag_ms * 9.0 * float(rng.lognormal(0.0, 0.3)) + blocked_ms / 20,
        "loop.lag_max_ms": lag_ms * 30.0 * float(rng.lognormal(0.0, 0.4)) + blocked_ms,
        "rest.rate_limited.user": limited,
        "rest.rate_limited.shared": float(rng.poisson(0.3 * busy)),
        "rest.rate_limited.global": 0.0,
        "rest.rate_limited.proxy": 0.0,
        "rest.rate_limit_wait_s": limited * 0.8,
        "rest.invalid_share": (limited + float(rng.poisson(3.0 * busy))) / 10_000,
        "resources.memory_bytes": 1e6 * (160.0 + 14.0 * busy + float(rng.normal(0.0, 1.2))),
        "resources.cpu_percent": 2.2 + 2.5 * busy * float(rng.lognormal(0.0, 0.3)),
    }


def _moments(until_us: int, days: float) -> Iterator[int]:
    first_us = int(until_us - days * DAY_US)
    day_us = max(first_us, until_us - DAY_US)
    return chain(range(first_us, day_us, STEP_US), range(day_us, until_us, FINE_STEP_US))
