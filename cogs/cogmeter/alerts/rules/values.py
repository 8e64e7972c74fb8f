"""What the rules measure: pure functions over counts, the same for the window in memory and for stored slots.

Arrays have one value for each service (or series); ``buckets`` is [..., BUCKETS], see cogmeter_storage.histogram.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter_storage.histogram import BUCKETS, bucket_of, quantiles, value_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[Any]
    Values = NDArray[np.float64]

STATISTICS: Final[dict[str, tuple[float | None, str]]] = {
    "average": (None, "Average"),
    "p50": (0.50, "Median"),
    "p95": (0.95, "95th percentile"),
    "p99": (0.99, "99th percentile"),
}
LATE_US: Final = 2_000_000  # a first response is a near miss from here on; Discord gives up after three seconds

_VALUES_US: Final = value_of(np.arange(BUCKETS))
_FIRST_LATE: Final = int(bucket_of(LATE_US)) + 1


def error_rates(operations: Counts, failures: Counts) -> Values:
    """The share of operations that failed; 0 without operations."""
    rates: Values = failures / np.maximum(operations, 1)
    return rates


def averages_ms(operations: Counts, sum_us: Counts) -> Values:
    """The mean duration in milliseconds; 0 without operations."""
    means: Values = sum_us / (np.maximum(operations, 1) * 1000.0)
    return means


def quantiles_ms(buckets: Counts, quantile: float) -> Values:
    """A quantile of the durations in milliseconds, within 1%; 0 without operations."""
    return np.nan_to_num(quantiles(buckets.astype(np.int64), (quantile,))[..., 0] / 1000)


def first_above(threshold_ms: float) -> int:
    """The first bucket whose answer is above the threshold: BUCKETS if there is none."""
    return int(np.searchsorted(_VALUES_US, threshold_ms * 1000, side="right"))


def quantile_above(operations: Counts, above: Counts, quantile: float) -> NDArray[np.bool_]:
    """Whether the quantile is above a threshold, from how many operations are: no quantile has to be found for it.

    By nearest rank, the quantile is above it when fewer than ceil(quantile * n) operations are at or below it.
    """
    result: NDArray[np.bool_] = (operations > 0) & (
        operations - above < np.maximum(np.ceil(quantile * operations - 1e-9), 1)
    )
    return result


def per_minute(operations: Counts, span_s: float) -> Values:
    """Operations a minute. In its first minute a window knows too little for a rate: it is taken as a whole minute."""
    rates: Values = operations.astype(np.float64) * (60.0 / max(span_s, 60.0))
    return rates


def late_shares(operations: Counts, failures: Counts, buckets: Counts) -> Values:
    """The share of first responses that took over two seconds, or that failed if those are more.

    A miss takes three seconds, so it is among the late ones; only what Discord refused at once is not.
    """
    late = np.maximum(buckets[..., _FIRST_LATE:].sum(axis=-1), failures)
    shares: Values = late / np.maximum(operations, 1)
    return shares


def longest_ms(buckets: Counts) -> Values:
    """The longest duration in milliseconds, within 1%; 0 without operations."""
    top = BUCKETS - 1 - (buckets[..., ::-1] > 0).argmax(axis=-1)
    longest: Values = np.where(buckets.any(axis=-1), _VALUES_US[top] / 1000, 0.0)
    return longest


def burn_rates(operations: Counts, failures: Counts, target: float | Values) -> Values:
    """How many times faster than allowed the error budget is used up: error rate / (1 - target)."""
    rates: Values = error_rates(operations, failures) / (1.0 - np.asarray(target))
    return rates


def silence(operations: Counts, expected: Values, burstiness: float | Values = 0.0) -> Values:
    """A bound on the probability of so few operations where so many are usual, as the natural logarithm.

    Chernoff's for the lower tail of a negative binomial variable X with mean m and variance m + m^2 / k, where
    burstiness is 1 / k: ln P(X <= x) <= x ln(m / x) - (x + k) ln((m + k) / (x + k)), for x < m. Without burstiness it
    is that of a Poisson variable, x - m + x ln(m / x).
    """
    few = np.minimum(operations.astype(np.float64), expected)
    mean, size = np.maximum(expected, 1e-12), 1.0 / np.maximum(burstiness, 1e-9)
    own = np.where(few > 0, few * np.log(mean / np.maximum(few, 1e-12)), 0.0)
    bound: Values = own - (few + size) * np.log1p((mean - few) / (few + size))
    return bound


def excess(operations: Counts, failures: Counts, usual: Values) -> Values:
    """A bound on the probability of so many failures where the share ``usual`` fails, as the natural logarithm.

    Chernoff's for the upper tail of a binomial variable X of n operations with probability p: for k > n p,
    ln P(X >= k) <= -n (q ln(q / p) + (1 - q) ln((1 - q) / (1 - p))) with q = k / n. 0 where no more fail than usual.
    """
    rate = np.maximum(error_rates(operations, failures), usual)
    with np.errstate(divide="ignore", invalid="ignore"):
        failed = np.where(rate > 0, rate * np.log(rate / usual), 0.0)
        went_well = np.where(rate < 1, (1 - rate) * np.log((1 - rate) / (1 - usual)), 0.0)
    bound: Values = -operations * (failed + went_well)
    return bound


def values_of(
    rule: str,
    *,
    operations: Counts,
    failures: Counts,
    sum_us: Counts,
    buckets: Counts,
    span_s: float,
    statistic: str = "average",
    target: float = 0.99,
) -> Values:
    """The value that a rule holds against its threshold, from the counts of any stretch of ``span_s`` seconds.

    Raises:
        KeyError: the rule is not one that is measured by counts alone.
    """
    quantile, _ = STATISTICS[statistic]
    measures = {
        "error_rate": lambda: error_rates(operations, failures),
        "response_time": lambda: (
            averages_ms(operations, sum_us) if quantile is None else quantiles_ms(buckets, quantile)
        ),
        "throughput": lambda: per_minute(operations, span_s),
        "acknowledgement": lambda: late_shares(operations, failures, buckets),
        "stall": lambda: longest_ms(buckets),
        "burn_rate": lambda: burn_rates(operations, failures, target),
    }
    return measures[rule]()
