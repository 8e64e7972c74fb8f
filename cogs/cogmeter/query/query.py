"""The read side: turns the store's totals into the records that embeds, charts, exports and pages show."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from cogmeter.query.records import Figures, Overview, Period, Range, ServiceStats, Summary, Timeline, UnknownNameError
from cogmeter.query.suggestions import suggest
from cogmeter.recording.background import paced
from cogmeter.recording.buffer import DROPPED
from cogmeter.recording.service_names import BACKGROUND
from cogmeter_storage.clock import clock
from cogmeter_storage.histogram import quantiles
from cogmeter_storage.model import MINUTE_US, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cogmeter_storage.base import Store

PERCENTILES = (0.50, 0.95, 0.99)
TOGETHER = 32  # histograms whose percentiles are worked out in one turn of the loop: about half a millisecond
LISTED = 5  # slowest operations, recent errors

_logger = logging.getLogger("cogmeter.query")


def now_us() -> int:
    """The wall time, in microseconds since 1970 UTC."""
    return clock.now_us()


class Query:
    """Answers questions about what is stored."""

    def __init__(self, store: Store, *, clock: Callable[[], int] = now_us) -> None:
        self.store = store  # set anew when a corrupt one is replaced
        self._clock = clock

    async def names(self) -> dict[str, list[str]]:
        """Each stored service with its operation names, both in alphabetical order."""
        names: dict[str, list[str]] = {}
        for series in await self.store.series():
            names.setdefault(series.service, []).append(series.operation)
        return names

    def span(self, period: Period | Range) -> Range:
        """The range itself, or that of the period that ends now."""
        return period if isinstance(period, Range) else period.range_at(self._clock())

    async def covered(self, span: Range) -> Range:
        """Return the range from the first record on, where nothing was recorded before: a chart begins there.

        Time without operations between two records stays: it is a measurement.
        """
        first_us = (await self.store.status()).first_end_us
        if first_us is None or first_us <= span.since_us:
            return span
        groups = {series.id: 0 for series in await self.store.series()}
        # Raw operations are deleted before slots are, so that the first one need not be the first record.
        if (await self.store.totals(span.since_us, span.since_us + span.step_us, groups=groups)).counts.any():
            return span
        since_us = await self._first_bin(span, groups)
        markers = await self.store.markers(span.since_us, since_us)  # such as the start of the bot
        return dataclasses.replace(span, since_us=markers[0].at_us // MINUTE_US * MINUTE_US if markers else since_us)

    async def _first_bin(self, span: Range, groups: Mapping[int, int]) -> int:
        """Return the start of the first bin with operations, in bins that become finer as the range shrinks."""
        while True:
            totals = await self.store.totals(span.since_us, span.until_us, groups=groups, step_us=span.step_us)
            filled = np.flatnonzero(totals.counts.sum(axis=1))
            if not filled.size or not filled[0]:
                return span.since_us
            span = dataclasses.replace(span, since_us=int(totals.edges_us[filled[0]]))

    async def overview(
        self, period: Period | Range = Period.DAY, *, services: Collection[str] | None = None
    ) -> Overview:
        """The key figures of all services (or of those named) together, and each one's own."""
        span = self.span(period)
        series = [one for one in await self.store.series() if services is None or one.service in services]
        # The store gives them in alphabetical order; sorting thousands of names again would hold the loop.
        alphabetical = dict.fromkeys(one.service for one in series)
        names = [one for one in alphabetical if one not in BACKGROUND]
        names += [one for one in alphabetical if one in BACKGROUND]
        place = {service: number for number, service in enumerate(names)}
        # One reading serves both: what people asked for stands in front, what ran in the background behind it.
        border = len(names) - sum(service in BACKGROUND for service in names)
        groups = {one.id: place[one.service] for one in series}
        totals = await self.store.totals(span.since_us, span.until_us, groups=groups)
        front, behind = _part(totals, slice(0, border)), _part(totals, slice(border, None))

        def made() -> tuple[Figures, list[tuple[str, Figures]], list[tuple[str, Figures]]]:
            # In a thread: the percentiles of hundreds of services take some milliseconds.
            return figures(front, span), _ranked(names[:border], front, span), _ranked(names[border:], behind, span)

        total, ranked, background = await asyncio.to_thread(made)
        last_end_us = (await self.store.status()).last_end_us
        return Overview(
            range=span,
            total=total,
            services=ranked,
            background=background,
            last_end_us=last_end_us,
            dropped=await self._dropped(span),
        )

    async def summary(self, period: Period | Range = Period.DAY, *, services: Collection[str] | None = None) -> Summary:
        """The overview, with the period before and the timeline of the whole."""
        view = await self.overview(period, services=services)
        span = view.range
        series = [one for one in await self.store.series() if services is None or one.service in services]
        counted = {one.id: 0 for one in series if one.service not in BACKGROUND}
        before = await self.store.totals(span.before.since_us, span.before.until_us, groups=counted)
        return Summary(
            range=span,
            total=view.total,
            before=figures(before, span.before),
            services=view.services,
            background=view.background,
            timeline=await self._timeline("All services", counted, span, await self.covered(span)),
            last_end_us=view.last_end_us,
            dropped=view.dropped,
        )

    async def _dropped(self, span: Range) -> int:
        """How many operations were dropped in the range, as far as the store knows: each sample counts some of them."""
        samples = await self.store.samples([DROPPED], span.since_us, span.until_us)
        return int(sum(value for _, value in samples[DROPPED]))

    async def stats(
        self, service: str, operation: str | None = None, period: Period | Range = Period.DAY
    ) -> ServiceStats:
        """The statistics of one service or of one operation in it.

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        span = self.span(period)
        ids = await self._ids(service, operation)
        operations = sorted(ids)
        group_of = {ids[name]: number for number, name in enumerate(operations)}
        everything = dict.fromkeys(group_of, 0)
        totals = await self.store.totals(span.since_us, span.until_us, groups=group_of)
        before = await self.store.totals(span.before.since_us, span.before.until_us, groups=everything)
        at = (tuple(group_of), span.since_us, span.until_us)
        return ServiceStats(
            range=span,
            service=service,
            operation=operation,
            total=figures(totals, span),
            before=figures(before, span.before),
            operations=_ranked(operations, totals, span),
            slowest=await self.store.slowest(*at, limit=LISTED),
            errors=await self.store.recent(*at, limit=LISTED, failed=True),
            timeline=await self._timeline(
                _title(service, operation),
                everything,
                span,
                await self.covered(span),
                service=service,
                operation=operation,
            ),
            last_end_us=(await self.store.status()).last_end_us,
        )

    async def operations(self, service: str, period: Period | Range = Period.DAY) -> dict[str, Figures]:
        """Return the key figures of each operation of a service, the busiest first; none for an unknown service."""
        span = self.span(period)
        ids = {one.operation: one.id for one in await self.store.series() if one.service == service}
        if not ids:
            return {}
        names = sorted(ids)
        groups = {ids[name]: number for number, name in enumerate(names)}
        return dict(_ranked(names, await self.store.totals(span.since_us, span.until_us, groups=groups), span))

    async def timeline(
        self,
        service: str | None = None,
        operation: str | None = None,
        period: Period | Range = Period.HOUR,
        *,
        step_us: int | None = None,
        trim: bool = False,
    ) -> Timeline:
        """Return what a chart of one service, of one operation or of all services draws, in bins of ``step_us``.

        With ``trim``, the bins begin with the first record (see ``covered``).

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        span = self.span(period)
        if service is None:
            ids = [one.id for one in await self.store.series() if one.service not in BACKGROUND]
            title = "All services"
        else:
            ids = list((await self._ids(service, operation)).values())
            title = _title(service, operation)
        return await self._timeline(
            title,
            dict.fromkeys(ids, 0),
            span,
            await self.covered(span) if trim else span,
            step_us,
            service=service,
            operation=operation,
        )

    async def ids(self, service: str | None, operation: str | None = None) -> list[int] | None:
        """The store's ids of the series of a service, or of one operation in it; None, which is all, without either.

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        return None if service is None else list((await self._ids(service, operation)).values())

    async def known(self, services: Collection[str]) -> None:
        """Make sure that each of these services is stored.

        Raises:
            UnknownNameError: one is not.
        """
        stored = {one.service for one in await self.store.series()}
        for service in services:
            if service not in stored:
                raise UnknownNameError("service", service, await suggest(service, stored))

    async def _ids(self, service: str, operation: str | None) -> dict[str, int]:
        """The series ids of a service by operation name, narrowed to one operation if given."""
        series = await self.store.series()
        ids = {one.operation: one.id for one in series if one.service == service}
        if not ids:
            raise UnknownNameError("service", service, await suggest(service, {one.service for one in series}))
        if operation is None:
            return ids
        if operation not in ids:
            raise UnknownNameError("operation", operation, await suggest(operation, ids))
        return {operation: ids[operation]}

    async def _timeline(
        self,
        title: str,
        groups: Mapping[int, int],
        span: Range,
        covered: Range,
        step_us: int | None = None,
        *,
        service: str | None = None,
        operation: str | None = None,
    ) -> Timeline:
        """Return the bins of ``covered``, which is the part of ``span`` that has records."""
        step_us = step_us or covered.step_us
        totals = await self.store.totals(covered.since_us, covered.until_us, groups=groups, step_us=step_us)
        edges = totals.edges_us.tolist()
        ends = [*edges[1:], totals.until_us] if edges else []
        # The last bin is still filling: its rate is over the part that has passed, at least a second of it.
        minutes = [
            max(min(end, span.until_us) - edge, 1_000_000) / MINUTE_US for edge, end in zip(edges, ends, strict=True)
        ]
        parts = [totals.buckets[start : start + TOGETHER] for start in range(0, len(edges), TOGETHER)]
        merged = np.concatenate(
            [np.empty((0, len(PERCENTILES))), *[quantiles(one.sum(axis=1), PERCENTILES) async for one in paced(parts)]]
        )
        return Timeline(
            title=title,
            range=span,
            step_us=step_us,
            edges_us=edges,
            per_minute=_rates(totals.counts, minutes),
            failures_per_minute=_rates(totals.failures, minutes),
            p50_us=_column(merged, 0),
            p95_us=_column(merged, 1),
            p99_us=_column(merged, 2),
            service=service,
            alias="" if service is None or title.isascii() else await self._alias(service, operation),
        )

    async def _alias(self, service: str, operation: str | None) -> str:
        """Return a title in plain letters: each other name as its number in the order of first recording."""
        series = sorted(await self.store.series(), key=lambda one: one.id)
        services = list(dict.fromkeys(one.service for one in series))
        operations = [one.operation for one in series if one.service == service]
        return _title(_plain(service, "service", services), operation and _plain(operation, "operation", operations))


def _plain(name: str, kind: str, names: list[str]) -> str:
    return name if name.isascii() or name not in names else f"{kind} {names.index(name) + 1}"


def figures(totals: Totals, span: Range) -> Figures:
    """The key figures of all groups and bins of the totals together."""
    return _figures(totals, span, merged=True)[0]


def _title(service: str, operation: str | None) -> str:
    return service if operation is None else f"{service} / {operation}"


def _part(totals: Totals, groups: slice) -> Totals:
    """The totals of some of the groups."""
    return dataclasses.replace(
        totals,
        outcomes=totals.outcomes[:, groups],
        sum_us=totals.sum_us[:, groups],
        max_us=totals.max_us[:, groups],
        buckets=totals.buckets[:, groups],
    )


def _ranked(names: Sequence[str], totals: Totals, span: Range) -> list[tuple[str, Figures]]:
    """Figures by name, busiest first, without those that did nothing in the range."""
    ranked = zip(names, _figures(totals, span), strict=True)
    return sorted((one for one in ranked if one[1].operations), key=lambda one: (-one[1].operations, one[0]))


def _told(totals: Totals, span: Range, made: Sequence[Figures]) -> None:
    """Say at debug how figures came about."""
    if not _logger.isEnabledFor(logging.DEBUG):
        return
    since, until = (datetime.fromtimestamp(at_us / 1e6, UTC) for at_us in (totals.since_us, totals.until_us))
    _logger.debug(
        "%s: %d operations in %d groups, from the slots of %s to %s; percentiles by nearest rank in buckets of 2%%",
        span.label,
        sum(one.operations for one in made),
        len(made),
        since.isoformat(timespec="seconds"),
        until.isoformat(timespec="seconds"),
    )


def _figures(totals: Totals, span: Range, *, merged: bool = False) -> list[Figures]:
    """The figures of each group over all bins, or of all groups as one."""
    over = (0, 1) if merged else (0,)
    outcomes = np.atleast_2d(totals.outcomes.sum(axis=over))
    sums = np.atleast_1d(totals.sum_us.sum(axis=over))
    highest = np.atleast_1d(totals.max_us.max(axis=over, initial=0))
    answers = quantiles(np.atleast_2d(totals.buckets.sum(axis=over)), PERCENTILES)
    covered_us = min(totals.until_us, span.until_us) - totals.since_us
    rows = zip(outcomes.tolist(), sums.tolist(), highest.tolist(), answers.tolist(), strict=True)
    made = [_one(*row, span_us=covered_us) for row in rows]
    _told(totals, span, made)
    return made


def _one(outcomes: list[int], sum_us: int, max_us: int, answers: list[float], *, span_us: int) -> Figures:
    count = sum(outcomes)
    # A bucket's answer may lie a little beyond the slowest operation in it.
    p50, p95, p99 = (min(one, max_us) for one in answers) if count else (None, None, None)
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


def _rates(counts: np.ndarray, minutes: Sequence[float]) -> list[float]:
    return [count / length for count, length in zip(counts.sum(axis=1).tolist(), minutes, strict=True)]


def _column(answers: np.ndarray, index: int) -> list[float | None]:
    return [None if value != value else value for value in answers[:, index].tolist()]  # noqa: PLR0124 - NaN alone differs from itself
