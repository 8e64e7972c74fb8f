"""Reads the operations of a period that is compared, by bin of time, without the first minutes after each start.

The period is read in segments that begin and end with an hour of the clock. An hour with the first minutes after a
start is read in steps of a minute, so that exactly these minutes are left out. Where only whole hours are stored, the
whole hour is.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.query.change_tests import PeriodSample
from cogmeter.recording.markers import EXTENSION, START, VERSION
from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range
    from cogmeter_storage.model import Int64Array, Totals

WARM_UP_US: Final = 10 * MINUTE_US  # left out after a start: caches and connections are cold
COLD: Final = (START, VERSION, EXTENSION)  # kinds of markers after which they are
FINE_US: Final = 15 * MINUTE_US  # the bins of a short period; a longer one has bins of an hour
SHORT_US: Final = 2 * DAY_US
READ_BYTES: Final = 50_000_000  # of one read


class ReadSample(NamedTuple):
    """The operations of a period without those in the first minutes after starts, and the number of these."""

    sample: PeriodSample
    warm_up: int


class _Segment(NamedTuple):
    """A part of the period that is read at once."""

    since_us: int
    until_us: int
    step_us: int  # a minute if it has the first minutes after a start


class _Bins(NamedTuple):
    """The bins of a segment that are compared, and the operations of each group that are not."""

    starts_us: Int64Array  # [bins]
    lengths_us: Int64Array  # [bins]
    failures: Int64Array  # [bins, groups]
    buckets: Int64Array  # [bins, groups, BUCKETS]
    warm_up: Int64Array  # [groups]


async def read_samples(query: Query, groups: Mapping[int, int], span: Range) -> list[ReadSample]:
    """Return the operations of each group of series in a range, by bin.

    Raises:
        StorageError: the store cannot be read.
    """
    markers = await query.store.markers(span.since_us - WARM_UP_US, span.until_us, limit=1_000)
    cold = {marker.at_us // MINUTE_US * MINUTE_US for marker in markers if marker.kind in COLD}
    starts_us = np.array(sorted(cold), dtype=np.int64)
    first_us = await query.store.first_us() or 0
    bin_us = FINE_US if span.until_us - span.since_us <= SHORT_US else HOUR_US
    segments = [*_segments(span, starts_us, bin_us, first_us=first_us, now_us=query.now_us())]
    longest = max((-(-(one.until_us - one.since_us) // one.step_us) for one in segments), default=1)
    at_once = max(READ_BYTES // (longest * BUCKETS * 8), 1)
    found: list[ReadSample] = []
    for first in range(0, max(groups.values(), default=-1) + 1, at_once):
        some = {series: group - first for series, group in groups.items() if first <= group < first + at_once}
        parts: list[_Bins] = []
        covered_us = 0  # where only days are stored, a segment covers a part of the next one
        for one in segments:
            totals = await query.store.totals(one.since_us, one.until_us, groups=some, step_us=one.step_us)
            not_before_us = max(first_us, covered_us)
            parts.append(await asyncio.to_thread(_bins, totals, one, starts_us, bin_us, not_before_us))
            covered_us = max(covered_us, totals.until_us)
        found += await asyncio.to_thread(_samples, parts, max(some.values()) + 1)
    return found or [ReadSample(_empty(), 0)]


def _segments(span: Range, starts_us: Int64Array, bin_us: int, *, first_us: int, now_us: int) -> Iterator[_Segment]:
    """Yield the segments of a range, in order: hours with first minutes after a start one by one, others together."""
    since_us = max(span.since_us, first_us) // MINUTE_US * MINUTE_US
    until_us = span.until_us
    if until_us <= now_us - MINUTE_US:
        until_us = until_us // MINUTE_US * MINUTE_US  # this minute belongs to a period that begins in it
    ends_us = starts_us + WARM_UP_US - 1
    cold = {at_us // HOUR_US * HOUR_US for at_us in (*starts_us.tolist(), *ends_us.tolist())}
    # A part of an hour at the start is a segment of its own, so that all bins are within one hour of the clock.
    borders = {since_us, until_us, -(-since_us // HOUR_US) * HOUR_US, *cold, *(hour + HOUR_US for hour in cold)}
    inside = sorted(border for border in borders if since_us <= border <= until_us)
    for begin_us, end_us in pairwise(inside):
        yield _Segment(begin_us, end_us, MINUTE_US if begin_us // HOUR_US * HOUR_US in cold else bin_us)


def _bins(totals: Totals, segment: _Segment, starts_us: Int64Array, bin_us: int, not_before_us: int) -> _Bins:
    """Return the bins of a segment, without the first minutes after starts, and without what ended before a time."""
    edges = totals.edges_us
    ends = np.minimum(edges + segment.step_us, max(segment.until_us, 1))
    used = ends > not_before_us
    kept = used.copy()
    if segment.step_us == MINUTE_US:
        number = np.searchsorted(starts_us, edges, side="right") - 1
        kept &= (number < 0) | (edges >= starts_us[number] + WARM_UP_US)
        if totals.counts.any() and not totals.counts[1:].any():
            kept[:] = False  # only the whole hour is stored, in its first minute
    lengths = np.maximum(ends - np.maximum(edges, not_before_us), 1)
    starts = np.unique(edges[kept] // bin_us * bin_us) if segment.step_us == MINUTE_US else edges[kept]
    of = np.searchsorted(starts, edges[kept], side="right") - 1
    return _Bins(
        starts,
        _summed(lengths[kept], of, starts.size),
        _summed(totals.failures[kept], of, starts.size),
        _summed(totals.buckets[kept], of, starts.size),
        totals.counts[used & ~kept].sum(axis=0),
    )


def _summed(values: Int64Array, of: NDArray[np.intp], size: int) -> Int64Array:
    """Return the sums of rows by bin."""
    if size == len(values):
        return values
    sums = np.zeros((size, *values.shape[1:]), dtype=np.int64)
    np.add.at(sums, of, values)
    return sums


def _samples(parts: Sequence[_Bins], groups: int) -> list[ReadSample]:
    """Return the sample of each group from all segments."""
    if not parts:
        return [ReadSample(_empty(), 0)] * groups
    starts, lengths, failures, buckets = (
        np.concatenate([part[place] for part in parts]) for place in range(len(_Bins._fields) - 1)
    )
    warm_up = np.sum([part.warm_up for part in parts], axis=0)
    hours = starts % DAY_US // HOUR_US
    return [
        ReadSample(PeriodSample(hours, lengths, failures[:, group], buckets[:, group]), int(warm_up[group]))
        for group in range(groups)
    ]


def _empty() -> PeriodSample:
    nothing = np.zeros(0, dtype=np.int64)
    return PeriodSample(nothing, nothing, nothing, np.zeros((0, BUCKETS), dtype=np.int64))
