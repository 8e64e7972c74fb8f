"""Key figures in the guide's words, of services and of hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.exporters.base import iso
from cogmeter.recording.background import paced
from cogmeter_storage.histogram import quantiles
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Totals

_PERCENTILES = (0.50, 0.95, 0.99)
TOGETHER: Final = 32  # services whose figures are worked out in one turn of the loop: about a millisecond
_BINS: Final = 168  # that are asked for at once: a week of hours
_STEPS_US: Final = tuple(HOUR_US * _BINS**power for power in range(4))  # the last one is longer than a century


async def by_service(totals: Totals, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the figures of each service that has operations, worked out in short pieces.

    The totals have one bin, and a group for each of the names.
    """
    made: dict[str, dict[str, Any]] = {}
    async for start in paced(range(0, len(names), TOGETHER)):
        some = slice(start, start + TOGETHER)
        parts = (part[0, some] for part in (totals.outcomes, totals.sum_us, totals.max_us, totals.buckets))
        made |= zip(names[some], _stats(*parts), strict=True)
    return {name: stats for name, stats in made.items() if stats["totalOperations"]}


async def hours(store: Store, series: Mapping[int, int], since_us: int, until_us: int) -> AsyncIterator[dict[str, Any]]:
    """The figures of each hour that has operations, in order of time; ``series`` maps all to the one group 0.

    ``since_us`` is one that totals() said to cover, so that no hour or day is counted twice where nothing finer is
    kept. Where only days are kept, a day stands in its first hour.
    """
    first_hour = min(_ceiling(since_us, HOUR_US), until_us)
    first_day = min(_ceiling(first_hour, DAY_US), until_us)
    for start_us, stop_us in ((since_us, first_hour), (first_hour, first_day), (first_day, until_us)):
        async for one in _filled(store, series, start_us, stop_us):
            yield one


async def _filled(
    store: Store, series: Mapping[int, int], since_us: int, until_us: int
) -> AsyncIterator[dict[str, Any]]:
    """The hours with operations in this stretch; of a long one, first which weeks have some."""
    if since_us >= until_us or not series:
        return
    step_us = next(step_us for step_us in _STEPS_US if until_us - since_us <= step_us * _BINS)
    totals = await store.totals(since_us, until_us, groups=series, step_us=step_us)
    places = np.flatnonzero(totals.counts[:, 0])
    starts_us = totals.edges_us[places].tolist()
    if step_us == HOUR_US:
        parts = (part[places, 0] for part in (totals.outcomes, totals.sum_us, totals.max_us, totals.buckets))
        for start_us, stats in zip(starts_us, _stats(*parts), strict=True):
            yield {"timestamp": iso(start_us), **stats}
        return
    for start_us in starts_us:
        async for one in _filled(store, series, start_us, min(start_us + step_us, until_us)):
            yield one


def _stats(outcomes: np.ndarray, sum_us: np.ndarray, max_us: np.ndarray, buckets: np.ndarray) -> list[dict[str, Any]]:
    """The figures of each row of ``outcomes`` [n, 5], sums and maxima [n] and ``buckets`` [n, BUCKETS]."""
    answers = quantiles(buckets, _PERCENTILES)
    rows = zip(outcomes.tolist(), sum_us.tolist(), max_us.tolist(), answers.tolist(), strict=True)
    return [_one(*row) for row in rows]


def _one(outcomes: list[int], sum_us: int, max_us: int, answers: list[float]) -> dict[str, Any]:
    """Response times in milliseconds, the error rate as a share; None and 0 without operations."""
    count, failed = sum(outcomes), sum(outcomes[outcome] for outcome in FAILURES)
    average_us, highest_us = (sum_us / count, max_us) if count else (None, None)
    # A bucket's answer may lie a little beyond the slowest operation in it.
    p50_us, p95_us, p99_us = (min(one, max_us) for one in answers) if count else (None, None, None)
    return {
        "totalOperations": count,
        "successfulOperations": count - failed,
        "failedOperations": failed,
        "averageResponseTime": _ms(average_us),
        "errorRate": round(failed / count, 6) if count else 0,
        "p50ResponseTime": _ms(p50_us),
        "p95ResponseTime": _ms(p95_us),
        "p99ResponseTime": _ms(p99_us),
        "maxResponseTime": _ms(highest_us),
    }


def _ms(duration_us: float | None) -> float | None:
    if duration_us is None:
        return None
    rounded = round(duration_us / 1000, 3)
    return int(rounded) if rounded == int(rounded) else rounded


def _ceiling(at_us: int, width_us: int) -> int:
    return -(-at_us // width_us) * width_us
