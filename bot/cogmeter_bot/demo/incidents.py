"""The simulated incidents: bursts of failures, and services that become slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter_bot.demo.profiles import PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

FIRST_AFTER_S: Final = 22.0  # the alert follows about 20 s later, while a visitor still looks around
PAUSE_S: Final = (100.0, 200.0)  # between incidents
LIVE_LENGTH_S: Final = 45.0
RETRIES_PER_S: Final = 0.9  # retries by users and the bot while a service fails
PAST_RETRIES_PER_MINUTE: Final = 30.0  # while a service fails or is slow, people and the bot try again


@dataclass(frozen=True, slots=True)
class Incident:
    """A disturbance of one service from ``start`` to ``end``, in the caller's unit of time."""

    service: str
    start: float
    end: float
    failure_rate: float = 0.0  # added to that of the affected operations
    slowdown: float = 1.0  # factor of their durations

    def affects(self, profile: Profile) -> bool:
        """Return whether an operation belongs to the service."""
        return profile.service == self.service


@dataclass(frozen=True, slots=True)
class SlowRelease:
    """A deploy since which one operation takes longer; ``/perf compare`` finds it."""

    start: float  # hours before now (negative)
    service: str
    operation: str
    slowdown: float

    def factor(self, profile: Profile) -> float:
        """Return how many times as long an operation takes since then."""
        return self.slowdown if (profile.service, profile.operation) == (self.service, self.operation) else 1.0


SLOW_RELEASE: Final = SlowRelease(-9.4, "discord.commands", "mood", 1.45)

# In hours before now.
PAST: Final = (
    Incident("multimodal-processing", -113.0, -112.75, slowdown=6.0),
    Incident("knowledge-graph", -55.0, -54.6, failure_rate=0.45),
    Incident("context-memory", -29.5, -29.2, slowdown=9.0),
    Incident("core-intelligence", -9.2, -8.8, slowdown=7.0),
    Incident("web-crawling", -5.3, -5.0, failure_rate=0.55),
)

_KINDS: Final = (
    ("knowledge-graph", 0.45, 1.0),
    ("multimodal-processing", 0.0, 7.0),
    ("web-crawling", 0.6, 1.0),
    ("core-intelligence", 0.0, 9.0),
    ("context-memory", 0.4, 1.0),
)


def live_incidents(rng: Generator) -> Iterator[Incident]:
    """Yield the incidents of the demo, in seconds since its start: one after the other, never two at once."""
    start = FIRST_AFTER_S
    while True:
        for service, failure_rate, slowdown in _KINDS:
            yield Incident(service, start, start + LIVE_LENGTH_S, failure_rate, slowdown)
            start += LIVE_LENGTH_S + float(rng.uniform(*PAUSE_S))


def main_operation(service: str) -> Profile:
    """Return the most frequent operation of a service, the one that is retried."""
    profiles = (profile for profile in PROFILES if profile.service == service)
    return max(profiles, key=lambda profile: profile.per_minute)
