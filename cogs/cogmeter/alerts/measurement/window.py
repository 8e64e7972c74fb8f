"""Running totals of the last minutes by series and by service, updated by each batch: a check reads no SQL."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.rows import checked_us
from cogmeter.recording.service_names import STALLS
from cogmeter_storage.histogram import BUCKETS, bucket_of
from cogmeter_storage.model import FAILURES, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

SLICES: Final = 60  # the window moves on in steps of a sixtieth of its length
PIECE: Final = 1_000 * FIELDS  # atoms counted in one turn of the loop
FOLD_AT: Final = 8_192  # operations of a slice before equal keys are combined

OPERATIONS, FAILED, SUM_US = range(3)  # the rows of counts

_TIMES: Final = 0xFFFF_FFFF  # the half of a run's entry that counts
_FAILED: Final = np.isin(np.arange(len(Outcome)), FAILURES)


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of the window, one value for each service or series. Durations are in microseconds."""

    operations: NDArray[np.int64]
    failures: NDArray[np.int64]
    sum_us: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WindowTotals:
    """The counts of some series, with their histograms."""

    numbers: NDArray[np.int64]  # of the series, ascending
    counts: NDArray[np.int64]  # [3, series]
    keys: NDArray[np.int64]  # number * BUCKETS + bucket, ascending
    times: NDArray[np.int64]  # operations of each key
    longest: tuple[float, int] = (0.0, 0)  # stall: microseconds, series


