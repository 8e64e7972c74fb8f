"""The guide's three rules: error rate, response time and throughput, by service and by operation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement import values
from cogmeter.alerts.measurement.history import HOUR_S, THREE_DAYS_S
from cogmeter.alerts.measurement.window import Counts
from cogmeter.alerts.rules.failures import FEWEST, Failures, beyond, readings
from cogmeter.alerts.rules.rule import KEPT, OPERATION, Replay, Rule, duration, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.model import Reading, Subject
    from cogmeter.alerts.rules.rule import Bounds, RuleLimits

MIN_FAILURES: Final = 5  # failures of one of several operations


def error_rate(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the error rate of services, and of operations if a service has several, with the threshold."""
    bounds = limits.bounds(ERROR_RATE.name, snapshot.services)
    counts = snapshot.by_service
    indexes = beyond(counts.operations, counts.failures, bounds)
    subjects = [ERROR_RATE.subject(snapshot.services[place]) for place in _listed(indexes)]
    failures = Failures.of_services(snapshot, indexes)
    yield from readings(ERROR_RATE, _rate_text, subjects, failures, bounds.at(indexes), fewest=FEWEST, limits=limits)
    bounds = limits.bounds_by_series(ERROR_RATE.name, snapshot.services, snapshot.series)
    counts = snapshot.by_series
    indexes = beyond(counts.operations, counts.failures, bounds)
    # The only operation of a service counts as the service. With many operations a few failures of one are chance, so
    # an operation needs more of them, unless it has its own threshold.
    named = {(subject.service, subject.operation) for subject in limits.explicit(ERROR_RATE.name, "threshold")}
    own = np.array([snapshot.series[place] in named for place in _listed(indexes)], dtype=np.bool_)
    alone = counts.operations[indexes] == snapshot.by_service.operations[snapshot.service_of[indexes]]
    judged = own | ((counts.failures[indexes] >= KEPT * MIN_FAILURES) & ~alone)
    indexes, fewest = indexes[judged], np.where(own[judged], FEWEST, MIN_FAILURES)
    subjects = [ERROR_RATE.subject(*snapshot.series[place]) for place in _listed(indexes)]
    failures = _of_series(snapshot, indexes)
    yield from readings(ERROR_RATE, _rate_text, subjects, failures, bounds.at(indexes), fewest=fewest, limits=limits)


