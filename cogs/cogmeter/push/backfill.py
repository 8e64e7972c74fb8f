"""Sends a range of the past to one target: sealed minutes, then the traces, alert changes and markers of the range.

It only reads the store, keeps no position, and does not retry: the first error ends it. The points have the same times
and values as those that a running bot pushes, so that a minute which is sent twice is the same minute.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cogmeter.push.base import Cursor, PushBatch, PushError
from cogmeter.push.reader import FAR_US, BatchReader
from cogmeter_storage.clock import clock
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cogmeter.push.base import PushTarget
    from cogmeter_storage.base import Store


@dataclass(slots=True)
class BackfillReport:
    """What a target accepted of a range, and which operations of the range were not sent."""

    minutes: int = 0  # that have operations
    operations: int = 0
    traces: int = 0
    changes: int = 0  # of alerts
    markers: int = 0
    rejected: int = 0  # points, spans or log records that the endpoint did not keep, although it accepted a request
    rejection: str = ""  # the endpoint's words about the last of them
    too_old: int = 0  # operations in minutes that are older than the target accepts
    not_kept: int = 0  # operations whose minutes are not stored any more; hours or days are
    unfinished: int = 0  # operations in the minute that is not sealed yet


class BackfillStoppedError(PushError):
    """A request was not accepted. ``report`` says what was accepted before it.

    ``last_us`` is the start of the last minute that was accepted as a whole; None if there is none. ``next_us`` is the
    start of the one after it that was not; None if all minutes were accepted, and a trace, alert change or marker not.
    """

    def __init__(self, error: PushError, report: BackfillReport, *, last_us: int | None, next_us: int | None) -> None:
        super().__init__(str(error), permanent=error.permanent, refused=error.refused, too_large=error.too_large)
        self.report = report
        self.last_us = last_us
        self.next_us = next_us


class Backfill:
    """One range on its way to one target."""

    def __init__(
        self,
        target: PushTarget,
        store: Store,
        *,
        since_us: int,
        until_us: int,
        services: Collection[str] | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - nothing to show
    ) -> None:
        """Widen the range to whole minutes, as statistics do.

        With ``services``, send only theirs, and all markers: these belong to no service. ``progress`` is called with
        the minutes that are done, and their number.
        """
        self._target = target
        self._store = store
        self._services = services
        self._progress = progress
        self._since_us = since_us // MINUTE_US * MINUTE_US
        self._until_us = -(-until_us // MINUTE_US) * MINUTE_US
        oldest_us = (clock.now_us() - target.oldest_us) // MINUTE_US * MINUTE_US
        self._start_us = min(max(self._since_us, oldest_us), self._until_us)
        self._reader = BatchReader(lambda: store)
        self._report = BackfillReport()
        self._first_us: int | None = None  # the first minute that is stored
        self._counted_us: int | None = None  # the last minute that the report counts

    async def run(self) -> BackfillReport:
        """Send the range; return what was accepted.

        Raises:
            BackfillStoppedError: a request was not accepted.
            StorageError: the store cannot be read.
        """
        cursor, last_us = Cursor(self._start_us), None
        while (batch := await self._reader.next(cursor, until_us=self._until_us)) is not None:
            if self._first_us is None and batch.minute_us:
                self._first_us = batch.minute_us
            try:
                accepted = await self._send(self._chosen(batch))
            except PushError as error:
                next_us = batch.minute_us or None
                raise BackfillStoppedError(error, self._report, last_us=last_us, next_us=next_us) from None
            if accepted:
                cursor = batch.after
                if batch.minute_us and not cursor.series:
                    last_us = batch.minute_us
                self._progress((cursor.minute_us - self._start_us) // MINUTE_US, self._minutes)
        await self._count_left_out(cursor.minute_us)
        return self._report

    @property
    def _minutes(self) -> int:
        """The minutes of the range that the target accepts."""
        return (self._until_us - self._start_us) // MINUTE_US

    def _chosen(self, batch: PushBatch) -> PushBatch:
        """Return the part of a batch that is in the range and of the services."""
        records, services = batch.records, self._services

        def inside(at_us: int) -> bool:
            return self._since_us <= at_us < self._until_us

        def wanted(service: str) -> bool:
            return services is None or service in services

        return replace(
            batch,
            series=tuple(one for one in batch.series if wanted(one.service)),
            records=replace(
                records,
                traces=tuple(trace for trace in records.traces if inside(trace.at_us) and wanted(trace.service)),
                changes=tuple(
                    (change, alert)
                    for change, alert in records.changes
                    if inside(change.at_us) and wanted(alert.service)
                ),
                markers=tuple(marker for marker in records.markers if inside(marker.at_us)),
            ),
        )

    async def _send(self, batch: PushBatch) -> bool:
        """Send a batch; return False if smaller ones have to be read instead."""
        for request in await asyncio.to_thread(self._target.encode, batch):
            try:
                rejection = await self._target.send(request)
            except PushError as error:
                if error.too_large and self._reader.shrink(batch):
                    return False
                raise
            if rejection is not None:
                self._report.rejected += rejection.points
                self._report.rejection = rejection.reason
        self._target.accepted(batch)
        self._count(batch)
        return True

    def _count(self, batch: PushBatch) -> None:
        report, records = self._report, batch.records
        if batch.series and batch.minute_us != self._counted_us:
            report.minutes, self._counted_us = report.minutes + 1, batch.minute_us
        report.operations += batch.operations
        report.traces += len(records.traces)
        report.changes += len(records.changes)
        report.markers += len(records.markers)

    async def _count_left_out(self, end_us: int) -> None:
        """Count the operations of the range that no sent minute has; ``end_us`` is the end of the last minute."""
        first_us = self._first_us
        if first_us is None:  # no minute of the range is stored: all were removed, or none is sealed yet
            sealed = await self._store.sealed_minutes(self._start_us, FAR_US, limit=1)
            first_us = end_us = self._until_us if sealed else self._start_us
        self._report.too_old = await self._operations(self._since_us, self._start_us)
        self._report.not_kept = await self._operations(self._start_us, first_us)
        self._report.unfinished = await self._operations(end_us, self._until_us)

    async def _operations(self, since_us: int, until_us: int) -> int:
        if since_us >= until_us:
            return 0
        series = await self._store.series()
        groups = {one.id: 0 for one in series if self._services is None or one.service in self._services}
        totals = await self._store.totals(since_us, until_us, groups=groups)
        return int(totals.counts.sum())
