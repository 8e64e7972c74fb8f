"""Running totals of the last minutes for each service, kept up to date batch by batch, so that a check reads no SQL."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cogmeter.buffer import FIELDS
from cogmeter.rows import checked_us
from cogmeter_storage.histogram import BUCKETS, bucket_of, quantiles
from cogmeter_storage.model import FAILURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SLICES = 60  # the window moves on in steps of a sixtieth of its length
PIECE = 1_000 * FIELDS  # atoms counted in one turn of the loop


@dataclass(frozen=True, slots=True)
class Totals:
    """What happened in the window, one value for each service. Durations in microseconds."""

    services: Sequence[str]
    span_s: float  # how much of the window there is data for
    operations: NDArray[np.int64]
    failures: NDArray[np.int64]
    response_us: NDArray[np.float64]  # the statistic that was asked for; NaN without operations


class _Slice:
    """The part of the totals that came in during one step of the window."""

    __slots__ = ("counts", "keys", "start_s")

    def __init__(self, start_s: float, services: int) -> None:
        self.start_s = start_s
        self.counts = np.zeros((3, services))  # operations, failures, sum of durations
        self.keys: list[NDArray[np.int64]] = []  # service * BUCKETS + bucket, one for each operation


class Window:
    """Sums over a moving window. ``quantile`` None keeps averages only, which costs no memory per operation."""

    def __init__(self, names: list[tuple[str, str]], *, length_s: float, quantile: float | None = None) -> None:
        """``names`` is the recorder's growing list of (service, operation), by series number."""
        self._names = names
        self._length_s = length_s
        self._quantile = quantile
        self._services: list[str] = []
        self._service_of = np.zeros(0, dtype=np.int64)  # by series number
        self._slices: deque[_Slice] = deque()
        self._sums = np.zeros((3, 0))
        self._since_s: float | None = None

    async def add(self, atoms: list[Any], now_s: float) -> None:
        """Count the operations of a batch of the buffer's atoms; ``now_s`` is any clock that only goes forward."""
        self._grow()
        current = self._current(now_s)
        for start in range(0, len(atoms), PIECE):
            self._count(atoms[start : start + PIECE], current)
            await asyncio.sleep(0)

    def totals(self, now_s: float) -> Totals:
        """The sums over the window that ends now."""
        self._expire(now_s)
        operations, failures, sums = self._sums
        since_s = now_s if self._since_s is None else self._since_s
        return Totals(
            services=self._services,
            span_s=min(now_s - since_s, self._length_s),
            operations=np.rint(operations).astype(np.int64),
            failures=np.rint(failures).astype(np.int64),
            response_us=self._means(operations, sums) if self._quantile is None else self._quantiles(self._quantile),
        )

    def _grow(self) -> None:
        """Learn the services of the series that are new."""
        known = len(self._service_of)
        if known == len(self._names):
            return
        place = {service: number for number, service in enumerate(self._services)}
        new = [place.setdefault(service, len(place)) for service, _ in self._names[known:]]
        self._services = list(place)
        self._service_of = np.append(self._service_of, np.array(new, dtype=np.int64))
        missing = len(place) - self._sums.shape[1]
        for holder in self._slices:
            holder.counts = np.pad(holder.counts, ((0, 0), (0, missing)))
        self._sums = np.pad(self._sums, ((0, 0), (0, missing)))

    def _current(self, now_s: float) -> _Slice:
        self._expire(now_s)
        if self._since_s is None:
            self._since_s = now_s
        if not self._slices or now_s - self._slices[-1].start_s >= self._length_s / SLICES:
            self._slices.append(_Slice(now_s, len(self._services)))
        return self._slices[-1]

    def _expire(self, now_s: float) -> None:
        while self._slices and now_s - self._slices[0].start_s >= self._length_s:
            self._sums -= self._slices.popleft().counts
        if not self._slices:
            self._sums[:] = 0.0  # sums of floats that went in and out again leave dust

    def _count(self, atoms: list[Any], into: _Slice) -> None:
        services = self._service_of[atoms[0::FIELDS]]
        outcomes, durations = _measures(atoms[3::FIELDS], atoms[2::FIELDS])
        size = len(self._services)
        counts = np.stack(
            [
                np.bincount(services, minlength=size).astype(float),
                np.bincount(services, weights=np.isin(outcomes, FAILURES), minlength=size),
                np.bincount(services, weights=durations, minlength=size),
            ]
        )
        into.counts += counts
        self._sums += counts
        if self._quantile is not None:
            into.keys.append(services * BUCKETS + bucket_of(durations))

    def _means(self, operations: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            means: NDArray[np.float64] = np.where(operations > 0, sums / operations, np.nan)
        return means

    def _quantiles(self, quantile: float) -> NDArray[np.float64]:
        keys = [key for part in self._slices for key in part.keys]
        if not keys:
            return np.full(len(self._services), np.nan)
        flat = np.bincount(np.concatenate(keys), minlength=len(self._services) * BUCKETS)
        return quantiles(flat.reshape(-1, BUCKETS).astype(np.int64), (quantile,))[:, 0]


def _measures(outcomes: list[Any], durations: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Outcomes and durations in microseconds of buffered operations; what ``record()`` left unchecked is checked."""
    if None in outcomes:
        pairs = zip(outcomes, durations, strict=True)
        durations = [taken // 1000 if outcome is not None else checked_us(taken) or 0 for outcome, taken in pairs]
        outcomes = [outcome or 0 for outcome in outcomes]
        return np.array(outcomes, dtype=np.int64), np.array(durations, dtype=np.float64)
    return np.array(outcomes, dtype=np.int64), np.array(durations, dtype=np.float64) // 1000
