"""The class Query: reads totals and rows from the store and returns the records that every surface shows."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.query.exact_totals import cuts_minutes, exact_totals
from cogmeter.query.folded_groups import FoldedGroups
from cogmeter.query.name_matching import suggest
from cogmeter.query.records import (
    SUBJECT,
    Overview,
    Period,
    Range,
    ServiceStats,
    Summary,
    UnknownNameError,
)
from cogmeter.query.statistics import OverviewGroups, figures, ranked
from cogmeter.query.timelines import Hours, timeline
from cogmeter.recording.buffer import DROPPED
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.service_names import BY_OPERATION, in_background, label, meanings
from cogmeter_storage.clock import clock
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from typing import TypeAlias

    from cogmeter.query.records import Figures, Timeline
    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SeriesRecord, Totals

    ReadTotals: TypeAlias = Callable[..., Awaitable[Totals]]  # of a range and ``groups``, as Store.totals

LISTED: Final = 5  # slowest operations, recent errors
LATELY_US: Final = 5 * MINUTE_US  # the age of a present gauge
MOST_NARROWED: Final = 8  # processes whose sums are kept


def now_us() -> int:
    """Return the wall time in microseconds since 1970 UTC."""
    return clock.now_us()


class Query:
    """The read side of a store."""

    def __init__(self, store: Store, *, clock: Callable[[], int] = now_us) -> None:
        self.store = store  # replaced when the store's file is corrupt
        self._clock = clock
        self._hours = Hours()
        self._folded = FoldedGroups()
        self._narrowed: dict[str, tuple[Store, Query]] = {}  # by process; each keeps sums, and has a store of its own

    def now_us(self) -> int:
        """Return the time in microseconds since 1970 UTC."""
        return self._clock()

    async def of_process(self, name: str | None) -> Query:
        """Return a query of the operations and gauges of one process; of None this one.

        Alerts, error groups, usage, costs, traces and markers stay those of all.

        Raises:
            UnknownNameError: no process of this name has written the database.
        """
        if name is None:
            return self
        known = [record.process.name for record in await self.store.processes()]
        if name not in known:
            raise UnknownNameError("process", name, await suggest(name, known))
        base, narrowed = self._narrowed.pop(name, (None, None))
        if narrowed is None or base is not self.store:
            narrowed = Query(self.store.of_process(name), clock=self._clock)
        self._narrowed[name] = self.store, narrowed  # the last one used is the last one
        for oldest in [*self._narrowed][:-MOST_NARROWED]:
            del self._narrowed[oldest]
        return narrowed

    async def present_gauges(self) -> dict[str, float]:
        """Return the newest value of each gauge that the process has sampled lately."""
        return await self.store.newest_samples(self._clock() - LATELY_US)

    async def names(self, *, other: bool = True) -> dict[str, list[str]]:
        """Return each stored service with its operation names, both in alphabetical order.

        Without ``other``, the service of overflowed series is left out: it is stored before there are any.
        """
        names: dict[str, list[str]] = {}
        for series in await self.store.series():
            if other or series.service != OTHER:
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
        """Return the figures of all services, or of these ones, together and one by one, and of each command."""
        span = self.span(period)
        return await self._overview(span, await self._series_of(services), covered=await self.covered(span))

    async def summary(self, period: Period | Range = Period.DAY, *, services: Collection[str] | None = None) -> Summary:
        """Return the overview, with the figures of the previous period and the timeline of all services."""
        span, known = self.span(period), await self._series_of(services)
        counted = {series.id: 0 for series in known if not in_background(series.service)}
        previous, exact = span.before, self._cuts_minutes(span)
        covered, covered_before = await self.covered(span), await self.covered(previous)
        # The store reads one after the other; the percentiles of the first are computed meanwhile.
        view, before, timeline = await asyncio.gather(
            self._overview(span, known, covered=covered),
            self._totals(previous, counted, self._folded_totals, exact=exact),
            self._timeline_of_all(counted, span, covered=covered, remembered=services is None),
        )
        return Summary(
            range=span,
            total=view.total,
            before=figures(_from_first_record(before, previous, covered_before), previous),
            services=view.services,
            background=view.background,
            timeline=timeline,
            last_end_us=view.last_end_us,
            dropped=view.dropped,
            commands=view.commands,
        )

    async def _overview(self, span: Range, known: Sequence[SeriesRecord], *, covered: Range) -> Overview:
        groups = OverviewGroups(known)
        # One read serves all.
        totals = await self._totals(span, groups.numbers, self._folded_totals, exact=self._cuts_minutes(span))
        # In a thread: the percentiles of hundreds of services and commands take some milliseconds.
        recorded = _from_first_record(totals, span, covered)
        total, services, commands, background = await asyncio.to_thread(groups.figures, recorded, span)
        return Overview(
            range=span,
            total=total,
            services=services,
            background=background,
            last_end_us=(await self.store.status()).last_end_us,
            dropped=await self._dropped(span),
            commands=commands,
        )

    async def stats(
        self, service: str, operation: str | None = None, period: Period | Range = Period.DAY
    ) -> ServiceStats:
        """Return the statistics of one service or operation; ``service`` may be a label, see ``subject_of``.

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        span = self.span(period)
        service, operation, ids = await self._ids(service, operation)
        operations = sorted(ids)
        group_of = {ids[name]: group for group, name in enumerate(operations)}
        together = dict.fromkeys(group_of, 0)
        previous, exact = span.before, self._cuts_minutes(span)
        totals = await self._totals(span, group_of, self.store.totals, exact=exact)
        before = await self._totals(previous, together, self.store.totals, exact=exact)
        covered, covered_before = await self.covered(span), await self.covered(previous)
        recorded = _from_first_record(totals, span, covered)
        rows_of = (tuple(group_of), span.since_us, span.until_us)
        newest = await self.store.recent(*rows_of, limit=1)
        return ServiceStats(
            range=span,
            service=service,
            operation=operation,
            total=figures(recorded, span),
            before=figures(_from_first_record(before, previous, covered_before), previous),
            operations=ranked(operations, recorded, span),
            slowest=await self.store.slowest(*rows_of, limit=LISTED),
            errors=await self.store.recent(*rows_of, limit=LISTED, failed=True),
            timeline=await self._timeline(service, operation, together, span, covered=covered),
            last_end_us=newest[0].end_us if newest else None,
        )

    async def operations(self, service: str, period: Period | Range = Period.DAY) -> dict[str, Figures]:
        """Return the figures of each operation of a service, the busiest first; none for an unknown service."""
        span = self.span(period)
        ids = {series.operation: series.id for series in await self._series_of([service])}
        if not ids:
            return {}
        names = sorted(ids)
        groups = {ids[name]: group for group, name in enumerate(names)}
        return dict(ranked(names, await self.totals(span, groups), span))

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
        covered = await self.covered(span) if trim else span
        if service is None:
            stored = await self.store.series()
            counted = {series.id: 0 for series in stored if not in_background(series.service)}
            return await self._timeline_of_all(counted, span, covered=covered, step_us=step_us)
        service, operation, ids = await self._ids(service, operation)
        groups = dict.fromkeys(ids.values(), 0)
        return await self._timeline(service, operation, groups, span, covered=covered, step_us=step_us)

    async def totals(self, span: Range, groups: Mapping[int, int]) -> Totals:
        """Return the sums of these groups of series in one bin from the first record on, as ``stats`` counts a range.

        Raises:
            StorageError: the store cannot be read.
        """
        totals = await self._totals(span, groups, self.store.totals, exact=self._cuts_minutes(span))
        return _from_first_record(totals, span, await self.covered(span))

    async def ids(self, service: str | None, operation: str | None = None) -> list[int] | None:
        """Return the series ids of a service, or of one operation in it; None, which means all, without a service.

        Raises:
            UnknownNameError: nothing is stored under that service or operation.
        """
        return None if service is None else list((await self._ids(service, operation))[2].values())

    async def subject_of(self, text: str, operation: str | None = None) -> tuple[str, str | None]:
        """Return the service, and the operation if one is meant, that a typed name means.

        The name is a service, the label of an operation ("/ask", "button Shop.buy", "service / operation"), or a label
        without its first word ("ask"). A service precedes a label.

        Raises:
            UnknownNameError: nothing is stored under that service, label or operation.
        """
        service, operation, _ = await self._ids(text, operation)
        return service, operation

    async def require_services(self, services: Collection[str], operation: str | None = None) -> None:
        """Check that each of these services is stored, and that one of them has the operation.

        Raises:
            UnknownNameError: one of them is not, or none has it.
        """
        stored = await self.names()
        for service in services:
            if service not in stored:
                raise UnknownNameError("service", service, await suggest(service, stored))
        operations = {name for service in services for name in stored[service]}
        if operation is not None and operation not in operations:
            raise UnknownNameError("operation", operation, await suggest(operation, operations))

    def _cuts_minutes(self, span: Range) -> bool:
        """Return whether a range is counted exactly: if it begins or ends inside a minute, as no period does."""
        return cuts_minutes(span.since_us, span.until_us, self._clock())

    async def _totals(self, span: Range, groups: Mapping[int, int], read: ReadTotals, *, exact: bool) -> Totals:
        """Return the sums of a range in one bin: of whole minutes, or exactly this range."""
        if not exact:
            return await read(span.since_us, span.until_us, groups=groups)
        whole = partial(read, groups=groups)
        return await exact_totals(
            self.store, span.since_us, span.until_us, groups=groups, now_us=self._clock(), whole=whole
        )

    async def _folded_totals(self, since_us: int, until_us: int, *, groups: Mapping[int, int]) -> Totals:
        return await self._folded.totals(self.store, since_us, until_us, groups=groups)

    async def _series_of(self, services: Collection[str] | None) -> list[SeriesRecord]:
        return [series for series in await self.store.series() if services is None or series.service in services]

    async def _ids(self, name: str, operation: str | None) -> tuple[str, str | None, dict[str, int]]:
        """Return what ``subject_of`` returns, and the series ids by operation name."""
        stored = await self.store.series()
        ids = {series.operation: series.id for series in stored if series.service == name}
        service = name
        if not ids:
            service, named = await _labelled(name, stored)
            ids = {series.operation: series.id for series in stored if series.service == service}
            if operation not in {None, named}:
                raise UnknownNameError("operation", str(operation), [named])
            operation = named
        if operation is None:
            return service, None, ids
        if operation not in ids:
            raise UnknownNameError("operation", operation, await suggest(operation, ids))
        return service, operation, {operation: ids[operation]}

    async def _dropped(self, span: Range) -> int:
        """Return how many operations were dropped in the range; each stored sample counts some of them."""
        samples = await self.store.samples_by_process(DROPPED, span.since_us, span.until_us)
        return int(sum(value for of_one in samples.values() for _, value in of_one))

    async def _timeline_of_all(
        self,
        groups: Mapping[int, int],
        span: Range,
        *,
        covered: Range,
        step_us: int | None = None,
        remembered: bool = True,
    ) -> Timeline:
        """Return the timeline of these series of foreground services; ``remembered``: these are all of them."""
        step_us = step_us or covered.step_us
        read = partial(self._hours.totals, self.store) if remembered else self.store.totals
        totals = await read(covered.since_us, covered.until_us, groups=groups, step_us=step_us)
        return await timeline(totals, span, step_us, title="All services")

    async def _timeline(
        self,
        service: str,
        operation: str | None,
        groups: Mapping[int, int],
        span: Range,
        *,
        covered: Range,
        step_us: int | None = None,
    ) -> Timeline:
        """Return the bins of ``covered``, which is the part of ``span`` that has records."""
        step_us, title = step_us or covered.step_us, label(service, operation)
        totals = await self.store.totals(covered.since_us, covered.until_us, groups=groups, step_us=step_us)
        alias = "" if title.isascii() else await self._alias(service, operation)
        return await timeline(totals, span, step_us, title=title, service=service, operation=operation, alias=alias)

    async def _alias(self, service: str, operation: str | None) -> str:
        """Return a title in ASCII: any other name becomes its number in the order of first recording."""
        recorded = sorted(await self.store.series(), key=lambda series: series.id)
        services = list(dict.fromkeys(series.service for series in recorded))
        operations = [series.operation for series in recorded if series.service == service]
        return label(_ascii(service, "service", services), operation and _ascii(operation, "operation", operations))


def _from_first_record(totals: Totals, span: Range, covered: Range) -> Totals:
    """Return the totals of ``span`` from the first record on (see ``Query.covered``): rates are over that time.

    It is at least a minute, so that the first operations of a bot are no high rate.
    """
    if covered is span:
        return totals
    latest_us = min(totals.until_us, span.until_us) - MINUTE_US
    return dataclasses.replace(totals, since_us=max(min(covered.since_us, latest_us), totals.since_us))


def _ascii(name: str, kind: str, names: list[str]) -> str:
    return name if name.isascii() or name not in names else f"{kind} {names.index(name) + 1}"


async def _labelled(text: str, stored: Sequence[SeriesRecord]) -> tuple[str, str]:
    """Return the service and operation that a label means."""
    names = {(series.service, series.operation) for series in stored}
    for meaning in meanings(text):
        if meaning in names:
            return meaning
    known = [label(*name) for name in sorted(names) if name[0] in BY_OPERATION]
    raise UnknownNameError(SUBJECT, text, await suggest(text, [*known, *sorted({service for service, _ in names})]))
