"""What goes wrong in the made-up world: bursts of failures and services that become slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter_bot.demo.profiles import PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator

FIRST_AFTER_S: Final = 22.0  # its alert comes some 20 s later, while a visitor still looks around
PAUSE_S: Final = (100.0, 200.0)
LIVE_LENGTH_S: Final = 45.0
RETRIES_PER_S: Final = 0.9  # what people, and the bot, try again while a service is ill
PAST_RETRIES_PER_MINUTE: Final = 4.0  # over most of an hour, people give up sooner


@dataclass(frozen=True, slots=True)
class Incident:
    """One service in trouble from ``start`` to ``end``, on whichever clock the caller uses."""

    service: str
    start: float
    end: float
    failure_rate: float = 0.0  # of the operations that are affected
    slowdown: float = 1.0  # how many times longer they take

    def affects(self, profile: Profile) -> bool:
        """Whether an operation belongs to the service."""
        return profile.service == self.service


# The past ones, in hours before now.
PAST: Final = (
    Incident("multimodal-processing", -113.0, -111.6, slowdown=6.0),
    Incident("knowledge-graph", -55.0, -54.2, failure_rate=0.45),
    Incident("context-memory", -29.5, -28.9, slowdown=9.0),
    Incident("core-intelligence", -9.2, -8.5, slowdown=7.0),
    Incident("web-crawling", -5.3, -4.8, failure_rate=0.55),
)

_KINDS: Final = (
    ("knowledge-graph", 0.45, 1.0),
    ("multimodal-processing", 0.0, 7.0),
    ("web-crawling", 0.6, 1.0),
    ("core-intelligence", 0.0, 9.0),
    ("context-memory", 0.4, 1.0),
)


def live(rng: Generator) -> Iterator[Incident]:
    """The incidents to come, in seconds since the demo began: one kind after the other, never two at once."""
    start = FIRST_AFTER_S
    while True:
        for service, failure_rate, slowdown in _KINDS:
            yield Incident(service, start, start + LIVE_LENGTH_S, failure_rate, slowdown)
            start += LIVE_LENGTH_S + float(rng.uniform(*PAUSE_S))


def main_operation(service: str) -> Profile:
    """The operation of a service that happens most often: the one that is tried again."""
    return max((one for one in PROFILES if one.service == service), key=lambda one: one.per_minute)
