"""Learns thresholds from what a service or operation usually does. Pure; ``learning.py`` reads and stores.

The history is divided into periods of an hour, or as long as PERIOD_OPERATIONS operations take. A proposal is a
multiple of a quantile over the periods, so that an incident does not become normal, and never below the guide.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.alerts.measurement.values import STATISTICS, averages_ms, rounded_up
from cogmeter.alerts.model import Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.guide import THROUGHPUT
from cogmeter.query.records import Calibrated
from cogmeter.settings import Settings
from cogmeter.startup import parsing
from cogmeter_storage.histogram import BUCKETS, quantiles
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter_storage.model import Int64Array, Totals

PERIOD_OPERATIONS: Final = 20  # fewer have no 95th percentile
PERIOD_HOURS: Final = 0.5  # the open hour is a period from here on
FAILING: Final = 0.2  # share of failures from which a period is an incident, and is not learned from
TIMES: Final = (2.0, 3.0)  # the least and the most multiple of the usual response time
ABOVE_P95: Final = 1.1  # within these, the multiple of the usual 95th percentile
BUSY: Final = 0.85  # the quantile of the rates over the periods; a surge of some hours is beyond it
GROWTH: Final = 3.0  # the multiple of that rate
SETTLED_US: Final = 3 * DAY_US  # the history from which a threshold is settled, ...
SETTLED_OPERATIONS: Final = 200  # ... and the operations in it
CALIBRATED_RULES: Final = tuple(name for name, rule in RULES.items() if rule.calibrated_from_s is not None)
VERSION: Final = 1  # of the stored form

_QUANTILES: Final = {name: quantile for name, (quantile, _) in STATISTICS.items() if quantile is not None}


@dataclass(frozen=True, slots=True)
class Periods:
    """The figures of one subject's periods, oldest first, one value for each."""

    since_us: int  # the start of the first hour with an operation
    until_us: int  # the end of what was read
    operations: Int64Array
    failures: Int64Array
    hours: NDArray[np.float64]  # the length
    times_ms: Mapping[str, NDArray[np.float64]]  # by statistic: average, p50, p95, p99

    def at(self, places: NDArray[np.bool_]) -> Periods:
        """Return some of the periods."""
        times_ms = {statistic: values[places] for statistic, values in self.times_ms.items()}
        counts = (self.operations[places], self.failures[places], self.hours[places])
        return Periods(self.since_us, self.until_us, *counts, times_ms)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed threshold, and the usual values that it comes from; times in milliseconds, rates in operations/min."""

    rule: str  # response_time or throughput
    statistic: str  # of the response time; average for the throughput
    value: float
    usual: float  # median over the periods; of the throughput, the rate of busy hours
    p95_ms: float  # 95% of the operations take less
    operations: int  # that it was learned from
    since_us: int
    until_us: int

    @property
    def raised(self) -> bool:
        """True if it is above the guide's threshold."""
        return self.value > guide_threshold(self.rule)


def guide_threshold(rule: str) -> float:
    """Return the documented default of a rule."""
    return float(Settings.model_fields[RULES[rule].setting].default)


def propose(rule: str, periods: Periods, statistic: str = "average", *, most: float = math.inf) -> Proposal | None:
    """Return the threshold of a rule for a subject with these periods; None without a period to learn from.

    A period with a value above ``most``, or with many failures, is an incident and is left out.
    """
    values = rates(periods) if rule == THROUGHPUT.name else periods.times_ms[statistic]
    good = periods.at((periods.failures <= FAILING * periods.operations) & (values <= most))
    if not good.operations.size:
        return None
    p95_ms = _quantile(good.times_ms["p95"], 0.5)
    if rule == THROUGHPUT.name:
        usual = _quantile(rates(good), BUSY)
        threshold = GROWTH * usual
    else:
        usual = _quantile(good.times_ms[statistic], 0.5)
        threshold = _slow(usual, p95_ms, statistic)
    value = rounded_up(max(threshold, guide_threshold(rule)))
    count = int(good.operations.sum())
    return Proposal(rule, statistic, value, usual, p95_ms, count, periods.since_us, periods.until_us)


def learned(rule: str, periods: Periods, before: Calibrated | None, now_us: int) -> Calibrated | None:
    """Return what is known of a subject by its whole history; ``before`` is what was known, and stays once settled.

    Until the history is long enough, thresholds are provisional: they only rise, and hours beyond them are left out.
    """
    age_us = now_us - periods.since_us
    # The first hour may have begun long before its first operation.
    if (before is not None and before.settled) or age_us - HOUR_US < calibrated_from_us(rule):
        return before
    settled = age_us >= SETTLED_US and int(periods.operations.sum()) >= SETTLED_OPERATIONS
    known = {} if before is None or settled else before.thresholds
    guide = guide_threshold(rule)
    proposals: dict[str, Proposal] = {}
    for statistic in STATISTICS if RULES[rule].statistic_setting else ("average",):
        value = known.get(statistic, guide)
        proposal = propose(rule, periods, statistic, most=value if value > guide else math.inf)
        if proposal is None:
            return before
        proposals[statistic] = proposal
    first = proposals["average"]
    return Calibrated(
        thresholds={name: max(proposal.value, known.get(name, 0.0)) for name, proposal in proposals.items()},
        operations=first.operations,
        since_us=periods.since_us,
        until_us=periods.until_us,
        settled=settled,
    )


def calibrated_from_us(rule: str) -> int:
    """Return the history in microseconds that a first threshold of a rule needs."""
    return int((RULES[rule].calibrated_from_s or 0) * 1e6)


