"""Counts 429s by scope, waits for rate limits, and invalid requests of the last ten minutes.

Discord bans an address for a while that sends 10,000 invalid requests (401, 403, and 429 except of scope "shared")
within ten minutes. The limit applies to the address; only requests of this process are counted here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from cogmeter.diagnosis import Finding
from cogmeter.render import formatting

K = TypeVar("K", bound=Hashable)

WINDOW_S: Final = 600.0
BIN_S: Final = 10.0
INVALID_LIMIT: Final = 10_000
INVALID: Final = frozenset({401, 403, 429})
SHARED: Final = "shared"  # the scope of a limit that is shared with others: not an invalid request
SCOPES: Final = ("user", SHARED, "global", "proxy")  # "proxy" is not the API: the proxy has banned the address
WORTH_ADVICE: Final = 0.10  # share of the limit from which the finding has advice

_ADVICE: Final = {
    401: "The token is not valid: stop using interactions after 15 minutes, and webhooks that were deleted",
    403: "Check permissions before sending (channel.permissions_for(guild.me)), and stop after the first refusal",
    429: "Send fewer requests: edit one message instead of sending many, and do not start all loops at once",
}


class SlidingCounts(Generic[K]):
    """Amounts by key over a sliding window, in bins. It covers the window and at most one bin more."""

    def __init__(self, window_s: float = WINDOW_S, bin_s: float = BIN_S) -> None:
        self._bin_s = bin_s
        self._kept = int(window_s / bin_s)  # complete bins
        self._bins: deque[tuple[int, Counter[K]]] = deque()

    def add(self, key: K, now_s: float, amount: int = 1) -> None:
        """Add an amount. ``now_s`` is the time of a monotonic clock in seconds."""
        number = int(now_s // self._bin_s)
        if not self._bins or self._bins[-1][0] != number:
            self._expire(number)
            self._bins.append((number, Counter()))
        self._bins[-1][1][key] += amount

    def totals(self, now_s: float) -> Counter[K]:
        """Return the amounts of the window that ends now."""
        self._expire(int(now_s // self._bin_s))
        totals: Counter[K] = Counter()
        for _, counts in self._bins:
            totals.update(counts)
        return totals

    def _expire(self, number: int) -> None:
        while self._bins and self._bins[0][0] < number - self._kept:
            self._bins.popleft()


class Budget:
    """The rate limits and invalid requests of this process, as gauges and advice."""

    def __init__(self) -> None:
        self._limited: SlidingCounts[str] = SlidingCounts()
        self._invalid: SlidingCounts[tuple[int, str]] = SlidingCounts()
        self._waited_ms: SlidingCounts[str] = SlidingCounts()

    def answered(self, operation: str, status: int, scope: str | None, now_s: float) -> None:
        """Count a response's status, and the scope of a 429."""
        if status not in INVALID:
            return
        if scope is not None:
            self._limited.add(scope, now_s)
        if scope != SHARED:
            self._invalid.add((status, operation), now_s)

    def waited(self, operation: str, wait_ms: int, now_s: float) -> None:
        """Add the milliseconds that a request waited for a limit."""
        self._waited_ms.add(operation, now_s, wait_ms)

    def share(self, now_s: float) -> float:
        """Return invalid requests as a share of the limit; 1 is a ban."""
        return self._invalid.totals(now_s).total() / INVALID_LIMIT

    def gauges(self, now_s: float) -> dict[str, float]:
        """Return 429s by scope and seconds waited in the last ten minutes, and the share of invalid requests."""
        limited = self._limited.totals(now_s)
        return {
            **{f"rest.rate_limited.{scope}": float(limited[scope]) for scope in SCOPES},
            "rest.rate_limit_wait_s": self._waited_ms.totals(now_s).total() / 1000,
            "rest.invalid_share": self.share(now_s),
        }

    def finding(self, now_s: float) -> Finding:
        """Return the share of invalid requests and, from a tenth of the limit, their main cause and advice."""
        invalid = self._invalid.totals(now_s)
        used = invalid.total()
        text = f"{formatting.exact(used)} of {INVALID_LIMIT:,} invalid requests in 10 min"
        text += f" ({formatting.percent(used / INVALID_LIMIT)})"
        if used <= WORTH_ADVICE * INVALID_LIMIT:
            return Finding("rest", well=True, text=f"{text}; {self._limits(now_s)}")
        (status, operation), times = invalid.most_common(1)[0]
        text += f", {times:,} of them {status} of {operation}"
        return Finding("rest", well=False, text=text, advice=_ADVICE[status])

    def _limits(self, now_s: float) -> str:
        limited = self._limited.totals(now_s).total()
        waited_s = self._waited_ms.totals(now_s).total() / 1000
        return (
            f"{formatting.counted(limited, 'rate limit')} hit, {formatting.duration(waited_s * 1e6)} waited for limits"
        )
