"""Tests whether two periods differ: rank tests of response times, an exact test of failures, a test of throughput.

Operations are compared within the same hours of the day, so that a daily rhythm is no change. Each test is a
permutation test: if nothing changed, each operation of such hours is equally likely to be in either period.

Response times have two linear rank statistics. One is the mean rank (van Elteren, 1960: Wilcoxon's test in strata). The
other is the mean of a score of the slowest tenth, which finds a slower tail that the first one overlooks: 0 below the
rank 90%, then from -0.5 up to 1, so that it rises when the slowest operations take longer, and when there are more of
them. The larger one counts, with the probability that the larger of two correlated normal values
exceeds it. Failures have the exact conditional distribution of their number after the change (Mehta, Patel and Gray,
1985), which is Fisher's exact test where there is one stratum.

Operations of a few minutes are often slow or failing together. Where bins of the same hours vary more than operations
that are independent would, the variance is multiplied by that ratio (quasi-likelihood: McCullagh and Nelder, 1989).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter_storage.histogram import quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cogmeter_storage.model import Int64Array

STRATA_HOURS: Final = (1, 2, 3, 4, 6, 8, 12, 24)
PER_STRATUM: Final = 20  # operations of the smaller period in a stratum, on average: fewer say little about the tail
TAIL: Final = 0.9  # the rank from which operations have a score of the tail; chosen with benchmarks/compare.py, as is
TAIL_SCORES: Final = (-0.5, 1.0)  # the score there and at the slowest one
SURE: Final = 1.645  # standard deviations by which bins vary more than chance, before the variance is corrected
MOST_EXACT: Final = 1_000  # failures; of more, the normal distribution is as good
_WEIGHT: Final = 1_000  # of an operation, so that weighted counts stay whole numbers
_STEPS: Final = 400  # of a numerical integral


@dataclass(frozen=True, slots=True)
class PeriodSample:
    """The operations of a period, by bin of time."""

    hours: Int64Array  # [bins] hour of the day (UTC)
    lengths_us: Int64Array  # [bins]
    failures: Int64Array  # [bins]
    buckets: Int64Array  # [bins, BUCKETS], see ``cogmeter_storage.histogram``

    @property
    def counts(self) -> Int64Array:
        """Operations: [bins]."""
        counts: Int64Array = self.buckets.sum(axis=1)
        return counts

    @property
    def operations(self) -> int:
        """The number of operations."""
        return int(self.buckets.sum())

    def where(self, kept: NDArray[np.bool_]) -> PeriodSample:
        """Return some of the bins."""
        return PeriodSample(self.hours[kept], self.lengths_us[kept], self.failures[kept], self.buckets[kept])


class Strata(NamedTuple):
    """Two periods, reduced to the same hours of the day; ``*_of`` has the stratum of each bin."""

    before: PeriodSample
    after: PeriodSample
    before_of: Int64Array
    after_of: Int64Array


class PValues(NamedTuple):
    """The probabilities of a change at least as large as the one found, if there was none: up, down."""

    up: float
    down: float
    statistic: str = ""  # p50 or p95: what changed most clearly, of response times


class TypicalFigures(NamedTuple):
    """Figures of a period; those of the first period are weighted as the hours of the second one."""

    p50_us: float | None
    p95_us: float | None
    error_rate: float
    per_minute: float


def stratified(before: PeriodSample, after: PeriodSample) -> Strata:
    """Return the bins of the hours of the day that both periods have, in strata of one hour or of several."""
    shared = np.intersect1d(before.hours, after.hours)
    before, after = (one.where(np.isin(one.hours, shared)) for one in (before, after))
    smaller = min(before.operations, after.operations)
    width = next(
        (width for width in STRATA_HOURS if smaller >= PER_STRATUM * np.unique(shared // width).size), STRATA_HOURS[-1]
    )
    return Strata(before, after, before.hours // width, after.hours // width)


def typical_figures(strata: Strata) -> tuple[TypicalFigures, TypicalFigures]:
    """Return the figures of both periods, without strata in which one of them has no operation."""
    ids = np.unique(np.concatenate([strata.before_of, strata.after_of]))
    before, after = (_summed(sample.buckets, of, ids) for sample, of in _pairs(strata))
    failed = [_summed(sample.failures, of, ids) for sample, of in _pairs(strata)]
    counts, weights = before.sum(axis=1), after.sum(axis=1)
    used = (counts > 0) & (weights > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(used, weights / counts, 0.0)
    sums = (np.rint(before * (ratios * _WEIGHT)[:, None]).astype(np.int64).sum(axis=0), after[used].sum(axis=0))
    whole = max(int(weights[used].sum()), 1)
    rates = (float((failed[0] * ratios).sum()) / whole, float(failed[1][used].sum()) / whole)
    first, second = (
        TypicalFigures(*_percentiles(buckets), rate, per_minute)
        for buckets, rate, per_minute in zip(sums, rates, _per_minute(strata), strict=True)
    )
    return first, second


def latency_change(strata: Strata) -> PValues:
    """Test whether response times rose or fell."""
    pooled = strata.before.buckets.sum(axis=0) + strata.after.buckets.sum(axis=0)
    filled = np.flatnonzero(pooled)
    scores = _scores(pooled[filled])
    found = _linear(strata, strata.before.buckets[:, filled], strata.after.buckets[:, filled], scores)
    if found is None:
        return PValues(1.0, 1.0, "p50")
    (rank, tail), correlation = found
    up, down = (_exceeded(max(sign * rank, sign * tail), correlation) for sign in (1, -1))
    sign = 1 if up <= down else -1
    return PValues(up, down, "p95" if sign * tail > sign * rank else "p50")


def failure_change(strata: Strata) -> PValues:
    """Test whether the error rate rose or fell."""
    before, after = (
        np.column_stack([sample.counts - sample.failures, sample.failures]) for sample, _ in _pairs(strata)
    )
    failed = np.array([0.0, 1.0])
    found = _linear(strata, before, after, np.stack([failed, failed]))
    if found is None:
        return PValues(1.0, 1.0)
    z = found[0][0]
    failures = int(before[:, 1].sum() + after[:, 1].sum())
    if failures > MOST_EXACT or _dispersion(strata, before, after, failed) > 1:
        return PValues(upper_tail(z), upper_tail(-z))
    return _exact(strata, before, after)


def throughput_change(strata: Strata) -> PValues:
    """Test whether there were more or fewer operations per minute; bins of the same hours show how much it varies."""
    variation, freedom = 0.0, 0
    for sample, of in _pairs(strata):
        for stratum in np.unique(of).tolist():
            inside = of == stratum
            counts, lengths = sample.counts[inside], sample.lengths_us[inside]
            expected = lengths * (counts.sum() / lengths.sum())
            if counts.sum():
                variation += float(((counts - expected) ** 2 / expected).sum())
                freedom += int(inside.sum()) - 1
    rates = _per_minute(strata)
    if not all(rates):
        return PValues(1.0, 1.0)
    dispersion = max(variation / freedom, 1.0) if freedom else 1.0
    information = 1 / strata.before.operations + 1 / strata.after.operations
    z = math.log(rates[1] / rates[0]) / math.sqrt(dispersion * information)
    return PValues(upper_tail(z), upper_tail(-z))


def upper_tail(z: float) -> float:
    """Return the probability that a standard normal value exceeds ``z``."""
    return math.erfc(z / math.sqrt(2)) / 2


def rejected(p_values: Sequence[float], weights: Sequence[float], alpha: float) -> list[bool]:
    """Return which hypotheses to reject, so that with probability 1 - alpha no true one is among them.

    Holm's procedure with weights (Holm, "A simple sequentially rejective multiple test procedure", 1979, section 4).
    """
    order = sorted(range(len(p_values)), key=lambda number: p_values[number] / weights[number])
    rejections, rest = [False] * len(p_values), sum(weights)
    for number in order:
        if p_values[number] * rest > alpha * weights[number]:
            break
        rejections[number] = True
        rest -= weights[number]
    return rejections


def _pairs(strata: Strata) -> tuple[tuple[PeriodSample, Int64Array], tuple[PeriodSample, Int64Array]]:
    return (strata.before, strata.before_of), (strata.after, strata.after_of)


def _summed(values: Int64Array, of: Int64Array, ids: Int64Array) -> Int64Array:
    """Return the sums of the bins of each stratum."""
    sums = np.zeros((ids.size, *values.shape[1:]), dtype=np.int64)
    np.add.at(sums, np.searchsorted(ids, of), values)
    return sums


def _percentiles(buckets: Int64Array) -> tuple[float | None, float | None]:
    if not buckets.any():
        return None, None
    p50, p95 = quantiles(buckets[None], (0.5, 0.95))[0].tolist()
    return p50, p95


def _per_minute(strata: Strata) -> tuple[float, float]:
    """Return the throughput of both periods; that of the first is the mean of its hours, weighted by the second's."""
    hours = np.unique(strata.after.hours)
    (counts, lengths), (later_counts, later_lengths) = (
        (_summed(sample.counts, sample.hours, hours), _summed(sample.lengths_us, sample.hours, hours))
        for sample in (strata.before, strata.after)
    )
    minutes = max(float(later_lengths.sum()) / 60e6, 1e-9)
    expected = float((counts * (later_lengths / np.maximum(lengths, 1))).sum())
    return expected / minutes, float(later_counts.sum()) / minutes


