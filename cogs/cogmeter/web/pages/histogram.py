"""How the durations of a service are spread: bars on a logarithmic scale, as an SVG path, with the same in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.render import formatting
from cogmeter_storage.histogram import RATIO, quantiles

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store

BARS: Final = 48  # at most
FEWEST: Final = 24  # so that one bar does not fill the box
WIDTH, HEIGHT = 960, 160
TICKS: Final = 5
PERCENTILES: Final = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))


@dataclass(frozen=True, slots=True)
class Histogram:
    """A path in a box of WIDTH x HEIGHT; ticks stand at equal distances; lines are (name, x, duration)."""

    bars: str
    ticks: list[str]
    lines: list[tuple[str, float, str]]
    rows: list[tuple[str, int]]  # up to this duration, so many


async def histogram(store: Store, ids: Collection[int], span: Range) -> Histogram | None:
    """The histogram of these series; None where there was no operation.

    Raises:
        StorageError: the store cannot be read now.
    """
    totals = await store.totals(span.since_us, span.until_us, groups=dict.fromkeys(ids, 0))
    return drawn(totals.buckets.sum(axis=(0, 1)))


def drawn(buckets: NDArray[np.int64]) -> Histogram | None:
    """The histogram of one row of buckets, over those that hold anything."""
    used = np.flatnonzero(buckets)
    if not len(used):
        return None
    first, last = _wide(max(int(used[0]), 1), max(int(used[-1]), 1))
    together = -(-(last - first + 1) // BARS)  # buckets in a bar
    count = -(-(last - first + 1) // together)
    held = np.zeros(count * together, dtype=np.int64)
    part = buckets[first : last + 1]
    held[: len(part)] = part
    held[0] += buckets[0]
    bars = held.reshape(count, together).sum(axis=1).tolist()
    ends_us = [RATIO ** (first - 1 + together * (place + 1)) for place in range(count)]
    least_us, most_us = RATIO ** (first - 2), ends_us[-1]
    return Histogram(
        _path(bars),
        [formatting.duration(least_us * (most_us / least_us) ** (tick / (TICKS - 1))) for tick in range(TICKS)],
        _lines(buckets, least_us, most_us),
        [(formatting.duration(end_us), held) for end_us, held in zip(ends_us, bars, strict=True) if held],
    )


def _wide(first: int, last: int) -> tuple[int, int]:
    """At least FEWEST buckets, those that are used in the middle; the first one is bucket 1 at the least."""
    missing = max(FEWEST - (last - first + 1), 0)
    first = max(first - missing // 2, 1)
    return first, max(last, first + FEWEST - 1)


def _path(bars: list[int]) -> str:
    step, most = WIDTH / len(bars), max(bars)
    wide = f"{step * 0.9:.1f}"
    return "".join(
        f"M{place * step:.1f} {HEIGHT}h{wide}v-{max(held / most * HEIGHT, 2):.0f}h-{wide}z"
        for place, held in enumerate(bars)
        if held
    )


def _lines(buckets: NDArray[np.int64], least_us: float, most_us: float) -> list[tuple[str, float, str]]:
    found = quantiles(buckets, [share for _, share in PERCENTILES]).tolist()
    length = math.log(most_us / least_us)
    lines = []
    for (name, _), value_us in zip(PERCENTILES, found, strict=True):
        place = math.log(max(value_us, least_us) / least_us) / length * WIDTH
        lines.append((name, round(min(max(place, 0.0), WIDTH), 1), formatting.duration(value_us)))
    return lines
