"""The event-loop lag, how long callbacks wait for the loop, as a log histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter_storage import histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLD_AT: Final = 1024  # values are put into buckets together: one by one would cost fifty times as much


class Lag:
    """A histogram of lag; ``buckets`` has all values since it was created."""

    def __init__(self) -> None:
        self.buckets: NDArray[np.int64] = np.zeros(histogram.BUCKETS, dtype=np.int64)
        self._recent = np.zeros_like(self.buckets)  # since the last ``take``
        self._most_ns = 0
        self._waiting: list[int] = []

    def add(self, late_ns: int) -> None:
        """Add a lag in nanoseconds."""
        self._waiting.append(late_ns)
        if len(self._waiting) >= FOLD_AT:
            self._fold()

    def add_none(self, times: int) -> None:
        """Add ``times`` lags of 0, for checks that found the loop waiting for events."""
        self.buckets[0] += times
        self._recent[0] += times

    def take(self) -> dict[str, float]:
        """Return the median, p99 and maximum in milliseconds since the last call; empty without values."""
        self._fold()
        recent, most_ns = self._recent, self._most_ns
        if not recent.any():
            return {}
        self._recent, self._most_ns = np.zeros_like(recent), 0
        most_us, most_ms = most_ns / 1e3, most_ns / 1e6
        quantiles_us = histogram.quantiles(recent, (0.5, 0.99), max_us=most_us).tolist()
        # The units of the two divisions differ: a rounding error must not put a percentile above the maximum.
        p50_ms, p99_ms = (most_ms if one >= most_us else min(one / 1e3, most_ms) for one in quantiles_us)
        return {"loop.lag_p50_ms": p50_ms, "loop.lag_p99_ms": p99_ms, "loop.lag_max_ms": most_ms}

    def _fold(self) -> None:
        if not self._waiting:
            return
        late_ns, self._waiting = self._waiting, []
        buckets = histogram.bucket_of(np.array(late_ns) / 1e3)
        counts = np.bincount(buckets, minlength=histogram.BUCKETS)
        self.buckets += counts
        self._recent += counts
        self._most_ns = max(self._most_ns, *late_ns)
