"""Computes timelines from the store's bins, and remembers the folded hours of all services together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.query.records import Timeline
from cogmeter.query.statistics import PERCENTILES, rates
from cogmeter.recording.background import paced
from cogmeter_storage.histogram import BUCKETS, quantiles
from cogmeter_storage.model import HOUR_US, MINUTE_US, Outcome, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store

BINS_PER_SLICE: Final = 32  # bins whose percentiles are computed in one turn of the loop: about half a millisecond
HOURS_PER_READ: Final = 48  # each is a histogram of 12 kB while it is read
MOST_HOURS: Final = 31 * 24 + 1  # remembered, with about 1.5 kB each; the oldest goes first


class Hour(NamedTuple):
    """The operations of one hour: its filled buckets, and the sums."""

    outcomes: NDArray[np.int64]
    sum_us: int
    max_us: int
    buckets: NDArray[np.uint16]
    counts: NDArray[np.int32]


class Hours:
    """The folded hours of all foreground services together.

    A chart of a week adds up millions of buckets. So each hour is read once for each of its versions (see
    ``Store.hour_versions``), and a chart reads only the hours that are new or have changed.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Hour]] = {}  # version and figures by start
        self._store: Store | None = None
        self._series: frozenset[int] = frozenset()

    async def totals(
        self, store: Store, since_us: int, until_us: int, *, groups: Mapping[int, int], step_us: int
    ) -> Totals:
        """Return what ``store.totals`` returns. ``groups`` maps all series of foreground services to 0."""
        whole_hours = not since_us % HOUR_US and not step_us % HOUR_US
        known = self._known_of(store, groups)
        versions = None
        if groups and whole_hours and until_us - since_us <= MOST_HOURS * HOUR_US:
            versions = await store.hour_versions(since_us, until_us)
        folded_us = max(versions) + HOUR_US if versions else 0
        if not versions or until_us - folded_us > HOURS_PER_READ * HOUR_US:
            return await store.totals(since_us, until_us, groups=groups, step_us=step_us)
        hours = {
            start_us: known[start_us][1]
            for start_us, version in versions.items()
            if start_us in known and known[start_us][0] == version
        }
        for start_us, stop_us in _ranges(sorted(versions.keys() - hours.keys())):
            read = await store.totals(start_us, stop_us, groups=groups, step_us=HOUR_US)
            if read.since_us != start_us or read.until_us != stop_us:  # the hours have been removed since
                return await store.totals(since_us, until_us, groups=groups, step_us=step_us)
            hours |= await asyncio.to_thread(_hours, read)
        _remember(known, {start_us: (version, hours[start_us]) for start_us, version in versions.items()})
        rest = await store.totals(folded_us, until_us, groups=groups, step_us=HOUR_US)
        parts = [*hours.items(), *_hours(rest).items()]
        return await asyncio.to_thread(_in_bins, parts, since_us, rest.until_us, step_us)

    def _known_of(self, store: Store, groups: Mapping[int, int]) -> dict[int, tuple[object, Hour]]:
        """Return the known hours of this store and these series; forget those of others.

        A reader that waits during that keeps its own dictionary, so it cannot add hours of others to the new one.
        """
        if store is not self._store or groups.keys() != self._series:
            self._known, self._store, self._series = {}, store, frozenset(groups)
        return self._known


def _remember(known: dict[int, tuple[object, Hour]], hours: Mapping[int, tuple[object, Hour]]) -> None:
    known.update(hours)
    for start_us in sorted(known)[:-MOST_HOURS]:
        del known[start_us]


def _ranges(starts_us: Iterable[int]) -> list[tuple[int, int]]:
    """Return the fewest ranges of at most HOURS_PER_READ that cover these hours, which are in order."""
    ranges: list[tuple[int, int]] = []
    for start_us in starts_us:
        if ranges and start_us - ranges[-1][0] < HOURS_PER_READ * HOUR_US:
            ranges[-1] = (ranges[-1][0], start_us + HOUR_US)
        else:
            ranges.append((start_us, start_us + HOUR_US))
    return ranges


def _hours(totals: Totals) -> dict[int, Hour]:
    """Return each bin of totals with bins of an hour and one group."""
    hours = {}
    for index, start_us in enumerate(totals.edges_us.tolist()):
        row = totals.buckets[index, 0]
        filled = np.flatnonzero(row)
        hours[start_us] = Hour(
            totals.outcomes[index, 0].copy(),
            int(totals.sum_us[index, 0]),
            int(totals.max_us[index, 0]),
            filled.astype(np.uint16),
            row[filled].astype(np.int32),
        )
    return hours


def _in_bins(hours: list[tuple[int, Hour]], since_us: int, until_us: int, step_us: int) -> Totals:
    """Add hours up to totals of one group."""
    edges_us = np.arange(since_us, until_us, step_us, dtype=np.int64)
    outcomes = np.zeros((edges_us.size, 1, len(Outcome)), dtype=np.int64)
    sum_us, max_us = np.zeros((2, edges_us.size, 1), dtype=np.int64)
    buckets = np.zeros((edges_us.size, 1, BUCKETS), dtype=np.int64)
    for start_us, hour in hours:
        place = (start_us - since_us) // step_us
        outcomes[place, 0] += hour.outcomes
        sum_us[place, 0] += hour.sum_us
        max_us[place, 0] = max(max_us[place, 0], hour.max_us)
        buckets[place, 0, hour.buckets] += hour.counts
    return Totals(since_us, until_us, edges_us, outcomes, sum_us, max_us, buckets)


async def timeline(
    totals: Totals, span: Range, step_us: int, *, title: str, service: str | None = None, alias: str = ""
) -> Timeline:
    """Return the timeline of these bins, which may begin later than ``span``."""
    edges = totals.edges_us.tolist()
    ends = [*edges[1:], totals.until_us] if edges else []
    # The last bin is still filling: its rate is over the part that has passed, at least a second of it.
    minutes = [
        max(min(end, span.until_us) - edge, 1_000_000) / MINUTE_US for edge, end in zip(edges, ends, strict=True)
    ]
    parts = [totals.buckets[start : start + BINS_PER_SLICE] for start in range(0, len(edges), BINS_PER_SLICE)]
    percentiles = np.concatenate(
        [
            np.empty((0, len(PERCENTILES))),
            *[quantiles(part.sum(axis=1), PERCENTILES) async for part in paced(parts)],
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
    )


def _column(percentiles: np.ndarray, index: int) -> list[float | None]:
    return [None if value != value else value for value in percentiles[:, index].tolist()]  # noqa: PLR0124 - true of NaN alone
