"""Logarithmic duration histograms: which bucket a duration falls into, and which duration a quantile stands for.

Bucket 0 holds durations of zero. Bucket i >= 1 holds (RATIO**(i-2), RATIO**(i-1)] microseconds, and answers with the
value whose relative distance to both bounds is the same, 2 * RATIO**(i-1) / (RATIO + 1); so no answer is off by more
than (RATIO - 1) / (RATIO + 1) = 0.99 %. (The sketch of Masson, Rim and Lee, "DDSketch", VLDB 2019, equation 3.)
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
    """The bucket of each duration (microseconds, any shape); negative ones count as zero."""
    durations = np.asarray(duration_us, dtype=np.float64)
    # The small subtraction keeps an exact power of the ratio in the bucket that it closes.
    index = np.ceil(np.log(np.maximum(durations, 1.0)) / _LOG_RATIO - 1e-9) + 1
    return np.where(durations > 0, np.minimum(index, BUCKETS - 1), 0).astype(np.int64)


def value_of(bucket: ArrayLike) -> NDArray[np.float64]:
    """The duration in microseconds that each bucket answers with."""
    index = np.asarray(bucket, dtype=np.float64)
    return np.where(index > 0, 2.0 * RATIO ** (index - 1) / (RATIO + 1.0), 0.0)


def upper_bound_of(bucket: ArrayLike) -> NDArray[np.float64]:
    """Return the largest duration in microseconds that each bucket counts; the last bucket has no such bound."""
    index = np.asarray(bucket, dtype=np.float64)
    bound = np.where(index > 0, RATIO ** (index - 1), 0.0)
    return np.where(index < BUCKETS - 1, bound, np.inf)


def quantiles(buckets: NDArray[np.int64], probabilities: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles by nearest rank (the smallest value that at least the share q of all values does not exceed).

    ``buckets`` is [..., BUCKETS]; the answer is [..., len(probabilities)], microseconds, NaN where there is no
    operation.
    """
    cumulative = buckets.cumsum(axis=-1)
    count = cumulative[..., -1]
    answers = np.full((*count.shape, len(probabilities)), np.nan)
    for position, probability in enumerate(probabilities):
        # The small subtraction undoes float noise such as 0.95 * 20 = 19.000000000000004.
        rank = np.maximum(np.ceil(probability * count - 1e-9), 1)
        reached = (cumulative >= rank[..., None]).argmax(axis=-1)
        answers[..., position] = np.where(count > 0, value_of(reached), np.nan)
    return answers
