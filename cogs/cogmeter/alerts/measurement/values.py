"""The values that rules compare: pure functions over counts, for the window in memory and for stored slots alike.

Arrays have one value for each service (or series); ``buckets`` is [..., BUCKETS], see cogmeter_storage.histogram.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter_storage.histogram import BUCKETS, bucket_of, quantiles, value_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    CountArray = NDArray[Any]
    Values = NDArray[np.float64]

STATISTICS: Final[dict[str, tuple[float | None, str]]] = {
    "average": (None, "Average"),
    "p50": (0.50, "Median"),
    "p95": (0.95, "95th percentile"),
    "p99": (0.99, "99th percentile"),
}
LATE_US: Final = 2_000_000  # from here on a first response is late; Discord's limit is three seconds

_VALUES_US: Final = value_of(np.arange(BUCKETS))
_FIRST_LATE: Final = int(bucket_of(LATE_US)) + 1


def error_rates(operations: CountArray, failures: CountArray) -> Values:
    """Return the share of operations that failed; 0 without operations."""
    rates: Values = failures / np.maximum(operations, 1)
    return rates


def averages_ms(operations: CountArray, sum_us: CountArray) -> Values:
    """Return the mean duration in milliseconds; 0 without operations."""
    means: Values = sum_us / (np.maximum(operations, 1) * 1000.0)
    return means


def quantiles_ms(buckets: CountArray, quantile: float) -> Values:
    """Return a quantile of the durations in milliseconds, within 1%; 0 without operations."""
    found: Values = quantiles(buckets.astype(np.int64), (quantile,))[..., 0] / 1000
    return np.where(np.isnan(found), 0.0, found)


def statistics_ms(statistic: str, operations: CountArray, sum_us: CountArray, buckets: CountArray) -> Values:
    """Return one of ``STATISTICS`` of the durations in milliseconds."""
    quantile, _ = STATISTICS[statistic]
    return averages_ms(operations, sum_us) if quantile is None else quantiles_ms(buckets, quantile)


def first_above(threshold_ms: float) -> int:
    """Return the first bucket whose value is above the threshold; BUCKETS if there is none."""
    return int(np.searchsorted(_VALUES_US, threshold_ms * 1000, side="right"))


def quantile_above(operations: CountArray, above: CountArray, quantile: float) -> NDArray[np.bool_]:
    """Return whether the quantile is above a threshold, from the number of operations above it.

    By nearest rank, the quantile is above it when fewer than ceil(quantile * n) operations are at or below it.
    """
    result: NDArray[np.bool_] = (operations > 0) & (
        operations - above < np.maximum(np.ceil(quantile * operations - 1e-9), 1)
    )
    return result


def per_minute(operations: CountArray, span_s: float) -> Values:
    """Return operations/min. A span of less than a minute counts as a whole minute."""
    rates: Values = operations.astype(np.float64) * (60.0 / max(span_s, 60.0))
    return rates


def late_shares(operations: CountArray, failures: CountArray, buckets: CountArray) -> Values:
    """Return the share of first responses that took over two seconds, or that failed if those are more.

    A missed response takes three seconds, so it counts as late; one that Discord refused at once does not.
    """
    late = np.maximum(buckets[..., _FIRST_LATE:].sum(axis=-1), failures)
    shares: Values = late / np.maximum(operations, 1)
    return shares


def longest_ms(buckets: CountArray) -> Values:
    """Return the longest duration in milliseconds, within 1%; 0 without operations."""
    top = BUCKETS - 1 - (buckets[..., ::-1] > 0).argmax(axis=-1)
    longest: Values = np.where(buckets.any(axis=-1), _VALUES_US[top] / 1000, 0.0)
    return longest


def burn_rates(operations: CountArray, failures: CountArray, target: float | Values) -> Values:
    """Return how many times faster than allowed the error budget is used up: error rate / (1 - target)."""
    rates: Values = error_rates(operations, failures) / (1.0 - np.asarray(target))
    return rates


def silence(operations: CountArray, expected: Values, burstiness: float | Values = 0.0) -> Values:
    """Return the logarithm of a bound on the probability of this few operations, given the expected number.

    This is Chernoff's bound for the lower tail of a negative binomial variable X with mean m and variance m + m^2 / k,
    where burstiness is 1 / k: ln P(X <= x) <= x ln(m / x) - (x + k) ln((m + k) / (x + k)), for x < m. Without
    burstiness it is the bound of a Poisson variable, x - m + x ln(m / x).
    """
    few = np.minimum(operations.astype(np.float64), expected)
    mean, size = np.maximum(expected, 1e-12), 1.0 / np.maximum(burstiness, 1e-9)
    own = np.where(few > 0, few * np.log(mean / np.maximum(few, 1e-12)), 0.0)
    bound: Values = own - (few + size) * np.log1p((mean - few) / (few + size))
    return bound


def excess(operations: CountArray, failures: CountArray, usual: Values) -> Values:
    """Return the logarithm of a bound on the probability of this many failures, given the usual share.

    This is Chernoff's bound for the upper tail of a binomial variable X of n operations with probability p:
    for k > n p, ln P(X >= k) <= -n (q ln(q / p) + (1 - q) ln((1 - q) / (1 - p))) with q = k / n. It is 0 if the
    share is not above the usual one.
    """
    rate = np.maximum(error_rates(operations, failures), usual)
    with np.errstate(divide="ignore", invalid="ignore"):
        failed = np.where(rate > 0, rate * np.log(rate / usual), 0.0)
        succeeded = np.where(rate < 1, (1 - rate) * np.log((1 - rate) / (1 - usual)), 0.0)
    bound: Values = -operations * (failed + succeeded)
    return bound


def rounded_up(value: float) -> float:
    """Round a positive value up to two significant digits: 1830 becomes 1900."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.12g}")
