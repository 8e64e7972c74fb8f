"""The guide's three rules: error rate, response time and throughput, by service and by operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cogmeter.alerts.measurement.history import HALF_HOUR_S, HOUR_S, THREE_DAYS_S
from cogmeter.alerts.model import Reading, Subject
from cogmeter.alerts.rules import values
from cogmeter.alerts.rules.failures import FEWEST, HELD, Failures
from cogmeter.alerts.rules.message_format import against, duration, number, percent
from cogmeter.alerts.rules.rule import severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.measurement.window import Counts
    from cogmeter.alerts.model import Limit
    from cogmeter.alerts.rules.values import Counts as Counted
    from cogmeter.alerts.thresholds.limits import Bounds, Limits

ERROR_RATE = "error_rate"
RESPONSE_TIME = "response_time"
THROUGHPUT = "throughput"
MIN_FAILURES = 5  # of one operation among others
LONGER_S = (HALF_HOUR_S, HOUR_S)  # in which a little too much for long is found


def error_rate(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Services by the share of their operations that failed, and single operations beside others of their service."""
    bounds = limits.bounds(ERROR_RATE, view.services)
    counts = view.by_service
    found = _beyond(values.error_rates(counts.operations, counts.failures), bounds, counts, HELD)
    names = [(view.services[place], "") for place in _listed(found)]
    yield from _shares(names, _of_services(view, found), bounds.at(found), FEWEST, limits)
    bounds = limits.bounds_by_series(ERROR_RATE, view.services, view.series)
    counts = view.by_series
    found = _beyond(values.error_rates(counts.operations, counts.failures), bounds, counts, HELD)
    # An operation that is all that its service does is judged as the service. There are many operations, and a few
    # failures among twenty are nothing: it takes more, unless the operation has a threshold of its own.
    named = {(one.service, one.operation) for one in limits.explicit(ERROR_RATE, "threshold")}
    own = np.array([view.series[place] in named for place in _listed(found)], dtype=np.bool_)
    alone = counts.operations[found] == view.by_service.operations[view.service_of[found]]
    judged = own | ((counts.failures[found] >= HELD * MIN_FAILURES) & ~alone)
    found, fewest = found[judged], np.where(own[judged], FEWEST, MIN_FAILURES)
    names = [view.series[place] for place in _listed(found)]
    yield from _shares(names, _of_series(view, found), bounds.at(found), fewest, limits)


