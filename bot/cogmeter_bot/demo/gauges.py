"""The simulated gauges, past and present: the gateway connection, the event loop, resources, Discord's rate limits."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.recording.service_names import REST
from cogmeter.watch.rest.budget import INVALID_LIMIT, WINDOW_S
from cogmeter_bot.demo.profiles import LIMITED, activity
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    import discord
    from numpy.random import Generator
    from numpy.typing import NDArray

    from cogmeter_bot.demo.history import GeneratedHistory
    from cogmeter_storage.base import Store

HEARTBEAT_S: Final = 41.25  # the interval that Discord requests
TYPICAL_LATENCY_MS: Final = 72.0
SLOW_HOURS: Final = (-30.6, -30.2)  # before now: the connection was slow and had to be resumed
SLOWDOWN: Final = 8.0
# A bot samples every 15 s; these steps are enough for every chart, and are written 100 times faster.
STEP_US: Final = 10 * MINUTE_US
FINE_STEP_US: Final = 2 * MINUTE_US  # in the last day
WINDOW_US: Final = int(WINDOW_S * 1e6)  # of the rate limits
SHORT_BLOCK_MS: Final = (160.0, 420.0)


def latency_ms(at_us: int, *, now_us: int) -> float:
    """Return the time between a heartbeat and its acknowledgement, which depends only on the time."""
    heartbeat = int(at_us / 1e6 / HEARTBEAT_S)
    noise = float(np.random.default_rng(heartbeat).lognormal(0.0, 0.12))
    hours = (at_us - now_us) / HOUR_US
    slowdown = SLOWDOWN if SLOW_HOURS[0] <= hours < SLOW_HOURS[1] else 1.0
    return (TYPICAL_LATENCY_MS + 18.0 * float(activity(at_us))) * noise * slowdown


def heartbeat_age_s(at_us: int) -> float:
    """Return the time since the last acknowledgement."""
    return at_us / 1e6 % HEARTBEAT_S


def simulate_heartbeats(bot: discord.Client) -> None:
    """Add a session, a latency and heartbeats to the simulated connection of a bot."""
    socket: Any = bot.ws
    socket.session_id = "simulated"  # the simulator sends one in READY, but leaves it out here
    # The simulator's latency is a property of its class, and always 0.
    socket.__class__ = type("SimulatedSocket", (type(socket),), {"latency": property(_latency_s)})
    socket._keep_alive = _KeepAlive()  # noqa: SLF001 - where discord.py has it


class _KeepAlive:
    """The part of discord.py's heartbeat thread that cogmeter reads."""

    @property
    def _last_ack(self) -> float:
        """The time of the last acknowledgement by time.perf_counter."""
        return time.perf_counter() - heartbeat_age_s(_now_us())


def _latency_s(_socket: object) -> float:
    now_us = _now_us()
    return latency_ms(now_us, now_us=now_us) / 1000


def _now_us() -> int:
    return time.time_ns() // 1000


async def store_gauges(store: Store, history: GeneratedHistory, *, until_us: int, days: float, seed: int) -> None:
    """Store the gauges of the ``days`` before ``until_us``; the rate limits are those of the history's requests."""
    rng = np.random.default_rng(seed + 2)
    limited_us = rate_limits(history)
    for at_us in _sample_times(until_us, days):
        first, last = np.searchsorted(limited_us, (at_us - WINDOW_US, at_us), side="right").tolist()
        await store.add_samples(at_us, past_gauges(rng, at_us, until_us, limited=last - first))


def rate_limits(history: GeneratedHistory) -> NDArray[np.int64]:
    """Return the times of the requests to Discord that a rate limit rejected, oldest first."""
    requests = [number for number, (service, _) in enumerate(history.names) if service == REST]
    series, end, _, _, error, _ = history.table.T
    found: NDArray[np.int64] = end[np.isin(series, requests) & (error == history.errors.index(LIMITED))]
    return found


def past_gauges(rng: Generator, at_us: int, now_us: int, *, limited: int = 0) -> dict[str, float]:
    """Return all gauges at a time in the past, under the names that the watch uses.

    ``limited`` is the number of requests that a rate limit rejected in the last WINDOW_US.
    """
    hours, load = (at_us - now_us) / HOUR_US, float(activity(at_us))
    lag_ms = 0.25 * (0.7 + 0.3 * load) * float(rng.lognormal(0.0, 0.25))
    blocked_ms = float(rng.uniform(*SHORT_BLOCK_MS)) if rng.random() < 0.02 else 0.0
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
        "rest.rate_limited.user": float(limited),
        "rest.rate_limited.shared": 0.0,
        "rest.rate_limited.global": 0.0,
        "rest.rate_limited.proxy": 0.0,
        "rest.rate_limit_wait_s": limited * 0.8,
        "rest.invalid_share": limited / INVALID_LIMIT,
        "resources.memory_bytes": 1e6 * (160.0 + 14.0 * load + float(rng.normal(0.0, 1.2))),
        "resources.cpu_percent": 2.2 + 2.5 * load * float(rng.lognormal(0.0, 0.3)),
    }


def _sample_times(until_us: int, days: float) -> Iterator[int]:
    first_us = int(until_us - days * DAY_US)
    fine_us = max(first_us, until_us - DAY_US)
    return chain(range(first_us, fine_us, STEP_US), range(fine_us, until_us, FINE_STEP_US))