def dumped(calibration: Mapping[Subject, Calibrated]) -> bytes:
    """Return what was learned, as it is stored."""
    # Row by row: one call for thousands of them would keep other threads waiting for 20 ms.
    rows = ", ".join(json.dumps(_row(subject, calibrated)) for subject, calibrated in calibration.items())
    return f'{{"version": {VERSION}, "subjects": [{rows}]}}'.encode()


def loaded(stored: bytes) -> dict[Subject, Calibrated]:
    """Return what ``dumped`` was given, without rules that this version does not calibrate.

    Raises:
        DamagedStateError: it cannot be read, or is of another version.
    """
    with parsing():
        state = json.loads(stored)
        if state["version"] != VERSION:
            raise ValueError(f"version {state['version']!r} is not {VERSION}")
        return dict(_loaded(row) for row in state["subjects"] if row[0] in CALIBRATED_RULES)


def _row(subject: Subject, calibrated: Calibrated) -> list[Any]:
    numbers = [calibrated.operations, calibrated.since_us, calibrated.until_us, calibrated.settled]
    return [subject.rule, subject.service, subject.operation, dict(calibrated.thresholds), *numbers]


def _loaded(row: list[Any]) -> tuple[Subject, Calibrated]:
    rule, service, operation, thresholds, operations, since_us, until_us, settled = row
    calibrated = Calibrated(
        thresholds={str(name): _finite(value) for name, value in thresholds.items()},
        operations=int(operations),
        since_us=int(since_us),
        until_us=int(until_us),
        settled=bool(settled),
    )
    return Subject(str(rule), str(service), str(operation)), calibrated


def _finite(value: Any) -> float:
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{number} is not a threshold")
    return number


def rates(periods: Periods) -> NDArray[np.float64]:
    """Return the operations/min of each period."""
    per_minute: NDArray[np.float64] = periods.operations / (60.0 * periods.hours)
    return per_minute


def _slow(usual: float, p95_ms: float, statistic: str) -> float:
    """Return the response time that is too slow: more times the usual one where durations vary more.

    The high quantiles of a window with few operations vary so much that they get the most.
    """
    least, most = (times * usual for times in TIMES)
    return most if statistic in {"p95", "p99"} else min(max(ABOVE_P95 * p95_ms, least), most)


def _quantile(values: NDArray[np.float64], share: float) -> float:
    """Return a quantile by nearest rank; of two middle values the lower one."""
    return float(np.sort(values)[max(math.ceil(share * values.size - 1e-9), 1) - 1])


class PeriodCollector:
    """The periods of some groups of series. Add the totals of each hour of their history, oldest first."""

    def __init__(self, since_us: Sequence[int]) -> None:
        """``since_us`` is the start of each group's history."""
        groups = len(since_us)
        self._since_us = np.array(since_us, dtype=np.int64)
        self._until_us = 0
        self._first_us = np.full(groups, -1, dtype=np.int64)
        self._counts = np.zeros((3, groups), dtype=np.int64)  # operations, failures, sum of durations, not yet enough
        self._hours = np.zeros(groups)
        self._buckets = np.zeros((groups, BUCKETS), dtype=np.int64)
        self._rows: list[NDArray[np.float64]] = []  # [periods, group and figures]

    def add(self, totals: Totals) -> None:
        """Add totals, whose bins are hours or longer; bins that were added before are left out.

        A store that has only whole days widens each range to these, so that ranges that follow each other overlap.
        """
        ends_us = [*totals.edges_us[1:].tolist(), totals.until_us]
        for place, (start_us, end_us) in enumerate(zip(totals.edges_us.tolist(), ends_us, strict=True)):
            if start_us < self._until_us:
                continue
            counts = np.stack([totals.counts[place], totals.failures[place], totals.sum_us[place]])
            self._add(start_us, end_us, counts, totals.buckets[place])

    def periods(self) -> list[Periods]:
        """Return the periods of each group; operations that do not fill a period yet are left out."""
        rows = np.concatenate([np.zeros((0, 8)), *self._rows])
        groups = range(self._first_us.size)
        first_us = np.where(self._first_us < 0, self._until_us, self._first_us).tolist()
        return [self._of(rows[rows[:, 0] == group], first_us[group]) for group in groups]

    def _add(self, start_us: int, end_us: int, counts: Int64Array, buckets: Int64Array) -> None:
        counts[:, self._since_us > start_us] = 0
        ran = counts[0] > 0
        self._until_us = end_us
        self._first_us[ran & (self._first_us < 0)] = start_us
        self._counts += counts
        self._hours[self._counts[0] > 0] += (end_us - start_us) / HOUR_US
        self._buckets[ran] += buckets[ran]
        full = np.flatnonzero((self._counts[0] >= PERIOD_OPERATIONS) & (self._hours >= PERIOD_HOURS))
        if not full.size:
            return
        operations, failures, sum_us = self._counts[:, full]
        found = quantiles(self._buckets[full], tuple(_QUANTILES.values())) / 1000
        figures: list[NDArray[Any]] = [full, operations, failures, self._hours[full]]
        figures += [averages_ms(operations, sum_us), *found.T]
        self._rows.append(np.column_stack(figures))
        self._counts[:, full], self._hours[full], self._buckets[full] = 0, 0.0, 0

    def _of(self, rows: NDArray[np.float64], since_us: int) -> Periods:
        _, operations, failures, hours, *times_ms = rows.T
        counts = (operations.astype(np.int64), failures.astype(np.int64))
        statistics = dict(zip(("average", *_QUANTILES), times_ms, strict=True))
        return Periods(since_us, self._until_us, *counts, hours, statistics)
