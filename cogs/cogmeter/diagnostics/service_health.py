"""Judges services, and operations of them, by what ended within the alerts' window."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.diagnosis import Check, ServiceHealth, Status, status_of
from cogmeter.diagnostics.judgement import judge, nothing_ended, worst_alerts, worst_operation_alerts
from cogmeter.query.query import now_us
from cogmeter.recording.background import paced
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.service_names import label
from cogmeter.render.rule_text import status_reason
from cogmeter_storage.histogram import quantiles

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.window import Window
    from cogmeter.monitor.monitor import Monitor
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.model import SeriesRecord

ROWS: Final = 64
ACCURACY: Final = 0.01  # of a quantile, see ``cogmeter_storage.histogram``
LOOKED_UP: Final = 10  # services without operations since the start, whose last one is read from the store per check


@dataclass(frozen=True, slots=True)
class _WindowFigures:
    """The figures of a service within the alerts' window; see ``judgement.Measured``."""

    operations: int
    failures: int
    responses_us: Mapping[str, float]

    def response_us(self, statistic: str) -> float | None:
        """Implement Measured.response_us."""
        return self.responses_us[statistic]


class ServiceHealthChecks:
    """The health checks of services, with the time of each service's last operation."""

    def __init__(self) -> None:
        self._seen_us: dict[str, int | None] = {}

    async def judge(self, monitor: Monitor) -> dict[str, ServiceHealth]:
        """Return the health of every recorded service, in alphabetical order."""
        window = monitor.alerting.evaluator.window
        alerts = worst_alerts(monitor.alerting.engine.active)
        health = await _active(monitor, window, alerts)
        self._seen_us |= _last_seen_us(window)
        stored = await monitor.store.series()
        quiet = [series for series in stored if series.service != OTHER and series.service not in health]
        await self._look_up(monitor, quiet)
        async for name in paced(dict.fromkeys(series.service for series in quiet)):
            health[name] = self._quiet(name, window.length_s, alerts.get(name))
        return dict(sorted(health.items()))

    async def _look_up(self, monitor: Monitor, quiet: Sequence[SeriesRecord]) -> None:
        ids: dict[str, list[int]] = {}
        for series in quiet:
            if series.service not in self._seen_us:
                ids.setdefault(series.service, []).append(series.id)
        for name in list(ids)[:LOOKED_UP]:
            newest = await monitor.store.page(ids[name], 0, now_us() + 1, limit=1)
            self._seen_us[name] = newest[0].end_us if newest else None

    def _quiet(self, name: str, window_s: float, alert: Alert | None) -> ServiceHealth:
        seen_us = self._seen_us.get(name)
        age_s = None if seen_us is None else (now_us() - seen_us) / 1e6
        status, reason = Status.UNKNOWN, nothing_ended(window_s, operation=False)
        if alert is not None:
            status, reason = status_of(alert.severity), status_reason(alert)
        return ServiceHealth(Check(name, status, reason, age_s), last_seen_us=seen_us)


async def judge_operations(
    monitor: Monitor, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], ServiceHealth]:
    """Return the health of these pairs of service and operation, each by its own alerts and operations alone."""
    window = monitor.alerting.evaluator.window
    alerts = worst_operation_alerts(monitor.alerting.engine.active)
    numbers = {name: number for number, name in enumerate(window.series) if name in wanted}
    places = [number for number in numbers.values() if window.by_series.operations[number]]
    counts = window.by_series
    columns = (counts.operations, counts.failures, counts.sum_us)
    rows = [column[places].tolist() for column in columns]
    quantiles_us = await asyncio.to_thread(_quantiles_us, window.histograms_of(np.array(places, dtype=np.int64)))
    none = nothing_ended(window.length_s, operation=True)
    health = {name: ServiceHealth(Check(label(*name), Status.UNKNOWN, none)) for name in wanted}
    for name, alert in alerts.items():
        if name in health:
            health[name] = ServiceHealth(Check(label(*name), status_of(alert.severity), status_reason(alert)))
    figures = zip([window.series[place] for place in places], quantiles_us, *rows, strict=True)
    async for name, percentiles_us, operations, failures, sum_us in paced(figures):
        measured = _measured(percentiles_us, operations, failures, sum_us)
        status, reason = _judged(monitor, measured, alerts.get(name), *name)
        check = Check(label(*name), status, reason)
        health[name] = ServiceHealth(
            check, operations, failures / operations, sum_us / operations, measured.response_us("p95")
        )
    return health


async def _active(monitor: Monitor, window: Window, alerts: Mapping[str, Alert]) -> dict[str, ServiceHealth]:
    """Return the health of the services with operations in the window."""
    counts, clock_s, at_us = window.by_service, time.perf_counter(), now_us()
    places = np.flatnonzero(counts.operations)
    columns = (counts.operations, counts.failures, counts.sum_us, window.began_s())
    rows = [column[places].tolist() for column in columns]
    names = [window.services[place] for place in places.tolist()]
    # Indexing copies the rows: the window changes while the thread counts.
    quantiles_us = await asyncio.to_thread(_quantiles_us, window.buckets[places])
    health = {}
    figures = zip(names, quantiles_us, *rows, strict=True)
    async for name, percentiles_us, operations, failures, sum_us, began_s in paced(figures):
        age_s = 0.0 if math.isnan(began_s) else clock_s - began_s
        measured = _measured(percentiles_us, operations, failures, sum_us)
        status, reason = _judged(monitor, measured, alerts.get(name), name)
        health[name] = ServiceHealth(
            Check(name, status, reason, age_s),
            operations,
            failures / operations,
            sum_us / operations,
            measured.response_us("p95"),
            at_us - int(age_s * 1e6),
        )
    return health


def _last_seen_us(window: Window) -> dict[str, int | None]:
    """Return when the last operation of each service ended that had one since the start, in or before the window."""
    began_s, clock_s, at_us = window.began_s(), time.perf_counter(), now_us()
    known = np.flatnonzero(~np.isnan(began_s)).tolist()
    return {window.services[place]: at_us - int((clock_s - began_s[place]) * 1e6) for place in known}


def _quantiles_us(buckets: NDArray[np.int32]) -> list[list[float]]:
    """Return p50, p95 and p99 of each row, a few rows at a time, because each step blocks other threads."""
    answers: list[list[float]] = []
    for start in range(0, len(buckets), ROWS):
        answers += quantiles(buckets[start : start + ROWS].astype(np.int64), (0.5, 0.95, 0.99)).tolist()
    return answers


def _measured(percentiles_us: Sequence[float], operations: int, failures: int, sum_us: int) -> _WindowFigures:
    # The window keeps no maximum. Of one operation, and of equal durations such as timeouts, the mean is exact.
    mean_us = sum_us / operations
    equal = percentiles_us[0] == percentiles_us[2] and abs(mean_us - percentiles_us[0]) <= ACCURACY * mean_us
    p50, p95, p99 = [mean_us] * 3 if equal or operations == 1 else percentiles_us
    return _WindowFigures(operations, failures, {"average": mean_us, "p50": p50, "p95": p95, "p99": p99})


def _judged(
    monitor: Monitor, measured: _WindowFigures, alert: Alert | None, service: str, operation: str = ""
) -> tuple[Status, str]:
    """Return the status by the active alert, else by the thresholds in effect."""
    if alert is not None:
        return status_of(alert.severity), status_reason(alert)
    judgement = judge(measured, monitor.alerting.limits, service, operation)
    return judgement.status, judgement.reason
