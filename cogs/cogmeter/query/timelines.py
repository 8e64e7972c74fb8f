"""Computes timelines from the store's bins, and remembers the folded hours of all services together."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

from cogmeter.query.records import Timeline
from cogmeter.query.statistics import PERCENTILES, means, rates
from cogmeter.recording.background import paced
from cogmeter_storage.histogram import BUCKETS, quantiles
from cogmeter_storage.model import HOUR_US, MINUTE_US, Outcome, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store

BINS_PER_SLICE: Final = 32  # bins whose percentiles are computed in one turn of the loop: about half a millisecond
HOURS_PER_READ: Final = {HOUR_US: 48, MINUTE_US: 4}  # by width of bins: each bin is 12 kB while it is read
MOST_HOURS: Final = {HOUR_US: 31 * 24 + 1, MINUTE_US: 25}  # remembered, with about 1.5 kB a bin; the oldest goes first


class Hour(NamedTuple):
    """The operations of one hour in bins, one or sixty: their filled buckets, and the sums."""

    outcomes: NDArray[np.int64]  # [bins, 5]
    sum_us: NDArray[np.int64]  # [bins]
    max_us: NDArray[np.int64]  # [bins]
    sizes: NDArray[np.int64]  # [bins], how many of the buckets below belong to each
    buckets: NDArray[np.uint16]
    counts: NDArray[np.int32]


Known: TypeAlias = dict[int, tuple[object, Hour]]  # version and bins by start


class Hours:
    """The folded hours of all foreground services together, as they are and by minute.

    A chart of a week or of a day adds up millions of buckets. So each hour is read once for each of its versions (see
    ``Store.hour_versions``), and a chart reads only the hours that are new or have changed.
    """

    def __init__(self) -> None:
        self._known: dict[int, Known] = {}  # by width of the bins
        self._store: Store | None = None
        self._series: frozenset[int] = frozenset()

    async def totals(
        self, store: Store, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int
    ) -> Totals:
        """Return what ``store.totals`` returns. ``groups`` maps all series of foreground services to 0."""
        whole_hours = not since_us % HOUR_US and not step_us % HOUR_US
        width_us = HOUR_US if whole_hours else MINUTE_US
        known = self._known_of(store, groups).setdefault(width_us, {})
        start_us = -(-since_us // HOUR_US) * HOUR_US
        versions = None
        if groups and since_us % width_us == 0 and 0 < until_us - start_us <= MOST_HOURS[width_us] * HOUR_US:
            versions = await store.hour_versions(start_us, until_us)
        folded_us = max(versions) + HOUR_US if versions else 0
        if not versions or until_us - folded_us > HOURS_PER_READ[width_us] * HOUR_US:
            return await store.totals(since_us, until_us, groups=groups, step_us=step_us)
        hours = {
            first_us: known[first_us][1]
            for first_us, version in versions.items()
            if first_us in known and known[first_us][0] == version
        }
        missing = _ranges(sorted(versions.keys() - hours.keys()), HOURS_PER_READ[width_us])
        end_us = folded_us
        for first_us, stop_us in [*missing, (since_us, start_us), (folded_us, until_us)]:
            if first_us == stop_us:
                continue
            read = await store.totals(first_us, stop_us, groups=groups, step_us=width_us)
            if (read.since_us, read.until_us) != (first_us, -(-stop_us // MINUTE_US) * MINUTE_US):
                return await store.totals(since_us, until_us, groups=groups, step_us=step_us)  # slots were removed
            hours |= await asyncio.to_thread(_hours, read)
            end_us = max(end_us, read.until_us)
        _remember(known, {first_us: (version, hours[first_us]) for first_us, version in versions.items()}, width_us)
        return await asyncio.to_thread(_in_bins, hours, since_us, end_us, step_us, width_us)

    def _known_of(self, store: Store, groups: Mapping[int, int]) -> dict[int, Known]:
        """Return the known hours of this store and these series; forget those of others.

        A reader that waits during that keeps its own dictionary, so it cannot add hours of others to the new one.
        """
        if store is not self._store or groups.keys() != self._series:
            self._known, self._store, self._series = {}, store, frozenset(groups)
        return self._known


def _remember(known: Known, hours: Known, width_us: int) -> None:
    known.update(hours)
    for start_us in sorted(known)[: -MOST_HOURS[width_us]]:
        del known[start_us]


def _ranges(starts_us: Iterable[int], most: int) -> list[tuple[int, int]]:
    """Return the fewest ranges of at most that many hours that cover these hours, which are in order."""
    ranges: list[tuple[int, int]] = []
    for start_us in starts_us:
        if ranges and start_us - ranges[-1][0] < most * HOUR_US:
            ranges[-1] = (ranges[-1][0], start_us + HOUR_US)
        else:
            ranges.append((start_us, start_us + HOUR_US))
    return ranges


def _hours(totals: Totals) -> dict[int, Hour]:
    """Return each hour of totals with one group; the first and the last may have fewer bins than the others."""
    hours = {}
    starts_us = totals.edges_us // HOUR_US * HOUR_US
    borders = [*np.flatnonzero(np.diff(starts_us, prepend=-1)).tolist(), starts_us.size]
    for start, stop in pairwise(borders):
        rows = totals.buckets[start:stop, 0]
        filled = rows.reshape(-1).nonzero()[0]
        hours[int(totals.edges_us[start])] = Hour(
            totals.outcomes[start:stop, 0].copy(),
            totals.sum_us[start:stop, 0].copy(),
            totals.max_us[start:stop, 0].copy(),
            np.bincount(filled // BUCKETS, minlength=stop - start),
            (filled % BUCKETS).astype(np.uint16),
            rows.reshape(-1)[filled].astype(np.int32),
        )
    return hours


def _in_bins(hours: Mapping[int, Hour], since_us: int, until_us: int, step_us: int, width_us: int) -> Totals:
    """Add hours up to totals of one group; ``width_us`` is that of their bins."""
    edges_us = np.arange(since_us, until_us, step_us, dtype=np.int64)
    outcomes = np.zeros((edges_us.size, 1, len(Outcome)), dtype=np.int64)
    sum_us, max_us = np.zeros((2, edges_us.size, 1), dtype=np.int64)
    buckets = np.zeros((edges_us.size, 1, BUCKETS), dtype=np.int64)
    starts_us = [start_us + np.arange(hour.sum_us.size) * width_us for start_us, hour in hours.items()]
    places = (np.concatenate(starts_us) - since_us) // step_us
    columns = Hour._make(map(np.concatenate, zip(*hours.values(), strict=True)))
    np.add.at(outcomes[:, 0], places, columns.outcomes)
    np.add.at(sum_us[:, 0], places, columns.sum_us)
    np.maximum.at(max_us[:, 0], places, columns.max_us)
    keys = np.repeat(places * BUCKETS, columns.sizes) + columns.buckets
    np.add.at(buckets.reshape(-1), keys, columns.counts.astype(np.int64))
    return Totals(since_us, until_us, edges_us, outcomes, sum_us, max_us, buckets)


async def timeline(
    totals: Totals,
    span: Range,
    step_us: int,
    *,
    title: str,
    service: str | None = None,
    operation: str | None = None,
    alias: str = "",
) -> Timeline:
    """Return the timeline of these bins, which may begin later than ``span``."""
    edges = totals.edges_us.tolist()
    ends = [*edges[1:], totals.until_us] if edges else []
    # The last bin is still filling: its rate is over the part that has passed, at least a second of it.
    minutes = [
        max(min(end, span.until_us) - edge, 1_000_000) / MINUTE_US for edge, end in zip(edges, ends, strict=True)
    ]
    slices = [slice(start, start + BINS_PER_SLICE) for start in range(0, len(edges), BINS_PER_SLICE)]
    max_us = totals.max_us.max(axis=1, initial=0)
    percentiles = np.concatenate(
        [
            np.empty((0, len(PERCENTILES))),
            *[
                quantiles(totals.buckets[part].sum(axis=1), PERCENTILES, max_us=max_us[part])
                async for part in paced(slices)
            ],
        ]
    )
    return Timeline(
        title=title,
        range=span,
        step_us=step_us,
        edges_us=edges,
        per_minute=rates(totals.counts, minutes),
        failures_per_minute=rates(totals.failures, minutes),
        p50_us=_column(percentiles, 0),
        p95_us=_column(percentiles, 1),
        p99_us=_column(percentiles, 2),
        service=service,
        alias=alias,
        operation=operation,
        mean_us=means(totals),
    )


def _column(percentiles: np.ndarray, index: int) -> list[float | None]:
    return [None if value != value else value for value in percentiles[:, index].tolist()]  # noqa: PLR0124 - true of NaN alone