class _Slice:
    """The totals of one step of the window.

    A key is series * BUCKETS + bucket, one for each operation. After FOLD_AT operations, equal keys are combined into a
    sorted run of key << 32 | count. Runs of similar size are merged, so that few remain and each key moves seldom.
    """

    __slots__ = ("_gathered", "_keys", "_runs", "counts", "longest", "start_s")

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.counts = np.zeros((3, 0), dtype=np.int64)  # by series
        self.longest: tuple[float, int] = (0.0, 0)  # stall: microseconds, series
        self._keys: list[NDArray[np.int32]] = []
        self._gathered = 0
        self._runs: list[NDArray[np.int64]] = []

    def add(self, counts: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
        """Add operations by their counts and keys."""
        self.counts = grown(self.counts, counts.shape[1])
        self.counts += counts
        self._keys.append(keys.astype(np.int32))
        self._gathered += len(keys)
        if self._gathered >= FOLD_AT:
            folded, times = np.unique(np.concatenate(self._keys), return_counts=True)
            self._keys, self._gathered = [], 0
            self.put(folded.astype(np.int64), times)

    def put(self, keys: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Add ascending keys and how often each occurs."""
        self._runs.append(keys << 32 | times)
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._runs.append(_merged(self._runs.pop(), self._runs.pop()))

    def pairs(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
        """Yield all keys and their counts; a key may occur several times."""
        for run in self._runs:
            yield run >> 32, (run & _TIMES).astype(np.int32)
        if self._keys:
            keys = np.concatenate(self._keys).astype(np.int64)
            yield keys, np.ones(len(keys), dtype=np.int32)


def _merged(first_run: NDArray[np.int64], second_run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Merge two runs."""
    both = np.sort(np.concatenate([first_run, second_run]), kind="stable")
    keys = both >> 32
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    merged: NDArray[np.int64] = keys[first] << 32 | np.add.reduceat(both & _TIMES, first)
    return merged


class Window:
    """Sums and histograms over a moving window.

    The sums by series and by service and the histograms by service are dense arrays. Each slice keeps what it added, so
    that it can be subtracted later. Times are seconds of any monotonic clock.
    """

    def __init__(self, names: Sequence[tuple[str, str]], *, length_s: float) -> None:
        """``names`` is the recorder's growing list of (service, operation), by series number."""
        self.services: list[str] = []
        self.length_s = length_s
        self.service_of = np.zeros(0, dtype=np.int64)  # by series number
        self._names = names
        self.places: dict[str, int] = {}  # of the services
        self._slices: deque[_Slice] = deque()
        self._by_series = np.zeros((3, 0), dtype=np.int64)
        self._by_service = np.zeros((3, 0), dtype=np.int64)
        self.top = 0  # the highest bucket that was ever used
        self._dense = np.zeros((0, BUCKETS), dtype=np.int32)  # may have more rows than there are services
        self._since_s: float | None = None
        self._left_s: NDArray[np.float64] = np.zeros(0)  # by service: its newest step that has left the window, or NaN

    @property
    def series(self) -> Sequence[tuple[str, str]]:
        """(service, operation) of every counted series."""
        return self._names[: len(self.service_of)]

    @property
    def by_service(self) -> Counts:
        """The sums since the last ``move``, by index in ``services``."""
        return Counts(*self._by_service)

    @property
    def by_series(self) -> Counts:
        """The sums since the last ``move``, by series number."""
        return Counts(*self._by_series)

    @property
    def buckets(self) -> NDArray[np.int32]:
        """Histograms of the durations, [services, BUCKETS]; a view, which changes with the window."""
        return self._dense[: len(self.services)]

    def buckets_of(self, series: int) -> NDArray[np.int32]:
        """Build and return the histogram of one series."""
        histogram: NDArray[np.int32] = self.histograms_of(np.array([series]))[0]
        return histogram

    def histograms_of(self, series: NDArray[np.int64]) -> NDArray[np.int32]:
        """Build and return the histograms of some series, [series, BUCKETS], in one pass over the window."""
        histograms = np.zeros((len(series), BUCKETS), dtype=np.int32)
        # By series number; the last place is that of all numbers beyond.
        rows = np.full(max(len(self.service_of), int(series.max(initial=0)) + 1) + 1, -1, dtype=np.int64)
        rows[series] = np.arange(len(series))
        for part in self._slices:
            for keys, times in part.pairs():
                row = rows.take(keys // BUCKETS, mode="clip")
                own = np.flatnonzero(row >= 0)
                np.add.at(histograms, (row[own], keys[own] % BUCKETS), times[own])
        return histograms

    def began_s(self) -> NDArray[np.float64]:
        """Return for each service the start of the newest step with operations, now or earlier; NaN without one."""
        began = self._left_s.copy()
        for part in self._slices:
            began[self.service_of[np.flatnonzero(part.counts[OPERATIONS])]] = part.start_s
        return began

    def longest_stall(self) -> tuple[float, str] | None:
        """Return the longest block of the event loop in milliseconds, and its place in the code."""
        longest_us, series = max((part.longest for part in self._slices), default=(0.0, 0))
        return (longest_us / 1000, self._names[series][1]) if longest_us else None

    def span_s(self, now_s: float) -> float:
        """Return the length of the part of the window that has data, in seconds."""
        return 0.0 if self._since_s is None else min(now_s - self._since_s, self.length_s)

    async def add(self, atoms: list[Any], now_s: float) -> NDArray[np.int64]:
        """Count the operations of a batch of the buffer's atoms; return the batch's own counts, [3, services]."""
        self.learn()
        self.move(now_s)
        current = self._current(now_s)
        batch = np.zeros((3, len(self.services)), dtype=np.int64)
        for start in range(0, len(atoms), PIECE):
            if start:
                await asyncio.sleep(0)
            counted = self._count(atoms[start : start + PIECE], current)
            self._by_service += counted
            batch = grown(batch, counted.shape[1])  # a check may have added services in between
            batch += counted
        return batch

    def clear(self) -> None:
        """Delete all counts; the services keep their indexes."""
        self._slices.clear()
        for sums in (self._by_series, self._by_service, self._dense):
            sums[:] = 0
        self.top, self._since_s = 0, None

    def move(self, now_s: float) -> None:
        """Subtract what is older than the window that ends now."""
        while self._slices and now_s - self._slices[0].start_s >= self.length_s:
            self._take_out(self._slices.popleft())

    def learn(self, services: Iterable[str] = ()) -> None:
        """Add the services of new series, and these."""
        known = len(self.service_of)
        if known == len(self._names) and not services:
            return
        new = [self._place(service) for service, _ in self._names[known:]]
        self.service_of = np.append(self.service_of, np.array(new, dtype=np.int64))
        for service in services:
            self._place(service)
        self._by_series = grown(self._by_series, len(self.service_of))
        self._by_service = grown(self._by_service, len(self.services))
        self._left_s = np.pad(self._left_s, (0, len(self.services) - len(self._left_s)), constant_values=np.nan)
        missing = len(self.services) - len(self._dense)
        if missing > 0:  # double the rows, because services often come one by one
            self._dense = np.pad(self._dense, ((0, max(missing, len(self._dense), 16)), (0, 0)))

    def _place(self, service: str) -> int:
        """Return the index of a service; add a new one."""
        number = self.places.setdefault(service, len(self.services))
        if number == len(self.services):
            self.services.append(service)
        return number

    def put_back(
        self,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        histograms: NDArray[np.int64],
        *,
        start_s: float,
        longest: tuple[float, int] = (0.0, 0),
    ) -> None:
        """Add counts from before this process started, oldest first.

        ``numbers`` are known series, ascending; ``counts`` is [3, series], ``histograms`` [series, BUCKETS].
        """
        row, bucket = np.nonzero(histograms)
        totals = WindowTotals(numbers, counts, numbers[row] * BUCKETS + bucket, histograms[row, bucket], longest)
        self.put_back_totals(totals, start_s=start_s)

    def put_back_totals(self, totals: WindowTotals, *, start_s: float) -> None:
        """Add counts from before this process started, oldest first."""
        self.learn()
        part = _Slice(start_s)
        self._slices.append(part)
        self._since_s = start_s if self._since_s is None else min(self._since_s, start_s)
        self._put(totals, part)

    def add_totals(self, totals: WindowTotals, now_s: float) -> NDArray[np.int64]:
        """Count operations of other processes, as if they ended now; return their counts, [3, services]."""
        self.learn()
        self.move(now_s)
        return self._put(totals, self._current(now_s))

    def _put(self, totals: WindowTotals, part: _Slice) -> NDArray[np.int64]:
        """Add counts to a slice; return them by service."""
        counts = np.zeros((3, len(self.service_of)), dtype=np.int64)
        counts[:, totals.numbers] = totals.counts
        part.counts = grown(part.counts, counts.shape[1])
        part.counts += counts
        part.put(totals.keys, totals.times)
        part.longest = max(part.longest, totals.longest)
        self.top = max(self.top, int((totals.keys % BUCKETS).max(initial=0)))
        self._by_series += counts
        by_service = self._services_of(counts)
        self._by_service += by_service
        np.add.at(self._dense.reshape(-1), self._flat(totals.keys), totals.times.astype(np.int32))
        return by_service

    def _current(self, now_s: float) -> _Slice:
        if self._since_s is None:
            self._since_s = now_s
        if not self._slices or now_s - self._slices[-1].start_s >= self.length_s / SLICES:
            self._slices.append(_Slice(now_s))
        return self._slices[-1]

    def _take_out(self, part: _Slice) -> None:
        self._by_series[:, : part.counts.shape[1]] -= part.counts
        self._by_service -= self._services_of(part.counts)
        self._left_s[self.service_of[np.flatnonzero(part.counts[OPERATIONS])]] = part.start_s
        for keys, times in part.pairs():
            np.subtract.at(self._dense.reshape(-1), self._flat(keys), times)

    def _count(self, atoms: list[Any], into: _Slice) -> NDArray[np.int64]:
        """Count one piece; return its counts by service."""
        series = np.array(atoms[0::FIELDS], dtype=np.int64)
        outcomes, durations = _measures(atoms[3::FIELDS], atoms[2::FIELDS])
        size = len(self.service_of)
        counts = np.empty((3, size), dtype=np.int64)
        counts[OPERATIONS] = np.bincount(series, minlength=size)
        counts[FAILED] = np.bincount(series[_FAILED[outcomes]], minlength=size)
        counts[SUM_US] = np.bincount(series, weights=durations, minlength=size)
        buckets = bucket_of(durations)
        self.top = max(self.top, int(buckets.max(initial=0)))
        into.add(counts, series * BUCKETS + buckets)
        self._by_series += counts
        services = self.service_of[series]
        np.add.at(self._dense.reshape(-1), services * BUCKETS + buckets, np.int32(1))
        self._note_stall(series, services, durations, into)
        return self._services_of(counts)

    def _note_stall(
        self, series: NDArray[np.int64], services: NDArray[np.int64], durations: NDArray[np.int64], into: _Slice
    ) -> None:
        stalled = services == self.places.get(STALLS, -1)
        if stalled.any():
            place = int(np.where(stalled, durations, -1).argmax())
            into.longest = max(into.longest, (float(durations[place]), int(series[place])))

    def _services_of(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return counts by series, summed by service."""
        size, of = len(self.services), self.service_of[: counts.shape[1]]
        return np.array([np.bincount(of, weights=row, minlength=size) for row in counts], dtype=np.int64)

    def _flat(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indexes of keys by series in the flattened histograms by service."""
        series, bucket = np.divmod(keys, BUCKETS)
        flat: NDArray[np.int64] = self.service_of[series] * BUCKETS + bucket
        return flat


def grown(array: NDArray[np.int64], columns: int) -> NDArray[np.int64]:
    """Return the array, padded with columns of zeros up to a number of columns."""
    missing = columns - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing > 0 else array


def _measures(outcomes: list[Any], durations: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return outcomes and durations in microseconds of buffered operations; check what ``record()`` did not."""
    if None in outcomes:
        pairs = zip(outcomes, durations, strict=True)
        durations = [value // 1000 if outcome is not None else checked_us(value) or 0 for outcome, value in pairs]
        outcomes = [outcome or 0 for outcome in outcomes]
        return np.array(outcomes, dtype=np.int64), np.array(durations, dtype=np.int64)
    return np.array(outcomes, dtype=np.int64), np.array(durations, dtype=np.int64) // 1000
