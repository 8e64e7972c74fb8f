"""Turns the store's totals into key figures. Every mean, percentile and rate of totals is computed here."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from cogmeter.query.records import Figures
from cogmeter.times import iso
from cogmeter_storage.histogram import quantiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cogmeter.query.records import Range
    from cogmeter_storage.model import Totals

N = TypeVar("N", str, tuple[str, str])  # the name of a group

PERCENTILES: Final = (0.50, 0.95, 0.99)

_logger = logging.getLogger("cogmeter.query")


def figures(totals: Totals, span: Range) -> Figures:
    """Return the key figures of all groups and bins of the totals together."""
    return _figures(totals, span, merged=True)[0]


def ranked(names: Sequence[N], totals: Totals, span: Range) -> list[tuple[N, Figures]]:
    """Return the figures of each group by its name, busiest first, without groups that have no operations."""
    return busiest_first(pair for pair in zip(names, _figures(totals, span), strict=True) if pair[1].operations)


def busiest_first(named: Iterable[tuple[N, Figures]]) -> list[tuple[N, Figures]]:
    """Return names and figures in order of the operations; equal ones in alphabetical order."""
    return sorted(named, key=lambda pair: (-pair[1].operations, pair[0]))


def select_groups(totals: Totals, groups: slice) -> Totals:
    """Return the totals of some of the groups."""
    return dataclasses.replace(
        totals,
        outcomes=totals.outcomes[:, groups],
        sum_us=totals.sum_us[:, groups],
        max_us=totals.max_us[:, groups],
        buckets=totals.buckets[:, groups],
    )


def figures_of_rows(
    outcomes: np.ndarray, sum_us: np.ndarray, max_us: np.ndarray, buckets: np.ndarray, *, span_us: int
) -> list[Figures]:
    """Return the figures of each row of ``outcomes`` [n, 5], ``sum_us`` and ``max_us`` [n], ``buckets`` [n, BUCKETS].

    ``span_us`` is the length of the time range that each row covers.
    """
    percentiles = quantiles(buckets, PERCENTILES)
    rows = zip(outcomes.tolist(), sum_us.tolist(), max_us.tolist(), percentiles.tolist(), strict=True)
    return [_figures_of_row(*row, span_us=span_us) for row in rows]


def _figures_of_row(
    outcomes: list[int], sum_us: int, max_us: int, percentiles: list[float], *, span_us: int
) -> Figures:
    count = sum(outcomes)
    # A bucket's middle may lie a little above the slowest operation in it.
    p50, p95, p99 = (min(value, max_us) for value in percentiles) if count else (None, None, None)
    return Figures(
        operations=count,
        outcomes=tuple(outcomes),
        span_us=span_us,
        mean_us=sum_us / count if count else None,
        p50_us=p50,
        p95_us=p95,
        p99_us=p99,
        max_us=max_us if count else None,
    )


def _figures(totals: Totals, span: Range, *, merged: bool = False) -> list[Figures]:
    """Return the figures of each group over all bins, or of all groups as one."""
    over = (0, 1) if merged else (0,)
    figures = figures_of_rows(
        np.atleast_2d(totals.outcomes.sum(axis=over)),
        np.atleast_1d(totals.sum_us.sum(axis=over)),
        np.atleast_1d(totals.max_us.max(axis=over, initial=0)),
        np.atleast_2d(totals.buckets.sum(axis=over)),
        span_us=min(totals.until_us, span.until_us) - totals.since_us,
    )
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(
            "%s: %d operations in %d groups, from the slots of %s to %s; percentiles by nearest rank in buckets of 2%%",
            span.label,
            sum(row.operations for row in figures),
            len(figures),
            iso(totals.since_us),
            iso(totals.until_us),
        )
    return figures


def rates(counts: np.ndarray, minutes: Sequence[float]) -> list[float]:
    """Return the operations per minute of each bin; ``counts`` [bins, groups], ``minutes`` the length of each bin."""
    return [count / length for count, length in zip(counts.sum(axis=1).tolist(), minutes, strict=True)]