def response_time(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the response time of services, and of operations with their own limit, with the threshold."""
    bounds = limits.bounds(RESPONSE_TIME.name, snapshot.services)
    statistics = {subject: limits.statistic_of(subject) for subject in limits.explicit(RESPONSE_TIME.name, "statistic")}
    usual = limits.statistic_of(RESPONSE_TIME.subject(""))
    measured = _times_ms(snapshot, bounds, usual)
    for place, service in enumerate(snapshot.services) if statistics else ():
        own = statistics.get(RESPONSE_TIME.subject(service), usual)
        if own != usual:
            counts = snapshot.by_service
            measured[place] = values.statistics_ms(
                own, counts.operations[place], counts.sum_us[place], snapshot.buckets[place]
            )
    for place in _listed(_beyond(measured, bounds, snapshot.by_service)):
        reading = _time(RESPONSE_TIME.subject(snapshot.services[place]), float(measured[place]), limits)
        yield _judged(reading, snapshot.by_service, bounds, place)
    places, bounds, counts = _own_operations(snapshot, limits, RESPONSE_TIME.name)
    measured = values.averages_ms(counts.operations, counts.sum_us)
    if statistics or usual != "average":
        judged = np.flatnonzero(counts.operations >= KEPT * bounds.min_operations)
        names = [
            limits.statistic_of(RESPONSE_TIME.subject(*snapshot.series[place])) for place in _listed(places[judged])
        ]
        for statistic in set(names) - {"average"}:
            chosen = judged[[name == statistic for name in names]]
            columns = counts.operations[chosen], counts.sum_us[chosen]
            measured[chosen] = values.statistics_ms(statistic, *columns, snapshot.histograms_of(places[chosen]))
    for index in _listed(_beyond(measured, bounds, counts)):
        reading = _time(RESPONSE_TIME.subject(*snapshot.series[places[index]]), float(measured[index]), limits)
        yield _judged(reading, counts, bounds, index)


def throughput(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Compare the throughput of services, and of operations with their own limit, with the threshold."""
    bounds = limits.bounds(THROUGHPUT.name, snapshot.services)
    rates = values.per_minute(snapshot.by_service.operations, snapshot.span_s)
    for place in _listed(_beyond(rates, bounds, snapshot.by_service)):
        reading = _rate(THROUGHPUT.subject(snapshot.services[place]), float(rates[place]), limits)
        yield _judged(reading, snapshot.by_service, bounds, place)
    places, bounds, counts = _own_operations(snapshot, limits, THROUGHPUT.name)
    rates = values.per_minute(counts.operations, snapshot.span_s)
    for index in _listed(_beyond(rates, bounds, counts)):
        reading = _rate(THROUGHPUT.subject(*snapshot.series[places[index]]), float(rates[index]), limits)
        yield _judged(reading, counts, bounds, index)


def _judged(reading: Reading, counts: Counts, bounds: Bounds, place: int) -> Reading:
    """Return the reading; with fewer operations than raise an alert, it only continues one."""
    enough = bool(counts.operations[place] >= bounds.min_operations[place])
    return dataclasses.replace(reading, breached=reading.breached and enough)


def _beyond(measured: values.Values, bounds: Bounds, counts: Counts) -> NDArray[np.int64]:
    """Return the places with values beyond the recovery threshold, and enough operations to keep an alert active."""
    enough = (counts.operations >= KEPT * bounds.min_operations) & (counts.operations > 0)
    return np.flatnonzero((measured > bounds.recovery) & enough)


def _listed(places: NDArray[np.int64]) -> list[int]:
    listed: list[int] = places.tolist()
    return listed


def _of_series(snapshot: Snapshot, places: NDArray[np.int64]) -> Failures:
    """Return the failures of some operations; their usual error rate is that of their services."""
    counts, (days, failed) = snapshot.by_series, snapshot.history.totals(THREE_DAYS_S)
    service = snapshot.service_of[places]
    return Failures([(counts.operations[places], counts.failures[places])], (days[service], failed[service]))


def _own_operations(snapshot: Snapshot, limits: RuleLimits, rule: str) -> tuple[NDArray[np.int64], Bounds, Counts]:
    """Return the series numbers of the operations that have their own threshold, with their limits and counts."""
    places, counts = limits.own_operations(rule, snapshot.series), snapshot.by_series
    bounds = limits.bounds_by_series(rule, snapshot.services, snapshot.series)
    columns = (counts.operations[places], counts.failures[places], counts.sum_us[places])
    return places, bounds.at(places), Counts(*columns)


def _times_ms(snapshot: Snapshot, bounds: Bounds, statistic: str) -> values.Values:
    """Return the statistic of every service; a quantile only if it is beyond the recovery threshold, else 0."""
    counts = snapshot.by_service
    quantile, _ = values.STATISTICS[statistic]
    if quantile is None:
        return values.averages_ms(counts.operations, counts.sum_us)
    above = np.zeros(len(snapshot.services), dtype=np.int64)
    for recovery in np.unique(bounds.recovery[np.isfinite(bounds.recovery)]).tolist():
        rows = np.flatnonzero(bounds.recovery == recovery)
        # Most services share one threshold: the sum over all rows in place costs less than a copy of most of them.
        many = 2 * rows.size > above.size
        tail = snapshot.buckets[:, values.first_above(recovery) : snapshot.top + 1]
        above[rows] = tail.sum(axis=1)[rows] if many else tail[rows].sum(axis=1)
    measured = np.zeros(len(snapshot.services))
    slow = np.flatnonzero(values.quantile_above(counts.operations, above, quantile))
    measured[slow] = values.quantiles_ms(snapshot.buckets[slow], quantile)
    return measured


def _rate_text(rate: float) -> str:
    return f"Error rate of {percent(rate)}"


def _time(subject: Subject, value_ms: float, limits: RuleLimits) -> Reading:
    _, label = values.STATISTICS[limits.statistic_of(subject)]
    what = f"{label} response time of {duration(value_ms)}"
    return RESPONSE_TIME.reading(subject, value_ms, limits.of(subject), what)


def _rate(subject: Subject, rate: float, limits: RuleLimits) -> Reading:
    return THROUGHPUT.reading(subject, rate, limits.of(subject), f"{number(rate)} operations/minute")


ERROR_RATE: Final = Rule(
    name="error_rate",
    title="Error rate",
    unit="share",
    setting="alert_threshold_error_rate",
    find=error_rate,
    about=OPERATION,
    kept=KEPT,
    next_step="Open its most common error",
    leads_to="errors",
    chart="error rate",
    replay=Replay(lambda counts: values.error_rates(counts.operations, counts.failures), chance=True, operations=True),
    dependencies=False,
    degrades=True,
)
RESPONSE_TIME: Final = Rule(
    name="response_time",
    title="Response time",
    unit="ms",
    digits=0,
    setting="alert_threshold_response_time",
    find=response_time,
    about=OPERATION,
    kept=KEPT,
    next_step="Look at its slowest operations",
    leads_to="slow",
    chart="response time",
    replay=Replay(
        lambda counts: values.statistics_ms(counts.statistic, counts.operations, counts.sum_us, counts.buckets),
        buckets=True,
    ),
    background=False,
    statistic_setting="alert_response_time_statistic",
    calibrated_from_s=HOUR_S,
    slowest=True,
    degrades=True,
)
THROUGHPUT: Final = Rule(
    name="throughput",
    title="Throughput",
    unit="operations/min",
    digits=1,
    setting="alert_threshold_operations_per_minute",
    find=throughput,
    about=OPERATION,
    next_step="Find out who uses it so much, or raise the threshold",
    leads_to="stats",
    chart="throughput",
    replay=Replay(lambda counts: values.per_minute(counts.operations, counts.span_s)),
    background=False,
    calibrated_from_s=24 * HOUR_S,  # the busiest hours of a day have to be known
)