def _scores(pooled: Int64Array) -> NDArray[np.float64]:
    """Return the scores [2, buckets] of the operations in each bucket: their mean rank, and their score of the tail."""
    ends = np.cumsum(pooled) / pooled.sum()
    starts = np.concatenate([[0.0], ends[:-1]])
    low, high = TAIL_SCORES

    def integral(rank: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = np.maximum(rank - TAIL, 0.0)
        area: NDArray[np.float64] = low * inside + (high - low) * inside**2 / (2 * (1 - TAIL))
        return area

    return np.stack([(starts + ends) / 2, (integral(ends) - integral(starts)) / (ends - starts)])


def _linear(
    strata: Strata, before: Int64Array, after: Int64Array, scores: NDArray[np.float64]
) -> tuple[tuple[float, float], float] | None:
    """Return the standardised sums of two scores over the second period, and their correlation; None without spread.

    ``before`` and ``after`` are counts [bins, categories], ``scores`` [2, categories].
    """
    ids = np.unique(np.concatenate([strata.before_of, strata.after_of]))
    first, second = _summed(before, strata.before_of, ids), _summed(after, strata.after_of, ids)
    excess, covariance = np.zeros(2), np.zeros((2, 2))
    for earlier, later in zip(first, second, strict=True):
        pooled, count = earlier + later, int(later.sum())
        whole = int(pooled.sum())
        if not 0 < count < whole:
            continue
        mean = scores @ pooled / whole
        centred = scores - mean[:, None]
        excess += centred @ later
        covariance += (centred * pooled) @ centred.T * (count * (whole - count) / (whole * (whole - 1)))
    variances = np.diag(covariance)
    if (variances <= 0).any():
        return None
    deviations = np.sqrt(variances)
    correlation = float(covariance[0, 1] / (deviations[0] * deviations[1]))
    dispersion = np.array([_dispersion(strata, before, after, row) for row in scores])
    rank, tail = (excess / deviations / np.sqrt(dispersion)).tolist()
    return (rank, tail), correlation


def _dispersion(strata: Strata, before: Int64Array, after: Int64Array, scores: NDArray[np.float64]) -> float:
    """Return how much more the means of bins of a stratum and period vary than those of independent operations.

    1 where that may be chance.
    """
    variation, freedom = 0.0, 0
    variances = _variances(strata, before, after, scores)
    for table, of in ((before, strata.before_of), (after, strata.after_of)):
        counts, sums = table.sum(axis=1), table @ scores
        for stratum in np.unique(of).tolist():
            inside = (of == stratum) & (counts > 0)
            size, variance = counts[inside], variances.get(stratum, 0.0)
            if inside.sum() < 2 or variance <= 0:
                continue
            means = sums[inside] / size
            mean = float(sums[inside].sum() / size.sum())
            variation += float((size * (means - mean) ** 2).sum()) / variance
            freedom += int(inside.sum()) - 1
    if not freedom or variation / freedom <= 1 + SURE * math.sqrt(2 / freedom):
        return 1.0
    return variation / freedom


def _variances(strata: Strata, before: Int64Array, after: Int64Array, scores: NDArray[np.float64]) -> dict[int, float]:
    """Return the variance of the scores in each stratum, over both periods."""
    ids = np.unique(np.concatenate([strata.before_of, strata.after_of]))
    pooled = _summed(before, strata.before_of, ids) + _summed(after, strata.after_of, ids)
    whole = np.maximum(pooled.sum(axis=1), 2)
    means = pooled @ scores / whole
    squares = pooled @ scores**2 - whole * means**2
    return dict(zip(ids.tolist(), (squares / (whole - 1)).tolist(), strict=True))


def _exceeded(z: float, correlation: float) -> float:
    """Return the probability that the larger of two standard normal values with this correlation exceeds ``z``."""
    spread = math.sqrt(max(1 - correlation**2, 1e-12))
    low = min(-8.0, z - 1)
    width = (z - low) / _STEPS
    places = (low + width * (step + 0.5) for step in range(_STEPS))
    both = sum(math.exp(-x * x / 2) * upper_tail((z - correlation * x) / spread) for x in places)
    return min(upper_tail(z) + both * width / math.sqrt(2 * math.pi), 1.0)


def _exact(strata: Strata, before: Int64Array, after: Int64Array) -> PValues:
    """Return the exact probabilities of at least, and at most, that many failures in the second period."""
    ids = np.unique(np.concatenate([strata.before_of, strata.after_of]))
    first, second = _summed(before, strata.before_of, ids), _summed(after, strata.after_of, ids)
    probabilities, found = np.ones(1), int(second[:, 1].sum())
    for (good, bad), (later_good, later_bad) in zip(first.tolist(), second.tolist(), strict=True):
        sizes = good + bad, later_good + later_bad, bad + later_bad
        probabilities = np.convolve(probabilities, _hypergeometric(*sizes))
    return PValues(min(float(probabilities[found:].sum()), 1.0), min(float(probabilities[: found + 1].sum()), 1.0))


def _hypergeometric(before: int, after: int, failures: int) -> NDArray[np.float64]:
    """Return the probabilities of 0..failures failures in the second period, given all of both."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, before + after + 1)))])
    later = np.arange(failures + 1)
    possible = (later <= after) & (failures - later <= before)
    chances = np.zeros(failures + 1)
    part = later[possible]
    earlier = failures - part
    chances[possible] = np.exp(
        (logs[after] - logs[part] - logs[after - part])
        + (logs[before] - logs[earlier] - logs[before - earlier])
        - (logs[before + after] - logs[failures] - logs[before + after - failures])
    )
    return chances
