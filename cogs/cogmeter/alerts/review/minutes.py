"""The minutes of a subject from the store's slots, and sums over a sliding window."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Int64Array, Totals

# A bin of one group is 12 kB of histogram, nearly all of it zeros: a week of minutes is read in pieces of 6 MB, each
# thinned out before the next one is read. Small, so that no numpy call keeps the interpreter's lock for long.
PIECE = 480  # minutes times groups
BLOCK = 128  # windows whose histograms are computed at once


@dataclass(frozen=True, slots=True)
class Minutes:
    """One subject's minutes, without gaps. Durations in microseconds; the histogram has only filled buckets."""

    since_us: int
    operations: Int64Array  # [minutes]
    failures: Int64Array
    sum_us: Int64Array
    rows: Int64Array  # [filled] the minute of each filled bucket, rising
    buckets: Int64Array
    counts: Int64Array

    @property
    def until_us(self) -> int:
        """The end of the last minute."""
        return self.since_us + self.operations.size * MINUTE_US

    @property
    def ends_us(self) -> Int64Array:
        """The end of each minute."""
        return self.since_us + (np.arange(self.operations.size, dtype=np.int64) + 1) * MINUTE_US

    def within(self, since_us: int, until_us: int) -> Minutes:
        """Return the minutes that begin in the range, of those that a store widened to whole hours or days."""
        starts_us = self.ends_us - MINUTE_US
        first, end = (int(place) for place in np.searchsorted(starts_us, (since_us, until_us)))
        kept = (self.rows >= first) & (self.rows < end)
        return Minutes(
            since_us=self.since_us + first * MINUTE_US,
            operations=self.operations[first:end],
            failures=self.failures[first:end],
            sum_us=self.sum_us[first:end],
            rows=self.rows[kept] - first,
            buckets=self.buckets[kept],
            counts=self.counts[kept],
        )


def minutes_of(totals: Totals, group: int) -> Minutes:
    """Return the minutes of one group of totals whose bins are minutes."""
    buckets = totals.buckets[:, group]
    rows, filled = np.nonzero(buckets)
    return Minutes(
        since_us=totals.since_us,
        operations=totals.counts[:, group],
        failures=totals.failures[:, group],
        sum_us=totals.sum_us[:, group],
        rows=rows,
        buckets=filled,
        counts=buckets[rows, filled],
    )


def joined(parts: Sequence[Minutes]) -> Minutes:
    """Join parts (at least one) that follow each other in time."""
    sizes = np.cumsum([0, *(part.operations.size for part in parts[:-1])])
    return Minutes(
        since_us=parts[0].since_us,
        operations=np.concatenate([part.operations for part in parts]),
        failures=np.concatenate([part.failures for part in parts]),
        sum_us=np.concatenate([part.sum_us for part in parts]),
        rows=np.concatenate([part.rows + size for part, size in zip(parts, sizes, strict=True)]),
        buckets=np.concatenate([part.buckets for part in parts]),
        counts=np.concatenate([part.counts for part in parts]),
    )


async def read_minutes(store: Store, groups: Sequence[Sequence[int]], since_us: int, until_us: int) -> list[Minutes]:
    """Return the minutes in [since_us, until_us) of each group of series ids; a series may be in several groups.

    Nothing long runs on the loop: the store adds up on its own thread, and another thread drops empty buckets.
    """
    since_us -= since_us % MINUTE_US
    parts: list[list[Minutes]] = [[] for _ in groups]
    for numbers, part in _disjoint(groups):
        step_us = max(PIECE // len(numbers), 1) * MINUTE_US
        for start_us in range(since_us, until_us, step_us):
            totals = await store.totals(start_us, min(start_us + step_us, until_us), groups=part, step_us=MINUTE_US)
            thinned = await asyncio.to_thread(lambda: [minutes_of(totals, place) for place in range(len(numbers))])  # noqa: B023 - awaited within the turn
            for number, minutes in zip(numbers, thinned, strict=True):
                parts[number].append(minutes.within(start_us, start_us + step_us))
    return await asyncio.to_thread(_joined_all, parts)


def _joined_all(parts: list[list[Minutes]]) -> list[Minutes]:
    """Join the parts of each, and free them in this thread: freeing them all would block the loop."""
    minutes = []
    while parts:
        minutes.append(joined(parts.pop()))
    return minutes[::-1]


def _disjoint(groups: Sequence[Sequence[int]]) -> list[tuple[list[int], Mapping[int, int]]]:
    """Sort the groups into rounds without repeated series: the groups' numbers, and each series' place."""
    rounds: list[tuple[list[int], dict[int, int]]] = []
    for number, group in enumerate(groups):
        fitting = next((round_ for round_ in rounds if round_[1].keys().isdisjoint(group)), None)
        if fitting is None:
            fitting = ([], {})
            rounds.append(fitting)
        numbers, places = fitting
        places.update(dict.fromkeys(group, len(numbers)))
        numbers.append(number)
    return [*rounds]


def windowed(values: Int64Array, width: int) -> Int64Array:
    """Return the sums over the ``width`` values that end at each place; fewer at the beginning."""
    sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(values)])
    first = np.maximum(np.arange(values.size) + 1 - width, 0)
    slid: Int64Array = sums[1:] - sums[first]
    return slid


def histograms(minutes: Minutes, width: int) -> Iterator[tuple[slice, Int64Array]]:
    """Yield the histograms of the ``width`` minutes that end at each, in blocks: minutes and [minutes, BUCKETS]."""
    used, column = np.unique(minutes.buckets, return_inverse=True)
    size = minutes.operations.size
    for start in range(0, size, BLOCK):
        lead, end = max(start - width, 0), min(start + BLOCK, size)
        first, last = np.searchsorted(minutes.rows, (lead, end))
        sums = np.zeros((end - lead + 1, used.size), dtype=np.int64)
        sums[minutes.rows[first:last] - lead + 1, column[first:last]] = minutes.counts[first:last]
        np.cumsum(sums, axis=0, out=sums)
        ends = np.arange(start, end) + 1
        full = np.zeros((end - start, BUCKETS), dtype=np.int64)
        full[:, used] = sums[ends - lead] - sums[np.maximum(ends - width, 0) - lead]
        yield slice(start, end), full
