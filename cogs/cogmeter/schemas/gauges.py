"""Gauges over time (loop lag, gateway latency, memory), thinned to what a chart can show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pydantic import Field

from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange
from cogmeter.schemas.numbers import Number, rounded
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cogmeter.query.records import Range
    from cogmeter_storage.base import Store

POINTS: Final = 200  # of one gauge; each is of at least one sample
PIECE_US: Final = 2 * 3_600_000_000  # read at once: with a sample every 15 s, 480 of each gauge
DIGITS: Final = 6


class Gauge(Schema):
    """One gauge: for each point the mean, the lowest and the highest of its samples."""

    timestamps: list[Instant] = Field(description="When the first sample of each point was taken")
    mean: list[Number]
    lowest: list[Number]
    highest: list[Number]


class Gauges(Schema):
    """Gauges by name, and the newest value of every gauge there is."""

    time_range: TimeRange
    gauges: dict[str, Gauge]
    latest: dict[str, Number] = Field(description="The newest sample of all gauges, by name")


class _Points:
    """Samples put together into points, as they come."""

    def __init__(self, span: Range) -> None:
        self._since_us = span.since_us
        self._width_us = max((span.until_us - span.since_us) // POINTS, 1)
        self._found: dict[int, list[float]] = {}  # time, count, sum, lowest, highest; in order of time

    def add(self, at_us: int, value: float) -> None:
        place = (at_us - self._since_us) // self._width_us
        known = self._found.get(place)
        if known is None:
            self._found[place] = [at_us, 1, value, value, value]
            return
        known[1] += 1
        known[2] += value
        known[3], known[4] = min(known[3], value), max(known[4], value)

    def gauge(self) -> Gauge:
        points = list(self._found.values())
        return Gauge(
            timestamps=[at(int(one[0])) for one in points],
            mean=[rounded(one[2] / one[1], DIGITS) for one in points],
            lowest=[rounded(one[3], DIGITS) for one in points],
            highest=[rounded(one[4], DIGITS) for one in points],
        )


async def gauges(store: Store, span: Range, names: Collection[str], latest: Mapping[str, float]) -> Gauges:
    """The gauges of these names over a stretch of time, read piece by piece; a name that is not known is empty.

    Raises:
        StorageError: the store does not answer.
    """
    points = {name: _Points(span) for name in names}
    first_us = max(span.since_us, await _first(store, span))
    for start_us in range(first_us, span.until_us, PIECE_US) if points else ():
        end_us = min(start_us + PIECE_US, span.until_us)
        await asyncio.to_thread(_add, points, await store.samples(names, start_us, end_us))
    return Gauges(
        time_range=TimeRange.of(span),
        gauges={name: one.gauge() for name, one in points.items()},
        latest={name: rounded(value, DIGITS) for name, value in sorted(latest.items())},
    )


def _add(points: Mapping[str, _Points], found: Mapping[str, list[tuple[int, float]]]) -> None:
    for name, samples in found.items():
        for at_us, value in samples:
            points[name].add(at_us, value)


async def _first(store: Store, span: Range) -> int:
    """Before this there are no samples worth a question: they go with the operations of their time."""
    first_us = (await store.status()).first_end_us
    return span.since_us if first_us is None else first_us - PIECE_US
