"""Compares two periods of a command, of a service or of all: response times, error rate, throughput, with confidence.

Both periods are reduced to the hours of the day that they share. The first minutes after a start, a new version or a
reload are left out: caches and connections are cold then. ``change_tests`` has the tests.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.query.change_tests import (
    PValues,
    failure_change,
    latency_change,
    rejected,
    stratified,
    throughput_change,
    typical_figures,
)
from cogmeter.query.comparison_periods import comparison_periods
from cogmeter.query.comparison_samples import read_samples
from cogmeter.query.records import Range
from cogmeter.recording.service_names import in_background
from cogmeter_storage.histogram import BUCKETS, upper_bound_of
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.change_tests import PeriodSample, Strata, TypicalFigures
    from cogmeter.query.comparison_periods import ComparisonPeriods
    from cogmeter.query.comparison_samples import ReadSample
    from cogmeter.query.query import Query
    from cogmeter_storage.errors import ErrorGroup
    from cogmeter_storage.model import Int64Array, Marker

FEWEST: Final = 60  # operations of each period
ALPHA: Final = 0.04  # the nominal probability of any false statement, with a margin below one in twenty
NOTICEABLE: Final = 0.05  # a smaller change of response times is none, however certain it is
NOTICEABLE_RATE: Final = 0.2  # of the error rate, relative
NOTICEABLE_VOLUME: Final = 0.2  # of the throughput
CERTAIN_VOLUME: Final = 0.001  # how unlikely a change of throughput is: days differ more than the hours of one day
ERROR_GROUPS: Final = 50  # last seen ones, of which the new ones are listed
BARS: Final = 40  # of a distribution
EDGES: Final = (0.002, 0.998)  # quantiles at which a distribution is cut off
# How much of ALPHA each statement gets: slower, faster, more errors, fewer errors.
WEIGHTS: Final = (0.6, 0.07, 0.3, 0.03)
CHECK_WEIGHTS: Final = (0.6, 0.4)  # in a check of many operations, which finds only what is slower or fails more


class ChangeVerdict(enum.StrEnum):
    """The verdict on a change."""

    WORSE = "worse"
    BETTER = "better"
    UNCHANGED = "unchanged"  # no change that is certain and noticeable
    TOO_FEW = "too_few"  # not enough operations
    NOT_JUDGED = "not_judged"  # of p50 and p95 the one that changed less clearly: the other one decides


@dataclass(frozen=True, slots=True)
class MeasuredChange:
    """A quantity in both periods: microseconds, a share, or operations per minute. None without operations."""

    verdict: ChangeVerdict
    statistic: str  # what is compared: p50, p95, error_rate or throughput
    before: float | None
    after: float | None
    p_value: float | None  # the probability of such a difference by chance; None if it is not judged

    @property
    def ratio(self) -> float | None:
        """The relative change, 0.38 for 38% more; None if there was nothing before."""
        return None if not self.before or self.after is None else self.after / self.before - 1

    @property
    def is_small(self) -> bool:
        """True for a change that is too small to be a verdict, however certain it is."""
        least = {"error_rate": NOTICEABLE_RATE, "throughput": NOTICEABLE_VOLUME}.get(self.statistic, NOTICEABLE)
        return not self.after if self.ratio is None else abs(self.ratio) < least


@dataclass(frozen=True, slots=True)
class ComparedPeriod:
    """One of the periods, as far as it is compared. Figures of the first one are weighted as the second one's hours."""

    range: Range
    operations: int
    failures: int
    warm_up: int  # operations that are left out, because they ended in the first minutes after a start
    other_hours: int  # operations that are left out, because the other period does not have their hour of the day
    figures: TypicalFigures
    shares: tuple[float, ...]  # of the operations in each bar of the distribution

    @property
    def left_out(self) -> int:
        """The operations of the range that are not compared."""
        return self.warm_up + self.other_hours


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two periods."""

    service: str | None  # None: all services
    operation: str | None
    marker: Marker | None  # between the periods
    before: ComparedPeriod
    after: ComparedPeriod
    latency: MeasuredChange  # of the percentile that changed most clearly
    percentiles: tuple[MeasuredChange, ...]  # p50 and p95
    errors: MeasuredChange
    throughput: MeasuredChange
    edges_us: tuple[float, ...]  # of the bars of the distributions: one more than bars; empty without operations
    hours: int  # hours of the day that are compared
    recorded_since_us: int | None = None  # the first record, if the first period begins before it
    # Groups that were first seen in the second period, most frequent first; none with too few operations in the first.
    new_errors: tuple[ErrorGroup, ...] = ()

    @property
    def range(self) -> Range:
        """The time from the start of the first period to the end of the second one."""
        return Range(self.before.range.since_us, self.after.range.until_us, "both periods")

    @property
    def verdict(self) -> ChangeVerdict:
        """The worst of response times and error rate."""
        found = (self.latency.verdict, self.errors.verdict)
        return next(verdict for verdict in _WORST_FIRST if verdict in found)


_WORST_FIRST: Final = (ChangeVerdict.WORSE, ChangeVerdict.BETTER, ChangeVerdict.UNCHANGED, ChangeVerdict.TOO_FEW)


class Tested(NamedTuple):
    """The results of the tests of two periods."""

    operations: tuple[int, int]
    figures: tuple[TypicalFigures, TypicalFigures]
    enough: bool
    latency: PValues
    failures: PValues
    throughput: PValues

    def slower(self, statistic: str = "") -> float:
        """Return the relative change of p50 or p95; 0 if it is not known."""
        before, after = (getattr(one, f"{statistic or self.latency.statistic}_us") for one in self.figures)
        return after / before - 1 if before and after is not None else 0.0

    def more_errors(self) -> float:
        """Return the relative change of the error rate; infinite where there was no error before."""
        before, after = (one.error_rate for one in self.figures)
        return after / before - 1 if before else float("inf") if after else 0.0


async def compare(
    query: Query,
    service: str | None = None,
    operation: str | None = None,
    *,
    before: str | None = None,
    after: str | None = None,
) -> Comparison:
    """Compare two periods of a service, an operation or (None) all services; see ``comparison_periods``.

    Raises:
        UnknownNameError: nothing is stored under that service or operation.
        UnknownPeriodError: a text is no period.
        StorageError: the store cannot be read.
    """
    if service is not None:
        service, operation = await query.subject_of(service, operation)
    ids = await query.ids(service, operation)
    if ids is None:
        ids = [series.id for series in await query.store.series() if not in_background(series.service)]
    periods = await comparison_periods(query, before, after)
    groups = dict.fromkeys(ids, 0)
    (earlier,), (later,) = [await read_samples(query, groups, span) for span in (periods.before, periods.after)]
    found = await asyncio.to_thread(_compared, service, operation, periods, earlier, later)
    first_us = await query.store.first_us()
    if first_us is None or first_us < periods.before.since_us + MINUTE_US:
        first_us = None
    known = found.before.operations + found.before.left_out >= FEWEST
    new_errors = await _new_errors(query, service, operation, periods.after) if known else ()
    return dataclasses.replace(found, recorded_since_us=first_us, new_errors=new_errors)


async def _new_errors(query: Query, service: str | None, operation: str | None, span: Range) -> tuple[ErrorGroup, ...]:
    services = None if service is None else [service]
    groups = await query.store.errors.groups(span.since_us, span.until_us, services=services, limit=ERROR_GROUPS)
    new = [
        group
        for group in groups
        if span.since_us <= group.first_us < span.until_us
        and (operation is None or any(place[:2] == (service, operation) for place in group.places))
    ]
    return tuple(sorted(new, key=lambda group: -group.count))


def tested_strata(strata: Strata) -> Tested:
    """Test everything about two periods; the p-values are 1 where there are not enough operations."""
    operations = strata.before.operations, strata.after.operations
    enough = min(operations) >= FEWEST
    tests = (latency_change, failure_change, throughput_change)
    values = [test(strata) if enough else PValues(1.0, 1.0, "p50") for test in tests]
    return Tested(operations, typical_figures(strata), enough, *values)


def changes(tested: Tested) -> tuple[MeasuredChange, MeasuredChange, MeasuredChange]:
    """Return the verdicts on response times, error rate and throughput."""
    before, after = tested.figures
    chances = (*tested.latency[:2], *tested.failures[:2])
    slower, faster, more, fewer = rejected(chances, WEIGHTS, ALPHA)
    change, errors = tested.slower(), tested.more_errors()
    volume = after.per_minute / before.per_minute - 1 if before.per_minute else 0.0
    certain = min(tested.throughput[:2]) < CERTAIN_VOLUME
    statistic = tested.latency.statistic
    return (
        MeasuredChange(
            _verdict(tested, slower and change >= NOTICEABLE, faster and change <= -NOTICEABLE),
            statistic,
            getattr(before, f"{statistic}_us"),
            getattr(after, f"{statistic}_us"),
            min(tested.latency[:2]),
        ),
        MeasuredChange(
            _verdict(tested, more and errors >= NOTICEABLE_RATE, fewer and errors <= -NOTICEABLE_RATE),
            "error_rate",
            before.error_rate if tested.operations[0] else None,
            after.error_rate if tested.operations[1] else None,
            min(tested.failures[:2]),
        ),
        MeasuredChange(
            _verdict(tested, certain and volume <= -NOTICEABLE_VOLUME, certain and volume >= NOTICEABLE_VOLUME),
            "throughput",
            before.per_minute if tested.operations[0] else None,
            after.per_minute if tested.operations[1] else None,
            min(tested.throughput[:2]),
        ),
    )


def worse(tested: Sequence[Tested]) -> list[tuple[bool, bool]]:
    """Return of each operation whether it is slower, and whether it fails more.

    With probability 1 - ALPHA nothing in the whole list is false, however long it is.
    """
    judged = [one for one in tested if one.enough]
    chances = [chance for one in judged for chance in (one.latency.up, one.failures.up)]
    decided = iter(rejected(chances, CHECK_WEIGHTS * len(judged), ALPHA))
    return [
        (next(decided) and one.slower() >= NOTICEABLE, next(decided) and one.more_errors() >= NOTICEABLE_RATE)
        if one.enough
        else (False, False)
        for one in tested
    ]


def _compared(
    service: str | None, operation: str | None, periods: ComparisonPeriods, earlier: ReadSample, later: ReadSample
) -> Comparison:
    """Return the comparison of what was read."""
    strata = stratified(earlier.sample, later.sample)
    tested = tested_strata(strata)
    latency, errors, throughput = changes(tested)
    edges, (shares_before, shares_after) = _distribution(strata)
    before, after = strata.before, strata.after
    return Comparison(
        service=service,
        operation=operation,
        marker=periods.marker,
        before=_period(periods.before, before, earlier, tested.figures[0], shares_before),
        after=_period(periods.after, after, later, tested.figures[1], shares_after),
        latency=latency,
        percentiles=tuple(_percentile(tested, latency, name) for name in ("p50", "p95")),
        errors=errors,
        throughput=throughput,
        edges_us=edges,
        hours=int(np.unique(after.hours).size),
    )


def _period(
    span: Range, sample: PeriodSample, read: ReadSample, figures: TypicalFigures, shares: tuple[float, ...]
) -> ComparedPeriod:
    other_hours = read.sample.operations - sample.operations
    failures = int(sample.failures.sum())
    return ComparedPeriod(span, sample.operations, failures, read.warm_up, other_hours, figures, shares)


def _verdict(tested: Tested, worse: bool, better: bool) -> ChangeVerdict:
    if not tested.enough:
        return ChangeVerdict.TOO_FEW
    return ChangeVerdict.WORSE if worse else ChangeVerdict.BETTER if better else ChangeVerdict.UNCHANGED


def _percentile(tested: Tested, latency: MeasuredChange, name: str) -> MeasuredChange:
    """Return p50 or p95; the verdict on the response times is that of the one which decided it."""
    before, after = (getattr(one, f"{name}_us") for one in tested.figures)
    if latency.statistic == name or not tested.enough:
        return MeasuredChange(latency.verdict, name, before, after, latency.p_value)
    return MeasuredChange(ChangeVerdict.NOT_JUDGED, name, before, after, None)


def _distribution(strata: Strata) -> tuple[tuple[float, ...], tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the edges in microseconds of at most BARS bars of equal width on a log scale, and the shares of both."""
    sums: list[Int64Array] = [sample.buckets.sum(axis=0) for sample in (strata.before, strata.after)]
    shares = [one / max(int(one.sum()), 1) for one in sums]
    whole = shares[0] + shares[1]
    if not whole.any():
        return (), ((), ())
    ranks = np.cumsum(whole) / whole.sum()
    first, last = (int(np.searchsorted(ranks, edge)) for edge in EDGES)
    first, last = max(min(first, last - 11), 1), max(last, 12)
    width = -(-(last + 1 - first) // BARS)
    starts = np.arange(first, last + 1, width)
    edges = upper_bound_of(np.append(starts - 1, min(int(starts[-1]) + width - 1, BUCKETS - 2)))
    parts = []
    for share in shares:
        bars = np.add.reduceat(share, starts)
        bars[0] += share[:first].sum()  # what is beyond an edge counts in the bar there
        parts.append(tuple(bars.tolist()))
    return tuple(edges.tolist()), (parts[0], parts[1])
