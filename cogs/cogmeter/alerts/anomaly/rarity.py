"""The rarity of figures among those seen so far: decaying histograms, with a power law beyond their counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BUCKETS: Final = 64  # four per doubling, from 1/8 to 2^13; above, only the power law distinguishes sizes
_PER_DOUBLING: Final = 4
_ONE: Final = 12  # the bucket that begins at 1
_LOG_STEP: Final = math.log(2) / _PER_DOUBLING
_TOP_SHARE: Final = 0.02  # share of the largest figures to which the law is fitted
_TOP_LEAST: Final = 5.0  # the least number of figures to which it is fitted
_EXPONENT: Final = 4.0  # exponent of the law before any figure is known
_EXPONENT_WEIGHT: Final = 10.0  # figures that this first exponent counts as
_EXPONENTS: Final = (1.0, 8.0)
_BEYOND: Final = 2.0  # decades beyond the counted figures that the law may add fully
_SLOWING: Final = 3.0  # decades that it may add with decreasing weight after that
_FIT_EVERY: Final = 32

_log2 = math.log2  # called six times for each value of a series


class Tail:
    """The counts of one figure, and the power law of its largest: begin, share beyond it, and exponent."""

    __slots__ = ("begin", "counts", "exponent", "share")

    def __init__(self) -> None:
        self.counts = [0.0] * _BUCKETS
        self.begin, self.share, self.exponent = 2.0, _TOP_SHARE, _EXPONENT

    def fit(self, total: float, unit: float) -> None:
        """Fit the law to the largest figures: Hill's estimator (Hill 1975), drawn towards a usual exponent."""
        need = max(_TOP_SHARE * total, _TOP_LEAST * unit)
        bucket, above, logs = _BUCKETS - 1, 0.0, 0.0
        for bucket in range(_BUCKETS - 1, _ONE, -1):
            count = self.counts[bucket]
            above += count
            logs += count * (bucket + 0.5 - _ONE) * _LOG_STEP
            if above >= need:
                break
        begin = (bucket - _ONE) * _LOG_STEP
        prior = _EXPONENT_WEIGHT * unit
        exponent = (above + prior) / (logs - above * begin + prior / _EXPONENT)
        self.exponent = min(max(exponent, _EXPONENTS[0]), _EXPONENTS[1])
        self.begin = math.exp(begin)
        self.share = (above + 0.5 * unit) / (total + unit)


class RarityScorer:
    """The distributions of some figures that are 0 or more, and about 1 for a usual value."""

    __slots__ = ("_age", "_buckets", "_tails", "_total", "_unit")

    def __init__(self, figures: int) -> None:
        self._tails = [Tail() for _ in range(figures)]
        self._buckets = [0] * figures  # that the last figures fell into
        self._total = 0.0  # all that was counted
        self._unit = 1.0  # what a figure counts now: it grows, instead of all counts shrinking
        self._age = 0.0  # figures until the laws are fitted again

    def surprises(self, figures: Sequence[float]) -> list[float]:
        """Return the rarity of each figure: minus the decimal logarithm of the share that was as large; 3 is rare.

        The share is counted where there are counts, and otherwise taken from the power law. The further it is beyond
        what the evidence can say, the less a larger figure adds.
        """
        total = self._total / self._unit
        scale = self._unit * (total + 1.0)
        most = math.log10(total + 1.0) + _BEYOND
        surprises = []
        for place, figure in enumerate(figures):
            bucket = int(_PER_DOUBLING * _log2(figure) + _ONE) if figure > 0.126 else 0
            if bucket >= _BUCKETS:
                bucket = _BUCKETS - 1
            self._buckets[place] = bucket
            if figure <= 1.0 or total < _TOP_LEAST:
                surprises.append(0.0)
                continue
            tail = self._tails[place]
            share = (sum(tail.counts[bucket + 1 :]) + 0.5 * tail.counts[bucket]) / scale
            surprise = -math.log10(share) if share > 0.0 else math.inf
            if figure > tail.begin:
                surprise = min(surprise, tail.exponent * math.log10(figure / tail.begin) - math.log10(tail.share))
            if surprise > most:
                beyond = min(surprise, 1e3) - most
                surprise = most + _SLOWING * beyond / (beyond + _SLOWING)
            surprises.append(surprise)
        return surprises

    def count(self, weight: float, fading: float) -> None:
        """Count the last figures of ``surprises``; earlier counts lose the factor ``fading``, 1 or more."""
        self._unit *= fading
        weight *= self._unit
        for tail, bucket in zip(self._tails, self._buckets, strict=True):
            tail.counts[bucket] += weight
        self._total += weight
        self._age -= 1.0
        if self._age <= 0.0:
            self._fit()

    def numbers(self) -> Iterator[float]:
        """Yield the whole state."""
        yield from (self._total, self._unit, self._age)
        for tail in self._tails:
            yield from tail.counts
            yield from (tail.begin, tail.share, tail.exponent)

    def take(self, numbers: Iterator[float]) -> None:
        """Restore the state that ``numbers`` yielded."""
        self._total, self._unit, self._age = (next(numbers) for _ in range(3))
        for tail in self._tails:
            tail.counts = [next(numbers) for _ in range(_BUCKETS)]
            tail.begin, tail.share, tail.exponent = (next(numbers) for _ in range(3))

    def _fit(self) -> None:
        if self._unit > 1e9:
            for tail in self._tails:
                tail.counts = [count / self._unit for count in tail.counts]
            self._total, self._unit = self._total / self._unit, 1.0
        for tail in self._tails:
            tail.fit(self._total, self._unit)
        self._age = float(min(_FIT_EVERY, max(1, int(self._total / self._unit / 8))))
