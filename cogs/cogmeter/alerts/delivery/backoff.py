"""When to try again, and how fast: back-off with full jitter, and a bucket of tokens for each target."""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST_S, LONGEST_S = 5.0, 600.0
SHORTEST_S = 1.0
LONGEST_WISH_S = 3_600.0  # a target that asks for a longer pause is asked again after this


def delay_us(attempts: int, *, wish_s: float | None = None) -> int:
    """How long to wait after so many attempts: a random time below a limit that doubles with each.

    Full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015), so that what failed together
    does not come back together. Never sooner than the target's own wish.
    """
    limit_s = min(LONGEST_S, FIRST_S * 2 ** min(max(attempts - 1, 0), 20))
    drawn_s = random.uniform(SHORTEST_S, limit_s)  # noqa: S311 - spreads load, guards nothing
    return int(max(drawn_s, min(wish_s or 0.0, LONGEST_WISH_S)) * 1e6)


@dataclass(frozen=True, slots=True)
class SendRate:
    """How fast a target takes messages: ``burst`` at once, and ``per_s`` a second in the long run."""

    burst: int
    per_s: float


class TokenBucket:
    """Tokens for one target: full at first, refilled with time. Reads no clock: every method is told the time."""

    def __init__(self, pace: SendRate | None) -> None:
        """Without a ``pace`` there is always a token."""
        self._pace = pace
        self._tokens = float(pace.burst) if pace else 1.0
        self._at_us: int | None = None
        self._closed_until_us = 0

    def ready_us(self, now_us: int) -> int:
        """The moment from which on there is a token; not later than ``now_us`` when there is one."""
        self._refill(now_us)
        lacking = 0.0 if self._pace is None else max(1.0 - self._tokens, 0.0) / self._pace.per_s
        return max(now_us + int(lacking * 1e6), self._closed_until_us)

    def take(self, now_us: int) -> None:
        """Use a token."""
        self._refill(now_us)
        if self._pace is not None:
            self._tokens -= 1.0

    def close(self, until_us: int) -> None:
        """Give no token before then: the target said so."""
        self._closed_until_us = max(until_us, self._closed_until_us)

    def _refill(self, now_us: int) -> None:
        # A clock that was set back must not hold the target up for as long.
        passed_us = 0 if self._at_us is None else max(now_us - self._at_us, 0)
        if self._at_us is not None and now_us < self._at_us:
            self._closed_until_us = 0
        self._at_us = now_us
        if self._pace is not None:
            self._tokens = min(self._tokens + passed_us / 1e6 * self._pace.per_s, float(self._pace.burst))
