"""A command with a time before and after a version, for the tests of comparisons on every surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage.model import DAY_US, MINUTE_US, Marker

if TYPE_CHECKING:
    from cogmeter_storage.base import Store


async def deploy(
    store: Store,
    now_us: int,
    *,
    slower: float = 1.0,
    failing: float = 0.0,
    fewer: float = 0.0,
    name: str = "ask",
    marker: str = "version 1.4",
    age_us: int = DAY_US,
) -> Marker:
    """Store 900 operations of two days, and a version; since then they are slower, fail, or are fewer by a share."""
    now_us, rng = now_us // MINUTE_US * MINUTE_US, np.random.default_rng(1)
    (series,) = await store.series_ids([("discord.commands", name)])
    ends = np.sort(rng.integers(now_us - 2 * DAY_US, now_us, 900))
    later = ends > now_us - age_us
    durations = 2e5 * rng.lognormal(0, 0.3, ends.size) * np.where(later, slower, 1.0)
    failed = later & (rng.random(ends.size) < failing)
    kept = ~later | (rng.random(ends.size) >= fewer)
    rows = [
        (series, end, int(duration), int(bad), None, None)
        for end, duration, bad in zip(ends[kept].tolist(), durations[kept].tolist(), failed[kept].tolist(), strict=True)
    ]
    await store.append([rows], now_us=now_us)
    return await store.add_marker(Marker(now_us - age_us, "version", marker))
