"""The distribution of a service's durations: bars on a logarithmic scale as an SVG path, and the numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.render import formatting
from cogmeter_storage.histogram import RATIO

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from cogmeter.query.query import Query
    from cogmeter.query.records import Figures, Range

BARS: Final = 48  # the largest number of bars
FEWEST: Final = 24  # buckets, so that one bar does not fill the box
WIDTH, HEIGHT = 960, 160
TICKS: Final = 5
PERCENTILES: Final = ("p50", "p95", "p99")


@dataclass(frozen=True, slots=True)
class Histogram:
    """A path in a box of WIDTH x HEIGHT; ticks have equal distances; lines are (name, x, duration)."""

    bars: str
    ticks: list[str]
    lines: list[tuple[str, float, str]]
    rows: list[tuple[str, int]]  # the upper bound, and the operations


async def histogram(query: Query, ids: Collection[int], span: Range, total: Figures) -> Histogram | None:
    """Return the histogram of these series with the percentiles of ``total``; None without operations.

    Raises:
        StorageError: the store cannot be read.
    """
    totals = await query.totals(span, dict.fromkeys(ids, 0))
    return drawn(totals.buckets.sum(axis=(0, 1)), total.p50_us, total.p95_us, total.p99_us)


def drawn(buckets: NDArray[np.int64], *percentiles_us: float | None) -> Histogram | None:
    """Return the histogram of one row of buckets, over the range of buckets that are not empty.

    ``percentiles_us`` are p50, p95 and p99, those that the page shows elsewhere.
    """
    used = np.flatnonzero(buckets)
    if not len(used):
        return None
    first, last = _widened(max(int(used[0]), 1), max(int(used[-1]), 1))
    per_bar = -(-(last - first + 1) // BARS)  # buckets
    count = -(-(last - first + 1) // per_bar)
    padded = np.zeros(count * per_bar, dtype=np.int64)
    shown = buckets[first : last + 1]
    padded[: len(shown)] = shown
    padded[0] += buckets[0]
    bars = padded.reshape(count, per_bar).sum(axis=1).tolist()
    ends_us = [RATIO ** (first - 1 + per_bar * (place + 1)) for place in range(count)]
    least_us, most_us = RATIO ** (first - 2), ends_us[-1]
    return Histogram(
        _path(bars),
        [formatting.duration(least_us * (most_us / least_us) ** (tick / (TICKS - 1))) for tick in range(TICKS)],
        _lines(percentiles_us, least_us, most_us),
        [(formatting.duration(end_us), bar) for end_us, bar in zip(ends_us, bars, strict=True) if bar],
    )


def _widened(first: int, last: int) -> tuple[int, int]:
    """Return a range of at least FEWEST buckets with the given ones in its middle; it starts at 1 at the earliest."""
    missing = max(FEWEST - (last - first + 1), 0)
    first = max(first - missing // 2, 1)
    return first, max(last, first + FEWEST - 1)


def _path(bars: list[int]) -> str:
    step, most = WIDTH / len(bars), max(bars)
    width = f"{step * 0.9:.1f}"
    return "".join(
        f"M{place * step:.1f} {HEIGHT}h{width}v-{max(bar / most * HEIGHT, 2):.0f}h-{width}z"
        for place, bar in enumerate(bars)
        if bar
    )


def _lines(values_us: Sequence[float | None], least_us: float, most_us: float) -> list[tuple[str, float, str]]:
    length = math.log(most_us / least_us)
    lines = []
    for name, value_us in zip(PERCENTILES, values_us, strict=False):  # none is known without operations
        if value_us is None:
            continue
        place = math.log(max(value_us, least_us) / least_us) / length * WIDTH
        lines.append((name, round(min(max(place, 0.0), WIDTH), 1), formatting.duration(value_us)))
    return lines
