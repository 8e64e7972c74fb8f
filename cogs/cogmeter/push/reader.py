"""Reads the batches of a push target from the store: sealed minutes part by part, then new records."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from cogmeter.push.base import Cursor, PushBatch, SeriesCounts
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter_storage.base import Store
    from cogmeter_storage.rollup import SealedSlot

SERIES: Final = 500  # of one batch: its encoding holds the GIL for about a millisecond at a time
RECORDS: Final = 100  # of each kind
PIECE: Final = 25  # series that are read before other threads may run
FAR_US: Final = 2**62

Names = dict[int, tuple[str, str]]


class BatchReader:
    """Reads one batch after the other. A reader keeps nothing but names and the size of a batch."""

    def __init__(self, store: Callable[[], Store]) -> None:
        """``store`` returns the present store: it may be opened again."""
        self._store = store
        self._names: Names = {}
        self._series = SERIES
        self._records = RECORDS

    async def next(self, cursor: Cursor, *, until_us: int = FAR_US, records: bool = True) -> PushBatch | None:
        """Return the batch after the cursor; None if there is nothing new in minutes before ``until_us``.

        Without ``records``, only operations.

        Raises:
            StorageError: the store cannot be read.
        """
        minutes = await self._store().sealed_minutes(cursor.minute_us, until_us, limit=2)
        if minutes:
            await self._read_names(minutes[0])
            return await asyncio.to_thread(self._part, minutes, cursor)
        if not records:
            return None
        found = await self._store().new_records(cursor.records, limit=self._records)
        after = Cursor(cursor.minute_us, cursor.series, found.position)
        return PushBatch(after, records=found) if found else None

    async def skipped(self, cursor: Cursor, until_us: int) -> int:
        """Return how many operations are in the sealed minutes from the cursor until then, which are not sent."""
        groups = dict.fromkeys((series.id for series in await self._store().series()), 0)
        totals = await self._store().totals(cursor.minute_us, until_us, groups=groups)
        return int(totals.counts.sum())

    def shrink(self, batch: PushBatch) -> bool:
        """Read smaller batches, because this one was too large; return False if it cannot be smaller."""
        if len(batch.series) > 1:
            self._series = max(len(batch.series) // 2, 1)
        elif len(batch.records.traces) > 1 or len(batch.records.changes) > 1 or len(batch.records.markers) > 1:
            self._records = max(self._records // 2, 1)
        else:
            return False
        return True

    async def _read_names(self, minute: SealedSlot) -> None:
        if not set(minute.slot.series.tolist()) <= self._names.keys():
            series = await self._store().series()
            self._names = {one.id: (one.service, one.operation) for one in series}

    def _part(self, minutes: list[SealedSlot], cursor: Cursor) -> PushBatch:
        """Return the next part of the first of these minutes."""
        minute = minutes[0]
        done = cursor.series if minute.start_us == cursor.minute_us else 0
        places = [place for place, number in enumerate(minute.slot.series.tolist()) if number > done]
        chosen = places[: self._series]
        whole = len(chosen) == len(places)
        after = Cursor(minute.start_us + MINUTE_US, 0, cursor.records)
        if not whole:
            after = Cursor(minute.start_us, int(minute.slot.series[chosen[-1]]), cursor.records)
        series = tuple(self._series_of(minute, chosen))
        return PushBatch(after, minute.start_us, series, newest=whole and len(minutes) == 1)

    def _series_of(self, minute: SealedSlot, places: list[int]) -> list[SeriesCounts]:
        """Return the series at these places of a slot; one without a readable name is left out."""
        slot = minute.slot
        ends = slot.sizes.cumsum(dtype="int64")
        found = []
        for turn, place in enumerate(places):
            if turn % PIECE == 0:
                time.sleep(0)  # on a thread: lets the event loop have the GIL
            name = self._names.get(int(slot.series[place]))
            if name is None:
                continue
            part = slice(int(ends[place] - slot.sizes[place]), int(ends[place]))
            buckets = tuple(zip(slot.buckets[part].tolist(), slot.counts[part].tolist(), strict=True))
            outcomes = tuple(int(column[place]) for column in slot.outcomes)
            found.append(SeriesCounts(*name, outcomes, int(slot.sum_us[place]), int(slot.max_us[place]), buckets))
        return found
