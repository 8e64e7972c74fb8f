"""Turns the store's totals into key figures. Every mean, percentile and rate of totals is computed here."""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import numpy as np

from cogmeter.query.records import Figures, RankedOperation
from cogmeter.recording.service_names import BY_OPERATION, in_background
from cogmeter.times import iso
from cogmeter_storage.histogram import quantiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from cogmeter.query.records import Range
    from cogmeter_storage.model import SeriesRecord, Totals

N = TypeVar("N", str, tuple[str, str])  # the name of a group

PERCENTILES: Final = (0.50, 0.95, 0.99)

_logger = logging.getLogger("cogmeter.query")


class GroupSums(NamedTuple):
    """The sums of groups of operations over a range, one row for each group."""

    outcomes: NDArray[np.int64]  # [n, 5], by Outcome
    sum_us: NDArray[np.int64]  # [n]
    max_us: NDArray[np.int64]  # [n]
    buckets: NDArray[np.int64]  # [n, BUCKETS]

    @classmethod
    def of(cls, totals: Totals) -> GroupSums:
        """Return the sums of each group over all bins; a single bin is not copied, because buckets take megabytes."""
        parts = cls(totals.outcomes, totals.sum_us, totals.max_us, totals.buckets)
        if totals.edges_us.size == 1:
            return cls(*(part[0] for part in parts))
        return parts._added()

    @classmethod
    def join(cls, parts: Sequence[GroupSums]) -> GroupSums:
        """Return the rows of all parts, one after another."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def part(self, groups: slice) -> GroupSums:
        """Return some of the rows."""
        return GroupSums(*(column[groups] for column in self))

    def together(self) -> GroupSums:
        """Return one row with the operations of all rows."""
        return GroupSums(*(column[None] for column in self._added()))

    def figures(self, totals: Totals, span: Range) -> list[Figures]:
        """Return the figures of each row; the totals are those that the rows were made of."""
        rows = figures_of_rows(*self, span_us=min(totals.until_us, span.until_us) - totals.since_us)
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug(
                "%s: %d operations in %d groups, from the slots of %s to %s;"
                " percentiles by nearest rank in buckets of 2%%",
                span.label,
                sum(row.operations for row in rows),
                len(rows),
                iso(totals.since_us),
                iso(totals.until_us),
            )
        return rows

    def _added(self) -> GroupSums:
        """Add up the first dimension."""
        outcomes, sum_us, buckets = (part.sum(axis=0) for part in (self.outcomes, self.sum_us, self.buckets))
        return GroupSums(outcomes, sum_us, self.max_us.max(axis=0, initial=0), buckets)


def figures(totals: Totals, span: Range) -> Figures:
    """Return the key figures of all groups and bins of the totals together."""
    return GroupSums.of(totals).together().figures(totals, span)[0]


def ranked(names: Sequence[N], totals: Totals, span: Range) -> list[tuple[N, Figures]]:
    """Return the figures of each group by its name, busiest first, without groups that have no operations."""
    return busiest_first(zip(names, GroupSums.of(totals).figures(totals, span), strict=True))


def busiest_first(named: Iterable[tuple[N, Figures]]) -> list[tuple[N, Figures]]:
    """Return names and figures in order of the operations, without those that have none; equal ones by name."""
    used = (pair for pair in named if pair[1].operations)
    return sorted(used, key=lambda pair: (-pair[1].operations, pair[0]))


def figures_of_rows(
    outcomes: np.ndarray, sum_us: np.ndarray, max_us: np.ndarray, buckets: np.ndarray, *, span_us: int
) -> list[Figures]:
    """Return the figures of each row of ``outcomes`` [n, 5], ``sum_us`` and ``max_us`` [n], ``buckets`` [n, BUCKETS].

    ``span_us`` is the length of the time range that each row covers.
    """
    counts = outcomes.sum(axis=1)
    with np.errstate(invalid="ignore"):
        means = sum_us / counts  # not a number without operations
    percentiles = quantiles(buckets, PERCENTILES, max_us=max_us)
    # Of equal durations, such as those of timeouts, the mean is exact, and no percentile is below it.
    equal = np.count_nonzero(buckets, axis=1) == 1
    percentiles[equal] = np.maximum(percentiles[equal], means[equal, None])
    columns = (counts, outcomes, means, percentiles, max_us)
    return [
        Figures(count, tuple(row), span_us, mean, p50, p95, p99, longest)
        if count
        else Figures(0, tuple(row), span_us, None, None, None, None, None)
        for count, row, mean, (p50, p95, p99), longest in zip(*(column.tolist() for column in columns), strict=True)
    ]


def means(totals: Totals) -> list[float | None]:
    """Return the mean duration of each bin in microseconds, over all groups; None without operations."""
    sums = zip(totals.sum_us.sum(axis=1).tolist(), totals.counts.sum(axis=1).tolist(), strict=True)
    return [sum_us / count if count else None for sum_us, count in sums]


def rates(counts: np.ndarray, minutes: Sequence[float]) -> list[float]:
    """Return the operations per minute of each bin; ``counts`` [bins, groups], ``minutes`` the length of each bin."""
    return [count / length for count, length in zip(counts.sum(axis=1).tolist(), minutes, strict=True)]


class OverviewGroups:
    """The groups of series of an overview: one for each service, and one for each operation with its own rank."""

    def __init__(self, known: Sequence[SeriesRecord]) -> None:
        # The store returns them in alphabetical order; sorting thousands of names again would block the loop.
        self._operations = [(one.service, one.operation) for one in known if one.service in BY_OPERATION]
        others = [service for service in dict.fromkeys(one.service for one in known) if service not in BY_OPERATION]
        self._own = [service for service in others if not in_background(service)]
        self._background = [service for service in others if in_background(service)]
        self._front = len(self._own) + len(self._operations)  # groups before those of the background services
        by_name: dict[object, int] = {name: number for number, name in enumerate([*self._own, *self._operations])}
        by_name |= {name: self._front + number for number, name in enumerate(self._background)}
        self.numbers = {
            one.id: by_name[(one.service, one.operation) if one.service in BY_OPERATION else one.service]
            for one in known
        }

    def figures(
        self, totals: Totals, span: Range
    ) -> tuple[Figures, list[tuple[str, Figures]], list[RankedOperation], list[tuple[str, Figures]]]:
        """Return the figures of all, of each foreground service, of each operation, of each background service."""
        groups = GroupSums.of(totals)
        own, operations, background = (
            groups.part(slice(*bounds)) for bounds in pairwise((0, len(self._own), self._front, None))
        )
        service_of = [service for service, _ in self._operations]
        names = list(dict.fromkeys(service_of))
        bounds = [*map(service_of.index, names), None]
        services = GroupSums.join([own, *(operations.part(slice(*bound)).together() for bound in pairwise(bounds))])
        return (
            services.together().figures(totals, span)[0],
            busiest_first(zip([*self._own, *names], services.figures(totals, span), strict=True)),
            [
                RankedOperation(*name, figures)
                for name, figures in busiest_first(zip(self._operations, operations.figures(totals, span), strict=True))
            ],
            busiest_first(zip(self._background, background.figures(totals, span), strict=True)),
        )