def response_time(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Services by how long their operations take, and operations that have a limit of their own."""
    bounds = limits.bounds(RESPONSE_TIME, view.services)
    statistics = {subject: limits.statistic_of(subject) for subject in limits.explicit(RESPONSE_TIME, "statistic")}
    usual = limits.statistic_of(Subject(RESPONSE_TIME, ""))
    measured = _times_ms(view, bounds, usual)
    for place, service in enumerate(view.services) if statistics else ():
        own = statistics.get(Subject(RESPONSE_TIME, service), usual)
        if own != usual:
            measured[place] = _time_ms(view.by_service, view.buckets[place], place, own)
    for place in _listed(_beyond(measured, bounds, view.by_service)):
        yield _time(Subject(RESPONSE_TIME, view.services[place]), float(measured[place]), limits)
    for subject, place in _operations(view, limits, RESPONSE_TIME):
        statistic = limits.statistic_of(subject)
        buckets = np.zeros(0) if statistic == "average" else view.buckets_of(place)
        value = _time_ms(view.by_series, buckets, place, statistic)
        if _enough(limits.of(subject), value, view.by_series.operations[place]):
            yield _time(subject, value, limits)


def throughput(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Services by their operations a minute, and operations that have a limit of their own."""
    bounds = limits.bounds(THROUGHPUT, view.services)
    rates = values.per_minute(view.by_service.operations, view.span_s)
    for place in _listed(_beyond(rates, bounds, view.by_service)):
        yield _rate(Subject(THROUGHPUT, view.services[place]), float(rates[place]), limits)
    for subject, place in _operations(view, limits, THROUGHPUT):
        rate = float(values.per_minute(view.by_series.operations[place : place + 1], view.span_s)[0])
        if _enough(limits.of(subject), rate, view.by_series.operations[place]):
            yield _rate(subject, rate, limits)


def _beyond(measured: values.Values, bounds: Bounds, counts: Counts, share: float = 1.0) -> NDArray[np.int64]:
    """The places whose values are beyond the recovery threshold, with that share of the operations that it takes."""
    enough = (counts.operations >= share * bounds.min_operations) & (counts.operations > 0)
    return np.flatnonzero((measured > bounds.recovery) & enough)


def _listed(places: NDArray[np.int64]) -> list[int]:
    listed: list[int] = places.tolist()
    return listed


def _of_services(view: Snapshot, places: NDArray[np.int64]) -> Failures:
    """What failed in some services."""
    spans = [(view.by_service.operations, view.by_service.failures), *map(view.history.totals, LONGER_S)]
    days = view.history.totals(THREE_DAYS_S)
    return Failures([(one[places], failed[places]) for one, failed in spans], (days[0][places], days[1][places]))


def _of_series(view: Snapshot, places: NDArray[np.int64]) -> Failures:
    """What failed in some operations; what is usual for them is what is usual for their services."""
    counts, (days, failed) = view.by_series, view.history.totals(THREE_DAYS_S)
    service = view.service_of[places]
    return Failures([(counts.operations[places], counts.failures[places])], (days[service], failed[service]))


def _operations(view: Snapshot, limits: Limits, rule: str) -> Iterator[tuple[Subject, int]]:
    """The operations that have a threshold of their own, with their series numbers."""
    wanted = [subject for subject in limits.explicit(rule, "threshold") if subject.operation]
    if not wanted:
        return
    place = {names: number for number, names in enumerate(view.series)}
    for subject in wanted:
        number = place.get((subject.service, subject.operation))
        if number is not None:
            yield subject, number


def _enough(limit: Limit, value: float, operations: int) -> bool:
    """Whether one value is beyond its recovery threshold, with enough operations to say so."""
    return bool(limit.threshold) and value > limit.recovery and operations >= max(limit.min_operations, 1)


def _times_ms(view: Snapshot, bounds: Bounds, statistic: str) -> values.Values:
    """The statistic of every service; of quantiles those alone that are beyond the recovery threshold, 0 for others."""
    counts = view.by_service
    quantile, _ = values.STATISTICS[statistic]
    if quantile is None:
        return values.averages_ms(counts.operations, counts.sum_us)
    above = np.zeros(len(view.services), dtype=np.int64)
    for recovery in np.unique(bounds.recovery[np.isfinite(bounds.recovery)]).tolist():
        rows = bounds.recovery == recovery
        # Most services share one threshold: the sum over all rows in place costs less than a copy of some of them.
        above[rows] = view.buckets[:, values.first_above(recovery) : view.top + 1].sum(axis=1)[rows]
    measured = np.zeros(len(view.services))
    beyond = np.flatnonzero(values.quantile_above(counts.operations, above, quantile))
    measured[beyond] = values.quantiles_ms(view.buckets[beyond], quantile)
    return measured


def _time_ms(counts: Counts, buckets: values.Counts, place: int, statistic: str) -> float:
    """The statistic of one service or series."""
    quantile, _ = values.STATISTICS[statistic]
    if quantile is None:
        return float(values.averages_ms(counts.operations[place], counts.sum_us[place]))
    return float(values.quantiles_ms(buckets, quantile))


def _shares(
    names: Sequence[tuple[str, str]], found: Failures, bounds: Bounds, fewest: Counted | int, limits: Limits
) -> Iterator[Reading]:
    """Readings of error rates. What is too little to raise an alert, or chance, may be enough to keep it."""
    rates = values.error_rates(*found.spans[0])
    kept = found.enough(bounds.min_operations, fewest, HELD)
    breached = (rates > bounds.threshold) & found.enough(bounds.min_operations, fewest)
    breached &= found.no_chance(bounds.recovery, bounds.min_operations)
    for place in _listed(np.flatnonzero(kept)):
        subject, rate = Subject(ERROR_RATE, *names[place]), float(rates[place])
        limit = limits.of(subject)
        text = against(f"Error rate of {percent(rate)}", rate > limit.threshold, percent(limit.threshold))
        yield Reading(subject, rate, limit.threshold, text, severity(limit, rate), bool(breached[place]))


def _time(subject: Subject, value_ms: float, limits: Limits) -> Reading:
    limit = limits.of(subject)
    breached = value_ms > limit.threshold
    _, words = values.STATISTICS[limits.statistic_of(subject)]
    text = against(f"{words} response time of {duration(value_ms)}", breached, duration(limit.threshold))
    return Reading(subject, value_ms, limit.threshold, text, severity(limit, value_ms), breached)


def _rate(subject: Subject, rate: float, limits: Limits) -> Reading:
    limit = limits.of(subject)
    breached = rate > limit.threshold
    text = against(f"{number(rate)} operations/minute", breached, number(limit.threshold))
    return Reading(subject, rate, limit.threshold, text, severity(limit, rate), breached)
