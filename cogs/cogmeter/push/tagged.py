"""The points of Datadog's metrics, for its API and for DogStatsD: counts and gauges with tags.

``cogmeter.operations`` counts the operations of a minute by service, operation and outcome. The gauges
``cogmeter.operation.duration.avg``, ``.max``, ``.p50``, ``.p95`` and ``.p99`` are in seconds, by service and operation.
All have the tags ``bot`` and ``process``, the id of the database: two processes must not replace each other's points.

A point is identified by metric, tags and time, and the last one replaces all before it. So a minute that is sent again
is not counted twice, and series whose names become the same tags have to be one point. Sources: Datadog, "Historical
metrics"; Vector, issue 13867. A count's time is the start of its interval: Datadog, "DogStatsD data aggregation".
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.exporters.gauge_names import metric_of
from cogmeter.query.statistics import figures_of_rows
from cogmeter_storage.histogram import BUCKETS
from cogmeter_storage.model import HOUR_US, MINUTE_US, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cogmeter.push.base import Origin, PushBatch, SeriesCounts

# Points must not be older than an hour (Datadog's API, "Submit metrics"); the margin is for the way and other clocks.
OLDEST_US: Final = HOUR_US - 2 * MINUTE_US
OPERATIONS: Final = "cogmeter.operations"
DURATION: Final = "cogmeter.operation.duration"
TAG: Final = 200  # characters, with the key
PIECE: Final = 10  # series that are computed before other threads may run: about a millisecond
_UNITS: Final = {"s": "second", "By": "byte", "{thread}": "thread"}  # from UCUM
_OTHER: Final = re.compile(r"(?:[^\w\-:./]|_)+")

Pair = tuple[str, str]  # the tags of a service and an operation


class TaggedPoint(NamedTuple):
    """One value of one metric. A count is of the minute from ``at_s`` on."""

    metric: str
    counts: bool  # False: a gauge
    value: float
    at_s: int
    tags: tuple[str, ...]
    unit: str  # by Datadog's names; empty: none


class TaggedPoints:
    """Makes the points of batches. Keeps the present minute's series, because a minute may come in several parts.

    What it keeps is lost at a restart: if that is within a minute, and names in different parts of it become the same
    tags, then the later part replaces the earlier one.
    """

    def __init__(self, origin: Origin) -> None:
        self.own = (tag("bot", origin.name), tag("process", origin.instance))
        self._minute_us = 0
        self._earlier: dict[Pair, SeriesCounts] = {}  # of the parts that are done

    def of(self, batch: PushBatch) -> Iterator[TaggedPoint]:
        """Yield the points of a batch. Call it on a thread."""
        if batch.series:
            yield from self._of_minute(self._together(batch), batch.minute_us // 1_000_000)
        for gauge, value in batch.gauges.items():
            if point := self._of_gauge(gauge, value, batch.gauges_us // 1_000_000):
                yield point

    def accepted(self, batch: PushBatch) -> None:
        """Note that a batch is not sent again."""
        if batch.series:
            self._earlier = self._known(batch) | self._together(batch)
            self._minute_us = batch.minute_us

    def _known(self, batch: PushBatch) -> dict[Pair, SeriesCounts]:
        return self._earlier if batch.minute_us == self._minute_us else {}

    def _together(self, batch: PushBatch) -> dict[Pair, SeriesCounts]:
        """Return the batch's series by their tags, with all operations of the minute so far that have these tags."""
        known = self._known(batch)
        found: dict[Pair, SeriesCounts] = {}
        for one in batch.series:
            pair = tag("service", one.service), tag("operation", one.operation)
            earlier = found.get(pair) or known.get(pair)
            found[pair] = one if earlier is None else earlier.plus(one)
        return found

    def _of_minute(self, series: Mapping[Pair, SeriesCounts], at_s: int) -> Iterator[TaggedPoint]:
        pairs = list(series.items())
        for start in range(0, len(pairs), PIECE):
            time.sleep(0)  # on a thread: lets the event loop have the GIL
            piece = pairs[start : start + PIECE]
            for (pair, one), durations in zip(piece, _durations_s([one for _, one in piece]), strict=True):
                tags = (*self.own, *pair)
                for outcome, count in zip(Outcome, one.outcomes, strict=True):
                    if count:
                        labelled = (*tags, tag("outcome", outcome.label))
                        yield TaggedPoint(OPERATIONS, True, count, at_s, labelled, "operation")
                for statistic, value in durations.items():
                    yield TaggedPoint(f"{DURATION}.{statistic}", False, value, at_s, tags, "second")

    def _of_gauge(self, gauge: str, value: float, at_s: int) -> TaggedPoint | None:
        """Return the point of a gauge. Counters since loading are gauges, too: Datadog counts by interval."""
        found = metric_of(gauge)
        if found is None or not isfinite(value):  # JSON has only finite numbers
            return None
        named, labels = found
        metric = f"cogmeter.{named.semantic_name.removeprefix('cogmeter.')}"
        tags = (*self.own, *(tag(label, text) for label, text in labels.items()))
        return TaggedPoint(metric, False, value * named.scale, at_s, tags, _UNITS.get(named.unit, ""))


@lru_cache(maxsize=16_384)
def tag(key: str, value: str) -> str:
    """Return a tag as Datadog would store it, so that names which it stores as the same are known here.

    Lower case; letters, digits and ``_-:./``; other characters are underscores, which are neither repeated nor last; at
    most 200 characters. Source: Datadog, "Getting started with tags".
    """
    valid = _OTHER.sub("_", value.lower())[: TAG - len(key) - 1].rstrip("_")
    return f"{key}:{valid or 'unnamed'}"


def _durations_s(series: list[SeriesCounts]) -> Iterator[dict[str, float]]:
    """Yield the mean, percentiles and maximum of each series in seconds, by the formulas of all surfaces."""
    outcomes = np.array([one.outcomes for one in series], dtype=np.int64)
    sum_us, max_us = (np.array([getattr(one, name) for one in series], dtype=np.int64) for name in ("sum_us", "max_us"))
    buckets = np.zeros((len(series), BUCKETS), dtype=np.int64)
    for row, one in enumerate(series):
        for number, count in one.buckets:
            buckets[row, number] = count
    for figures in figures_of_rows(outcomes, sum_us, max_us, buckets, span_us=MINUTE_US):
        values = {
            "avg": figures.mean_us,
            "max": figures.max_us,
            "p50": figures.p50_us,
            "p95": figures.p95_us,
            "p99": figures.p99_us,
        }
        yield {name: value / 1e6 for name, value in values.items() if value is not None}
