"""A made-up connection: its latency and heartbeats at any time, the same for the past and for now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter_bot.demo.profiles import activity
from cogmeter_storage.model import HOUR_US

if TYPE_CHECKING:
    import discord

BEAT_S: Final = 41.25  # as often as Discord asks for a heartbeat
USUAL_MS: Final = 72.0
SLOW_HOURS: Final = (-30.6, -30.2)  # before now: when the connection was slow, and had to be resumed
SLOWDOWN: Final = 8.0


def latency_ms(at_us: int, *, now_us: int) -> float:
    """Between a heartbeat and its acknowledgement: the same number for the same time."""
    beat = int(at_us / 1e6 / BEAT_S)
    noise = float(np.random.default_rng(beat).lognormal(0.0, 0.12))
    hours = (at_us - now_us) / HOUR_US
    slow = SLOWDOWN if SLOW_HOURS[0] <= hours < SLOW_HOURS[1] else 1.0
    return (USUAL_MS + 18.0 * float(activity(at_us))) * noise * slow


def heartbeat_age_s(at_us: int) -> float:
    """Since the last acknowledgement."""
    return at_us / 1e6 % BEAT_S


def beat(bot: discord.Client) -> None:
    """Give the simulated connection of this bot, which has neither, a latency and heartbeats."""
    socket: Any = bot.ws
    # The simulator's latency is a property of its class, and always 0.
    socket.__class__ = type("BeatingSocket", (type(socket),), {"latency": property(_latency_s)})
    socket._keep_alive = _Heart()  # noqa: SLF001 - where discord.py has it


class _Heart:
    """What the watch reads of discord.py's heartbeats: when the last one was acknowledged, by time.perf_counter."""

    @property
    def _last_ack(self) -> float:
        return time.perf_counter() - heartbeat_age_s(_now_us())


def _latency_s(_socket: object) -> float:
    now_us = _now_us()
    return latency_ms(now_us, now_us=now_us) / 1000


def _now_us() -> int:
    return time.time_ns() // 1000
