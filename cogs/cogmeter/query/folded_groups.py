"""Remembers the sums of folded hours by group, so that a repeated overview reads only the hours that are not folded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import HOUR_US, Totals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter_storage.base import Store

MOST_RANGES: Final = 8  # remembered; the one that was not used for the longest time goes first
MOST_VALUES: Final = 400_000  # filled buckets remembered, with 12 bytes each: four times 500 commands of a week


class FoldedSums(NamedTuple):
    """The operations of one range of folded hours by group: its filled buckets, and the sums."""

    groups: Mapping[int, int]
    versions: Mapping[int, object]  # of the hours
    outcomes: NDArray[np.int64]
    sum_us: NDArray[np.int64]
    max_us: NDArray[np.int64]
    places: NDArray[np.int32]  # of the filled buckets of all groups
    counts: NDArray[np.int64]


class FoldedGroups:
    """The sums of the folded hours of the ranges that are read most.

    An overview of a week adds up a million buckets. So its folded hours are read once for each of their versions (see
    ``Store.hour_versions``): again when the next hour is folded, or when the groups have changed.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], FoldedSums] = {}  # by range and number of groups, in order of use
        self._store: Store | None = None

    async def totals(self, store: Store, since_us: int, until_us: int, *, groups: Mapping[int, int]) -> Totals:
        """Return what ``store.totals`` returns, in one bin."""
        start_us = -(-since_us // HOUR_US) * HOUR_US
        versions = await store.hour_versions(start_us, until_us) if groups and start_us < until_us else None
        if versions:
            folded_us = max(versions) + HOUR_US
            folded = await self._sums(store, start_us, folded_us, groups, versions)
            ends = [span for span in ((since_us, start_us), (folded_us, until_us)) if span[0] < span[1]]
            parts = [await store.totals(*span, groups=groups) for span in ends] if folded else []
            # Otherwise slots were removed between the reads, so that one covers more than its range.
            if folded and all(part.until_us <= start_us or part.since_us >= folded_us for part in parts):
                return await asyncio.to_thread(_added, folded, parts, start_us, folded_us)
        return await store.totals(since_us, until_us, groups=groups)

    async def _sums(
        self, store: Store, since_us: int, until_us: int, groups: Mapping[int, int], versions: Mapping[int, object]
    ) -> FoldedSums | None:
        """Return the sums of whole hours, read or remembered; None if a read covers more than these."""
        if store is not self._store:
            self._known, self._store = {}, store
        known, key = self._known, (since_us, until_us, len(groups))
        sums = known.pop(key, None)
        if sums is None or sums.groups != groups or sums.versions != versions:
            read = await store.totals(since_us, until_us, groups=groups)
            if (read.since_us, read.until_us) != (since_us, until_us):
                return None
            sums = await asyncio.to_thread(_sums, read, groups, versions)
        known[key] = sums
        while len(known) > MOST_RANGES or sum(each.places.size for each in known.values()) > MOST_VALUES:
            del known[next(iter(known))]
        return sums


def _sums(read: Totals, groups: Mapping[int, int], versions: Mapping[int, object]) -> FoldedSums:
    buckets = read.buckets.reshape(-1)
    places = np.flatnonzero(buckets)
    sums = (read.outcomes.copy(), read.sum_us.copy(), read.max_us.copy())
    return FoldedSums(dict(groups), versions, *sums, places.astype(np.int32), buckets[places])


def _added(sums: FoldedSums, parts: Sequence[Totals], since_us: int, until_us: int) -> Totals:
    """Return the totals of the folded hours, which are this range, and of the parts on both sides of it."""
    since_us = min([since_us, *(part.since_us for part in parts)])
    until_us = max([until_us, *(part.until_us for part in parts)])
    outcomes, sum_us, max_us = sums.outcomes.copy(), sums.sum_us.copy(), sums.max_us.copy()
    # The buckets of a part are used nowhere else, and are megabytes: they are not copied.
    buckets = parts[-1].buckets if parts else np.zeros((*sum_us.shape, BUCKETS), np.int64)
    buckets.reshape(-1)[sums.places] += sums.counts
    for part in parts:
        outcomes += part.outcomes
        sum_us += part.sum_us
        np.maximum(max_us, part.max_us, out=max_us)
    for part in parts[:-1]:
        buckets += part.buckets
    return Totals(since_us, until_us, np.array([since_us], np.int64), outcomes, sum_us, max_us, buckets)
