"""Adds up, over the last ten minutes, what Discord's REST limits cost: 429s by scope, waits, and invalid requests.

Discord bans an address for a while that sends 10,000 invalid requests (401, 403, and 429 except of scope "shared")
within ten minutes. The limit is the address's; only what this process sends can be counted here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from cogmeter.diagnosis import Finding

K = TypeVar("K", bound=Hashable)

WINDOW_S: Final = 600.0
BIN_S: Final = 10.0
INVALID_LIMIT: Final = 10_000
INVALID: Final = frozenset({401, 403, 429})
SHARED: Final = "shared"  # the scope of a limit that others use up, too: no fault of ours to Discord
SCOPES: Final = ("user", SHARED, "global", "proxy")  # the last one is no API answer: the proxy's ban of the address
WORTH_ADVICE: Final = 0.10  # of the limit

_ADVICE: Final = {
    401: "The token is not valid for it: stop following up interactions after 15 minutes, and webhooks that are gone",
    403: "Ask for the permission before sending (channel.permissions_for(guild.me)), and stop after the first refusal",
    429: "Send less of it, or less at once: edit one message instead of sending many, and spread loops out",
}


class SlidingCounts(Generic[K]):
    """Amounts by key over a sliding window, in bins: never less than the window, at most one bin more."""

    def __init__(self, window_s: float = WINDOW_S, bin_s: float = BIN_S) -> None:
        self._bin_s = bin_s
        self._kept = int(window_s / bin_s)  # bins besides the one that is being filled
        self._bins: deque[tuple[int, Counter[K]]] = deque()

    def add(self, key: K, now_s: float, amount: int = 1) -> None:
        """Count. ``now_s`` are the seconds of a clock that does not go backwards."""
        number = int(now_s // self._bin_s)
        if not self._bins or self._bins[-1][0] != number:
            self._expire(number)
            self._bins.append((number, Counter()))
        self._bins[-1][1][key] += amount

    def totals(self, now_s: float) -> Counter[K]:
        """The amounts of the window that ends now."""
        self._expire(int(now_s // self._bin_s))
        totals: Counter[K] = Counter()
        for _, counts in self._bins:
            totals.update(counts)
        return totals

    def _expire(self, number: int) -> None:
        while self._bins and self._bins[0][0] < number - self._kept:
            self._bins.popleft()


class Budget:
    """What one process has used of Discord's patience. Statuses and waits go in, gauges and advice come out."""

    def __init__(self) -> None:
        self._limited: SlidingCounts[str] = SlidingCounts()
        self._invalid: SlidingCounts[tuple[int, str]] = SlidingCounts()
        self._waited_ms: SlidingCounts[str] = SlidingCounts()

    def answered(self, operation: str, status: int, scope: str | None, now_s: float) -> None:
        """Take an answer's status, and the scope of a 429."""
        if status not in INVALID:
            return
        if scope is not None:
            self._limited.add(scope, now_s)
        if scope != SHARED:
            self._invalid.add((status, operation), now_s)

    def waited(self, operation: str, wait_ms: int, now_s: float) -> None:
        """Take the milliseconds that a request was held back by a limit."""
        self._waited_ms.add(operation, now_s, wait_ms)

    def share(self, now_s: float) -> float:
        """The share of the invalid requests that is used up; 1 is a ban."""
        return self._invalid.totals(now_s).total() / INVALID_LIMIT

    def gauges(self, now_s: float) -> dict[str, float]:
        """429s by scope and seconds waited within the last ten minutes, and the share of invalid requests."""
        limited = self._limited.totals(now_s)
        return {
            **{f"rest.rate_limited.{scope}": float(limited[scope]) for scope in SCOPES},
            "rest.rate_limit_wait_s": self._waited_ms.totals(now_s).total() / 1000,
            "rest.invalid_share": self.share(now_s),
        }

    def finding(self, now_s: float) -> Finding:
        """How much is used up, and, from a tenth on, what uses it and what to do."""
        invalid = self._invalid.totals(now_s)
        used = invalid.total()
        text = f"{used:,} of {INVALID_LIMIT:,} invalid requests in 10 minutes ({used / INVALID_LIMIT:.1%})"
        if used <= WORTH_ADVICE * INVALID_LIMIT:
            return Finding("rest", well=True, text=f"{text}; {self._held_back(now_s)}")
        (status, operation), times = invalid.most_common(1)[0]
        text += f", {times:,} of them {status} of {operation}"
        return Finding("rest", well=False, text=text, advice=_ADVICE[status])

    def _held_back(self, now_s: float) -> str:
        limited = self._limited.totals(now_s).total()
        waited_s = self._waited_ms.totals(now_s).total() / 1000
        return f"{limited:,} rate limits hit, {waited_s:.1f} s waited for limits"
