"""Long windows: operations and failures by service over five minutes to three days, in rings with running sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter_storage.model import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SeriesRecord

FIVE_MINUTES_S: Final = 300
HALF_HOUR_S: Final = 1_800
HOUR_S: Final = 3_600
SIX_HOURS_S: Final = 21_600
THREE_DAYS_S: Final = 259_200
DAYS: Final = 7  # days whose same hour is compared
HOURS: Final = 24 * DAYS + 2  # kept

# (length of the window in s, width of a bin in us, bins that are kept)
RINGS: Final = (
    (FIVE_MINUTES_S, 10_000_000, 30),
    (HALF_HOUR_S, MINUTE_US, 30),
    (HOUR_S, MINUTE_US, 60),
    (SIX_HOURS_S, 5 * MINUTE_US, 72),
    (THREE_DAYS_S, HOUR_US, HOURS),
)
PIECE: Final = 1_500  # bins times services that are read at once: a histogram of each is 12 kB


class Ring:
    """Counts in bins of one width. The sums are over the newest bins, including the open one."""

    def __init__(self, length_s: int, width_us: int, capacity: int) -> None:
        self.counts = np.zeros((capacity, 2, 0), dtype=np.int32)  # operations and failures
        self.sums = np.zeros((2, 0), dtype=np.int64)
        self.width_us = width_us
        self.newest: int | None = None  # the number of the newest bin: its time divided by the width
        self._capacity = capacity
        self._summed = length_s * 1_000_000 // width_us

    def grow(self, services: int) -> None:
        """Extend the arrays to this number of services."""
        missing = services - self.sums.shape[1]
        if missing > 0:
            self.counts = np.pad(self.counts, ((0, 0), (0, 0), (0, missing)))
            self.sums = np.pad(self.sums, ((0, 0), (0, missing)))

    def move(self, now_us: int) -> None:
        """Move to this time; do nothing if the clock jumped back."""
        number = now_us // self.width_us
        if self.newest is None:
            self.newest = number
        for step in range(self.newest + 1, min(number, self.newest + self._capacity) + 1):
            self.sums -= self.counts[(step - self._summed) % self._capacity]
            self.counts[step % self._capacity] = 0
        self.newest = max(self.newest, number)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock, by whole bins."""
        if self.newest is not None:
            bins = round(step_us / self.width_us)
            self.newest += bins
            self.counts = np.roll(self.counts, bins % self._capacity, axis=0)

    def add(self, counts: NDArray[np.int64]) -> None:
        """Count into the newest bin: [2, services]; services may have been added since the counts were taken."""
        assert self.newest is not None
        self.put(self.newest, counts)

    def put(self, number: int, counts: NDArray[np.int64]) -> None:
        """Count into an older bin, if it is still stored."""
        assert self.newest is not None
        services = counts.shape[1]  # not more than the arrays have
        if 0 <= self.newest - number < self._capacity:
            self.counts[number % self._capacity, :, :services] += counts.astype(np.int32)
            if self.newest - number < self._summed:
                self.sums[:, :services] += counts

    def bin(self, number: int) -> NDArray[np.int32]:
        """Return the counts of one stored bin: [2, services]."""
        counts: NDArray[np.int32] = self.counts[number % self._capacity]
        return counts


