"""Rate limit buckets and their headers, in the form in which Discord sends them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token")
UNLIMITED = ("/interactions/", "/cdn/")  # Discord counts neither against a bucket of the bot


@dataclass
class _Window:
    ends_s: float
    used: int = 0


@dataclass(frozen=True)
class Verdict:
    """Whether a request fits its bucket, and the headers that say so."""

    allowed: bool
    retry_after_s: float
    headers: dict[str, str]


class Buckets:
    """One window per route and major parameter; wide by default, so that only a test that wants it is limited."""

    def __init__(self, clock: Callable[[], float], limit: int = 10_000, window_s: float = 10.0) -> None:
        self._clock = clock
        self._default = (limit, window_s)
        self._budgets: dict[str, tuple[int, float]] = {}
        self._windows: dict[tuple[str, ...], _Window] = {}

    def limit(self, route: str, limit: int, window_s: float) -> None:
        """Allows `limit` requests per `window_s` seconds on a route such as `POST /channels/{channel_id}/messages`."""
        self._budgets[route] = (limit, window_s)

    def spend(self, route: str, parameters: dict[str, str]) -> Verdict:
        """Counts one request."""
        if any(free in route for free in UNLIMITED):
            return Verdict(allowed=True, retry_after_s=0.0, headers={})
        limit, window_s = self._budgets.get(route, self._default)
        window = self._window((route, *(parameters.get(name, "") for name in MAJOR)), window_s)
        left_s = max(window.ends_s - time.perf_counter(), 0.001)
        allowed = window.used < limit
        window.used += allowed
        return Verdict(allowed, left_s, self._headers(route, limit, limit - window.used, left_s))

    def _window(self, key: tuple[str, ...], window_s: float) -> _Window:
        now_s = time.perf_counter()
        window = self._windows.get(key)
        if window is None or window.ends_s <= now_s:
            if len(self._windows) > 10_000:
                self._windows.clear()
            window = self._windows[key] = _Window(now_s + window_s)
        return window

    def _headers(self, route: str, limit: int, remaining: int, left_s: float) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": f"{self._clock() + left_s:.3f}",
            "X-RateLimit-Reset-After": f"{left_s:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(route.encode(), usedforsecurity=False).hexdigest(),
        }
