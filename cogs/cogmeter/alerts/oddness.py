"""How rare a figure is among those seen so far: a histogram that forgets, with a power law where it has no counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKETS: Final = 64  # four to a doubling, from 1/8 to 2^13: beyond, sizes differ by the power law alone
_PER_DOUBLING: Final = 4
_ONE: Final = 12  # the bucket that begins at 1
_TOP_SHARE: Final = 0.02  # the law is fitted to so much of what was seen, ...
_TOP_LEAST: Final = 5.0  # ... and to at least so many
_EXPONENT: Final = 4.0  # of the law before anything is known, ...
_EXPONENT_WEIGHT: Final = 10.0  # ... which counts as much as so many figures
_EXPONENTS: Final = (1.0, 8.0)
_BEYOND_EVIDENCE: Final = 3.0  # decades that the law may claim beyond one in all that was seen
_FIT_EVERY: Final = 32
_LOG_STEP: Final = math.log(2) / _PER_DOUBLING


class Tail:
    """The distribution of a figure that is 0 or more, and about 1 where it says nothing.

    ``surprise(figure)`` is minus the decimal logarithm of the share of figures that were as large: 3 is one in a
    thousand. It is counted where there are counts, and otherwise the power law that fits the largest ones: Hill's
    estimator (Hill 1975), drawn towards a usual exponent while few are known.
    """

    __slots__ = ("_age", "_counts", "_exponent", "_from", "_share", "_total", "_unit")

    _NUMBERS: Final = ("_total", "_unit", "_age", "_from", "_share", "_exponent")

    def __init__(self) -> None:
        self._counts = [0.0] * _BUCKETS
        self._total = 0.0
        self._unit = 1.0  # what one figure counts now: it grows, instead of all counts shrinking
        self._age = 0  # figures until the law is fitted again
        self._from, self._share, self._exponent = (
            2.0,
            _TOP_SHARE,
            _EXPONENT,
        )  # the law: where it begins, and how it falls

    def surprise(self, figure: float) -> float:
        """Decades of rarity, 0 for what is usual, never more than three beyond what the evidence can say."""
        total = self._total / self._unit
        if figure <= 1.0 or total < _TOP_LEAST:
            return 0.0
        bucket = _bucket(figure)
        counts = self._counts
        share = (sum(counts[bucket + 1 :]) + 0.5 * counts[bucket]) / self._unit / (total + 1.0)
        if figure > self._from:
            share = max(share, self._share * (figure / self._from) ** -self._exponent)
        most = math.log10(total + 1.0) + _BEYOND_EVIDENCE
        return min(-math.log10(share), most) if share > 0.0 else most

    def add(self, figure: float, weight: float, fading: float) -> None:
        """Count a figure; what was counted before is worth less by the factor ``fading``, which is 1 or more."""
        self._unit *= fading
        weight *= self._unit
        self._counts[_bucket(figure)] += weight
        self._total += weight
        self._age -= 1
        if self._age <= 0:
            self._fit()

    def numbers(self) -> Iterator[float]:
        """All that it knows."""
        yield from self._counts
        for name in self._NUMBERS:
            yield getattr(self, name)

    def take(self, numbers: Iterator[float]) -> None:
        """Know again what ``numbers`` gave."""
        self._counts = [next(numbers) for _ in range(_BUCKETS)]
        for name in self._NUMBERS:
            setattr(self, name, next(numbers))

    def _fit(self) -> None:
        if self._unit > 1e9:
            self._counts = [count / self._unit for count in self._counts]
            self._total, self._unit = self._total / self._unit, 1.0
        unit, counts = self._unit, self._counts
        need = max(_TOP_SHARE * self._total, _TOP_LEAST * unit)
        bucket, above, logs = _BUCKETS - 1, 0.0, 0.0
        for bucket in range(_BUCKETS - 1, _ONE, -1):
            count = counts[bucket]
            above += count
            logs += count * (bucket + 0.5 - _ONE) * _LOG_STEP
            if above >= need:
                break
        begin = (bucket - _ONE) * _LOG_STEP
        prior = _EXPONENT_WEIGHT * unit
        exponent = (above + prior) / (logs - above * begin + prior / _EXPONENT)
        self._exponent = min(max(exponent, _EXPONENTS[0]), _EXPONENTS[1])
        self._from = math.exp(begin)
        self._share = (above + 0.5 * unit) / (self._total + unit)
        self._age = min(_FIT_EVERY, max(1, int(self._total / unit / 8)))


def _bucket(figure: float) -> int:
    if figure < 0.126:
        return 0
    return min(int(_PER_DOUBLING * math.log2(figure) + _ONE), _BUCKETS - 1)