@dataclass(frozen=True, slots=True)
class LongWindows:
    """The long windows at one moment, all for the same services."""

    since_us: int | None
    sums: Mapping[int, NDArray[np.int64]]  # [2, services] by the window's length in seconds

    def totals(self, length_s: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return operations and failures by service over one of the windows."""
        operations, failures = self.sums[length_s]
        return operations, failures

    def known_s(self, now_us: int) -> float:
        """Return for how many seconds the counts are known."""
        return 0.0 if self.since_us is None else (now_us - self.since_us) / 1e6


class WindowHistory:
    """All rings. Times are wall-clock times, as in the store."""

    def __init__(self) -> None:
        self.since_us: int | None = None  # the start of the known counts
        self._rings = {length_s: Ring(length_s, width_us, capacity) for length_s, width_us, capacity in RINGS}

    def add(self, counts: NDArray[np.int64], now_us: int) -> None:
        """Count operations and failures by service: [2, services]."""
        self.move(now_us, counts.shape[1])
        for ring in self._rings.values():
            ring.add(counts)

    def move(self, now_us: int, services: int) -> None:
        """Move to this time, for this number of services."""
        if self.since_us is None:
            self.since_us = now_us
        for ring in self._rings.values():
            ring.grow(services)
            ring.move(now_us)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock."""
        if self.since_us is not None:
            self.since_us += step_us
        for ring in self._rings.values():
            ring.shift(step_us)

    def long_windows(self) -> LongWindows:
        """Return the current sums."""
        return LongWindows(self.since_us, {length_s: ring.sums for length_s, ring in self._rings.items()})

    def before_per_minute(self, window_s: int) -> NDArray[np.float64]:
        """Return the usual rate by service before a window that ends now: the lesser of an hour's and of six hours'.

        The medians of the six ten-minute ranges before the window, and of the six whole hours before this one. Ranges
        without operations count: a service that is new, was idle or was down has no usual traffic.
        """
        fives, hours = self._rings[SIX_HOURS_S], self._rings[THREE_DAYS_S]
        last = (fives.newest or 0) - window_s // 300 - 1
        bins = np.stack([fives.bin(last - ago)[0] for ago in range(12)])
        blocks = bins.reshape(6, 2, -1).sum(axis=1)
        now = hours.newest or 0
        last_hours = np.stack([hours.bin(now - ago)[0] for ago in range(1, 7)])
        return np.minimum(_lower_median(blocks) / 10.0, _lower_median(last_hours) / 60.0)

    def burstiness(self) -> NDArray[np.float64]:
        """Return by service how much more the counts of five minutes vary within an hour than by chance; 0: not more.

        1 / k of a negative binomial distribution, by moments: its variance is m + m^2 / k around a mean of m.
        """
        ring = self._rings[SIX_HOURS_S]
        counts = ring.counts[:, 0].reshape(6, 12, -1).astype(np.float64)
        means, variances = counts.mean(axis=1), counts.var(axis=1, ddof=1)
        excess, squares = (variances - means).sum(axis=0), np.square(means).sum(axis=0)
        burst: NDArray[np.float64] = np.maximum(excess, 0.0) / np.maximum(squares, 1e-9)
        return burst

    def days_per_minute(self) -> NDArray[np.float64] | None:
        """Return the rate of the days before at this time, by service; None if no day is known.

        It is the lesser of their median and of the same day a week ago, because Saturdays differ from other days. Of
        each day it takes the lesser of the same hour and the next, because an evening may begin a little earlier.
        """
        hours = self._rings[THREE_DAYS_S]
        now = hours.newest or 0
        known = [day for day in range(1, DAYS + 1) if self._has_data((now - 24 * day) * HOUR_US)]
        if not known:
            return None
        days = [np.minimum(hours.bin(now - 24 * day)[0], hours.bin(now - 24 * day + 1)[0]) for day in known]
        middle: NDArray[np.float64] = np.median(np.stack(days), axis=0) / 60.0
        if known[-1] == DAYS and days[-1].any():  # without any operation the bot was down then
            middle = np.minimum(middle, days[-1] / 60.0)
        return middle

    async def restore(
        self, store: Store, place: Mapping[str, int], series: Sequence[SeriesRecord], now_us: int
    ) -> None:
        """Restore the stored counts; ``place`` is the place of each service."""
        groups = {record.id: place[record.service] for record in series}
        self.move(now_us, max(place.values(), default=-1) + 1)
        if not groups:
            return
        for length_s, ring in self._rings.items():
            if length_s == HOUR_S:
                continue  # its bins are the half hour's, and are read with them
            rings = [ring, self._rings[HOUR_S]] if length_s == HALF_HOUR_S else [ring]
            widest = rings[-1]
            step_us = max(ring.width_us, MINUTE_US)
            since_us = (now_us - (len(widest.counts) - 1) * widest.width_us) // step_us * step_us
            await _read(store, groups, rings, (since_us, now_us + 1), step_us)
        # The first hour may have begun long before its first operation.
        first_end_us = (await store.status()).first_end_us
        self.since_us = min(now_us, max(self._first_us(), min(first_end_us or 0, self._first_us() + HOUR_US)))

    def _first_us(self) -> int:
        """Return the start of the hour of the first stored operation."""
        ring = self._rings[THREE_DAYS_S]
        assert ring.newest is not None
        numbers = range(ring.newest - HOURS + 1, ring.newest + 1)
        return next((number for number in numbers if ring.bin(number).any()), ring.newest + 1) * ring.width_us

    def _has_data(self, at_us: int) -> bool:
        return self.since_us is not None and self.since_us <= at_us


async def _read(
    store: Store, groups: Mapping[int, int], rings: Sequence[Ring], span: tuple[int, int], step_us: int
) -> None:
    """Add the stored counts of a time range to rings, some bins at a time, because each comes with its histogram."""
    since_us, until_us = span
    size = max(groups.values()) + 1
    piece_us = max(1, PIECE // size) * step_us
    for start_us in range(since_us, until_us, piece_us):
        totals = await store.totals(start_us, min(start_us + piece_us, until_us), groups=groups, step_us=step_us)
        counts = np.stack([totals.counts, totals.failures], axis=1)
        for edge_us, bin_counts in zip(totals.edges_us.tolist(), counts, strict=True):
            # A store that has only whole hours widens the piece: the other bins belong to other pieces.
            if start_us <= edge_us < start_us + piece_us:
                for ring in rings:
                    ring.put(edge_us // ring.width_us, bin_counts)


def _lower_median(values: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the median along the first axis; the lower one of two."""
    middle: NDArray[np.float64] = np.sort(values, axis=0)[(len(values) - 1) // 2].astype(np.float64)
    return middle
