"""How the made-up services behave: how often each operation happens, how long it takes, how it fails.

History and live traffic draw from the same profiles, so that charts run on without a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter_storage.model import DAY_US, HOUR_US, Outcome

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Failure = tuple[Outcome, str]

_TIMEOUT = (Outcome.UPSTREAM, "TimeoutError: the model did not answer within 30 s")
_RATE = (Outcome.UPSTREAM, "RateLimitError: Rate limit exceeded")
_FORMAT = (Outcome.ERROR, "ValueError: Invalid input format")
_GRAPH = (Outcome.UPSTREAM, "ServiceUnavailable: the graph database refused the connection")
_LOCKED = (Outcome.ERROR, "OperationalError: database is locked")
_IMAGE = (Outcome.ERROR, "UnidentifiedImageError: cannot identify image file")
_STATUS = (Outcome.UPSTREAM, "ClientResponseError: 503, message='Service Unavailable'")
_DNS = (Outcome.UPSTREAM, "ClientConnectorError: Cannot connect to host example.org:443")


@dataclass(frozen=True, slots=True)
class Profile:
    """One operation: durations are lognormal, failures independent of each other."""

    service: str
    operation: str
    per_minute: float  # the mean over a week
    median_ms: float
    spread: float  # standard deviation of the logarithm of the duration
    failure_rate: float
    failures: tuple[Failure, ...]
    model: str | None = None  # a language model, whose tokens are noted


PROFILES: Final = (
    Profile("core-intelligence", "process", 3.2, 950.0, 0.50, 0.012, (_TIMEOUT, _RATE), model="gpt-4o-mini"),
    Profile("core-intelligence", "route", 1.2, 14.0, 0.40, 0.001, (_FORMAT,)),
    Profile("sentiment-analysis", "analyze", 2.4, 138.0, 0.34, 0.010, (_RATE, _FORMAT)),
    Profile("context-memory", "retrieve", 1.7, 46.0, 0.55, 0.006, (_LOCKED,)),
    Profile("context-memory", "store", 0.6, 19.0, 0.45, 0.008, (_LOCKED,)),
    Profile("knowledge-graph", "query", 1.0, 215.0, 0.60, 0.014, (_GRAPH,)),
    Profile("knowledge-graph", "link", 0.4, 72.0, 0.40, 0.006, (_GRAPH,)),
    Profile("multimodal-processing", "describe", 0.5, 1_900.0, 0.45, 0.020, (_TIMEOUT, _IMAGE)),
    Profile("multimodal-processing", "thumbnail", 0.3, 240.0, 0.35, 0.010, (_IMAGE,)),
    Profile("web-crawling", "fetch", 0.7, 620.0, 0.75, 0.030, (_STATUS, _DNS)),
    Profile("web-crawling", "extract", 0.6, 38.0, 0.50, 0.004, (_FORMAT,)),
)

_BUSIEST_HOUR: Final = 19.5  # UTC: the evening of Europe and the afternoon of America


def activity(at_us: ArrayLike) -> NDArray[np.float64]:
    """How busy a bot is at these times (microseconds since 1970 UTC), relative to its mean over a week.

    A day's curve with one maximum and one minimum, times 1.2 at the weekend and 0.92 on other days.
    """
    at = np.asarray(at_us, dtype=np.float64)
    angle = 2 * np.pi * ((at % DAY_US) / HOUR_US - _BUSIEST_HOUR) / 24
    weekday = (at // DAY_US + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return (1 + 0.6 * np.cos(angle)) * np.where(weekday >= 5, 1.2, 0.92)


def cost_usd(tokens_in: int, tokens_out: int) -> float:
    """What a made-up model costs: 2.50 dollars for a million tokens read, 10 for a million written."""
    return round((2.5 * tokens_in + 10.0 * tokens_out) / 1e6, 6)
