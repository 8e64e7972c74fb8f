"""The class Query: reads totals and rows from the store and returns the records that every surface shows."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.query.name_matching import suggest
from cogmeter.query.records import Overview, Period, Range, ServiceStats, Summary, Timeline, UnknownNameError
from cogmeter.query.statistics import PERCENTILES, figures, ranked, rates, select_groups
from cogmeter.recording.background import paced
from cogmeter.recording.buffer import DROPPED
from cogmeter.recording.service_names import in_background
from cogmeter_storage.clock import clock
from cogmeter_storage.histogram import quantiles
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cogmeter.query.records import Figures
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SeriesRecord

BINS_PER_SLICE: Final = 32  # bins whose percentiles are computed in one turn of the loop: about half a millisecond
LISTED: Final = 5  # slowest operations, recent errors


def now_us() -> int:
    """Return the wall time in microseconds since 1970 UTC."""
    return clock.now_us()


class Query:
    """The read side of a store."""

    def __init__(self, store: Store, *, clock: Callable[[], int] = now_us) -> None:
        self.store = store  # replaced when the store's file is corrupt
        self._clock = clock

    async def names(self) -> dict[str, list[str]]:
        """Return each stored service with its operation names, both in alphabetical order."""
        names: dict[str, list[str]] = {}
        for series in await self.store.series():
            names.setdefault(series.service, []).append(series.operation)
        return names

    def span(self, period: Period | Range) -> Range:
        """Return the range itself, or the range of the period that ends now."""
        return period if isinstance(period, Range) else period.range_at(self._clock())

    async def covered(self, span: Range) -> Range:
        """Return the range from the first record on, where nothing was recorded before: a chart begins there.

        Time without operations between two records stays: it is a measurement.
        """
        first_us = await self.store.first_us()
        if first_us is None or first_us <= span.since_us:
            return span
        covered = span
        while True:  # the bins become narrower as the range shrinks
            # Without groups the store computes the bins only, which takes a fraction of a millisecond.
            bins = await self.store.totals(covered.since_us, covered.until_us, groups={}, step_us=covered.step_us)
            index = int(np.searchsorted(bins.edges_us, first_us, side="right")) - 1
            if index <= 0 or first_us >= bins.until_us:
                break
            covered = dataclasses.replace(covered, since_us=int(bins.edges_us[index]))
        if covered is span:
            return span
        markers = await self.store.markers(span.since_us, covered.since_us)  # such as the start of the bot
        return dataclasses.replace(span, since_us=markers[0].at_us // MINUTE_US * MINUTE_US) if markers else covered

    async def overview(
        self, period: Period | Range = Period.DAY, *, services: Collection[str] | None = None
    ) -> Overview:
        """Return the figures of all services, or of these ones, together and one by one."""
        span = self.span(period)
        known = await self._series_of(services)
        # The store returns them in alphabetical order; sorting thousands of names again would block the loop.
        alphabetical = dict.fromkeys(series.service for series in known)
        names = [service for service in alphabetical if not in_background(service)]
        border = len(names)
        names += [service for service in alphabetical if in_background(service)]
        group_of = {service: group for group, service in enumerate(names)}
        # One read serves both: the background services are the groups from ``border`` on.
        groups = {series.id: group_of[series.service] for series in known}
        totals = await self.store.totals(span.since_us, span.until_us, groups=groups)
        front, back = select_groups(totals, slice(0, border)), select_groups(totals, slice(border, None))

        def compute() -> tuple[Figures, list[tuple[str, Figures]], list[tuple[str, Figures]]]:
            # In a thread: the percentiles of hundreds of services take some milliseconds.
            return figures(front, span), ranked(names[:border], front, span), ranked(names[border:], back, span)

        total, foreground, background = await asyncio.to_thread(compute)
        return Overview(
            range=span,
            total=total,
            services=foreground,
            background=background,
            last_end_us=(await self.store.status()).last_end_us,
            dropped=await self._dropped(span),
        )

    async def summary(self, period: Period | Range = Period.DAY, *, services: Collection[str] | None = None) -> Summary:
        """Return the overview, with the figures of the previous period and the timeline of all services."""
        view = await self.overview(period, services=services)
        span = view.range
        counted = {series.id: 0 for series in await self._series_of(services) if not in_background(series.service)}
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

    async def stats(
        self, service: str, operation: str | None = None, period: Period | Range = Period.DAY
    ) -> ServiceStats:
        """Return the statistics of one service or of one operation in it.

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        span = self.span(period)
        ids = await self._ids(service, operation)
        operations = sorted(ids)
        group_of = {ids[name]: group for group, name in enumerate(operations)}
        together = dict.fromkeys(group_of, 0)
        totals = await self.store.totals(span.since_us, span.until_us, groups=group_of)
        before = await self.store.totals(span.before.since_us, span.before.until_us, groups=together)
        rows_of = (tuple(group_of), span.since_us, span.until_us)
        return ServiceStats(
            range=span,
            service=service,
            operation=operation,
            total=figures(totals, span),
            before=figures(before, span.before),
            operations=ranked(operations, totals, span),
            slowest=await self.store.slowest(*rows_of, limit=LISTED),
            errors=await self.store.recent(*rows_of, limit=LISTED, failed=True),
            timeline=await self._timeline(
                _title(service, operation),
                together,
                span,
                await self.covered(span),
                service=service,
                operation=operation,
            ),
            last_end_us=(await self.store.status()).last_end_us,
        )

    async def operations(self, service: str, period: Period | Range = Period.DAY) -> dict[str, Figures]:
        """Return the figures of each operation of a service, the busiest first; none for an unknown service."""
        span = self.span(period)
        ids = {series.operation: series.id for series in await self._series_of([service])}
        if not ids:
            return {}
        names = sorted(ids)
        groups = {ids[name]: group for group, name in enumerate(names)}
        return dict(ranked(names, await self.store.totals(span.since_us, span.until_us, groups=groups), span))

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
            ids = [series.id for series in await self.store.series() if not in_background(series.service)]
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
        """Return the series ids of a service, or of one operation in it; None, which means all, without a service.

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        return None if service is None else list((await self._ids(service, operation)).values())

    async def require_services(self, services: Collection[str]) -> None:
        """Check that each of these services is stored.

        Raises:
            UnknownNameError: one of them is not.
        """
        stored = {series.service for series in await self.store.series()}
        for service in services:
            if service not in stored:
                raise UnknownNameError("service", service, await suggest(service, stored))

    async def _series_of(self, services: Collection[str] | None) -> list[SeriesRecord]:
        return [series for series in await self.store.series() if services is None or series.service in services]

    async def _ids(self, service: str, operation: str | None) -> dict[str, int]:
        """Return the series ids of a service by operation name, or of the one operation."""
        ids = {series.operation: series.id for series in await self._series_of([service])}
        if not ids:
            raise UnknownNameError("service", service, await suggest(service, await self.names()))
        if operation is None:
            return ids
        if operation not in ids:
            raise UnknownNameError("operation", operation, await suggest(operation, ids))
        return {operation: ids[operation]}

    async def _dropped(self, span: Range) -> int:
        """Return how many operations were dropped in the range; each stored sample counts some of them."""
        samples = await self.store.samples([DROPPED], span.since_us, span.until_us)
        return int(sum(value for _, value in samples[DROPPED]))

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
        parts = [totals.buckets[start : start + BINS_PER_SLICE] for start in range(0, len(edges), BINS_PER_SLICE)]
        percentiles = np.concatenate(
            [
                np.empty((0, len(PERCENTILES))),
                *[quantiles(part.sum(axis=1), PERCENTILES) async for part in paced(parts)],
            ]
        )
        return Timeline(
            title=title,
            range=span,
            step_us=step_us,
            edges_us=edges,
            per_minute=rates(totals.counts, minutes),
            failures_per_minute=rates(totals.failures, minutes),
            p50_us=_column(percentiles, 0),
            p95_us=_column(percentiles, 1),
            p99_us=_column(percentiles, 2),
            service=service,
            alias="" if service is None or title.isascii() else await self._alias(service, operation),
        )

    async def _alias(self, service: str, operation: str | None) -> str:
        """Return a title in ASCII: any other name becomes its number in the order of first recording."""
        recorded = sorted(await self.store.series(), key=lambda series: series.id)
        services = list(dict.fromkeys(series.service for series in recorded))
        operations = [series.operation for series in recorded if series.service == service]
        return _title(_ascii(service, "service", services), operation and _ascii(operation, "operation", operations))


def _ascii(name: str, kind: str, names: list[str]) -> str:
    return name if name.isascii() or name not in names else f"{kind} {names.index(name) + 1}"


def _title(service: str, operation: str | None) -> str:
    return service if operation is None else f"{service} / {operation}"


def _column(percentiles: np.ndarray, index: int) -> list[float | None]:
    return [None if value != value else value for value in percentiles[:, index].tolist()]  # noqa: PLR0124 - true of NaN alone
