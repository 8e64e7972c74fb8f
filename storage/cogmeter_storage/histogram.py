"""Logarithmic duration histograms: the bucket of a duration, and the duration of a quantile.

Bucket 0 counts durations of zero. Bucket i >= 1 counts (RATIO**(i-2), RATIO**(i-1)] microseconds. Its value has the
same relative distance to both bounds: 2 * RATIO**(i-1) / (RATIO + 1). So the error is at most (RATIO - 1) / (RATIO + 1)
= 0.99%. Source: Masson, Rim and Lee, "DDSketch", VLDB 2019, equation 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

RATIO = 1.02
BUCKETS = 1536  # the last one begins beyond 180 days
_LOG_RATIO = math.log(RATIO)


def bucket_of(duration_us: ArrayLike) -> NDArray[np.int64]:
    """Return the bucket of each duration (microseconds, any shape); negative ones count as zero."""
    durations = np.asarray(duration_us, dtype=np.float64)
    # The small subtraction keeps an exact power of the ratio in the bucket that it closes.
    index = np.ceil(np.log(np.maximum(durations, 1.0)) / _LOG_RATIO - 1e-9) + 1
    return np.where(durations > 0, np.minimum(index, BUCKETS - 1), 0).astype(np.int64)


def value_of(bucket: ArrayLike) -> NDArray[np.float64]:
    """Return the duration in microseconds that represents each bucket."""
    index = np.asarray(bucket, dtype=np.float64)
    return np.where(index > 0, 2.0 * RATIO ** (index - 1) / (RATIO + 1.0), 0.0)


def upper_bound_of(bucket: ArrayLike) -> NDArray[np.float64]:
    """Return the largest duration in microseconds that each bucket counts; the last bucket has no bound."""
    index = np.asarray(bucket, dtype=np.float64)
    bound = np.where(index > 0, RATIO ** (index - 1), 0.0)
    return np.where(index < BUCKETS - 1, bound, np.inf)


def quantiles(
    buckets: NDArray[np.int64], probabilities: Sequence[float], *, max_us: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return quantiles by nearest rank: the smallest value that at least the share q of all values does not exceed.

    ``buckets`` is [..., BUCKETS]; the result is [..., len(probabilities)] in microseconds, NaN without operations.
    ``max_us`` [...] is the largest value of each row, if known: no quantile exceeds it, and those whose rank is the
    last one are exact. So of one operation all quantiles are its duration, and of up to 19 the p95 is the maximum.
    """
    # Most durations fall into a third of the buckets; the others are not added up.
    filled = np.flatnonzero(buckets.max(axis=tuple(range(buckets.ndim - 1)), initial=0))
    first, last = (int(filled[0]), int(filled[-1])) if filled.size else (0, 0)
    width = last + 1 - first
    # One running total over all rows: it rises, so one binary search finds a rank after all rows before its own.
    cumulative = np.cumsum(buckets[..., first : last + 1], dtype=np.int64)
    ends = cumulative[width - 1 :: width]
    count = ends.copy()
    count[1:] -= ends[:-1]
    # The small subtraction undoes float noise such as 0.95 * 20 = 19.000000000000004.
    ranks = np.maximum(np.ceil(np.multiply.outer(count, probabilities) - 1e-9), 1).astype(np.int64)
    found = np.searchsorted(cumulative, ranks + (ends - count)[:, None]) - np.arange(0, cumulative.size, width)[:, None]
    has_operations = count[:, None] > 0
    values = np.where(has_operations, value_of(np.where(has_operations, found + first, 0)), np.nan)
    if max_us is not None:
        largest = np.asarray(max_us, dtype=np.float64).reshape(-1, 1)
        values = np.where(has_operations & (ranks == count[:, None]), largest, np.minimum(values, largest))
    return values.reshape(*buckets.shape[:-1], len(probabilities))
