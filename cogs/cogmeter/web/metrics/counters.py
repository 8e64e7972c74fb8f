"""Totals of every series since counting started. They never decrease: neither by clean-up nor by a restart.

The store removes old operations; counters must not. So the totals up to the start of a day (UTC) are saved in the
store, and later operations are added from its slots. Totals up to the minute of the last stored operation are final
and kept in memory. A scrape reads the open minute, and the minutes that became final since the previous scrape.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.exporters.prometheus import BOUNDS_S, cumulative
from cogmeter.recording.recorder import MAX_SERIES, OTHER
from cogmeter.schemas.safe import text
from cogmeter.startup import StartupGuard, parsing
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US, MINUTE_US, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import Totals

KEY: Final = "metrics-base"  # of the saved totals in the store
SUM: Final = len(Outcome)  # columns: operations by outcome, then the sum of durations in microseconds,
BOUNDS: Final = SUM + 1  # then the operations up to each of BOUNDS_S
COLUMNS: Final = BOUNDS + len(BOUNDS_S)
FRESH_S: Final = 1.0  # a reading is reused for this long
FAR_US: Final = 2**62
ROWS: Final = 64  # summed without releasing the interpreter's lock

_logger = logging.getLogger("cogmeter.web")


@dataclass(frozen=True, slots=True)
class SeriesTotals:
    """Totals of the operations that ended before ``until_us``: a row for each known series."""

    until_us: int
    values: NDArray[np.int64]  # [rows, COLUMNS]

    @classmethod
    def empty(cls, until_us: int = 0) -> SeriesTotals:
        """Return totals without rows."""
        return cls(until_us, np.zeros((0, COLUMNS), dtype=np.int64))

    def plus(self, values: NDArray[np.int64], until_us: int) -> SeriesTotals:
        """Return the sum with later totals."""
        rows = max(len(self.values), len(values))
        return SeriesTotals(until_us, _padded(self.values, rows) + _padded(values, rows))


@dataclass(frozen=True, slots=True)
class CounterReading:
    """The totals of each (service, operation) at a scrape."""

    names: Sequence[tuple[str, str]]
    values: NDArray[np.int64]  # [names, COLUMNS]


class Counters:
    """The counters of a monitor. Discord ids in names are hidden; names beyond ``most`` count as ``(other)``."""

    def __init__(
        self,
        store_of: Callable[[], Store],
        *,
        most: int = MAX_SERIES,
        fresh_s: float = FRESH_S,
        parts: StartupGuard | None = None,
    ) -> None:
        """``store_of`` returns the present store: a corrupt one may have been replaced.

        ``parts`` reports saved totals that cannot be read.
        """
        self._parts = StartupGuard(Counter()) if parts is None else parts
        self._store_of = store_of
        self._store: Store | None = None
        self._most, self._fresh_s = most, fresh_s
        self._rows: dict[tuple[str, str], int] = {(OTHER, OTHER): 0}
        self._groups: dict[int, int] = {}  # the row of each series of the store
        self._day = self._near = SeriesTotals.empty()  # up to the start of a day, and up to a minute; both final
        self._reading = CounterReading((), SeriesTotals.empty().values)
        self._read_s: float | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> CounterReading:
        """Return the totals, at most a second old.

        Raises:
            StorageError: the store cannot be read.
        """
        async with self._lock:
            if self._read_s is None or time.perf_counter() - self._read_s >= self._fresh_s:
                await self._read()
                self._read_s = time.perf_counter()
            return self._reading

    async def _read(self) -> None:
        store = self._store_of()
        if store is not self._store:
            await self._adopt(store)
        # In this order: operations that end before the last one are stored already, and so are their series.
        last_us = (await store.status()).last_end_us
        for series in sorted(await store.series(), key=lambda series: series.id):
            if series.id not in self._groups:
                self._groups[series.id] = self._row(series.service, series.operation)
        if last_us is not None:
            await self._advance(store, last_us)
        latest = await self._extended(store, self._near, FAR_US)
        if latest is None:  # its minutes are removed, and hours would count operations twice
            latest = await self._extended(store, self._day, FAR_US)
            assert latest is not None, "a day's slots end where it ends"
        values = _padded(latest.values, len(self._rows)) + await self._lost(store, latest)
        self._reading = CounterReading(tuple(self._rows), values)

    async def _lost(self, store: Store, latest: SeriesTotals) -> NDArray[np.int64]:
        """Return totals that were removed before they were final: of a bot that was idle longer than the retention."""
        rows = len(self._rows)
        lost: NDArray[np.int64] = np.maximum(_padded(self._reading.values, rows) - _padded(latest.values, rows), 0)
        if lost.any():
            self._day = self._day.plus(lost, self._day.until_us)
            self._near = self._near.plus(lost, self._near.until_us)
            await self._save(store)
        return lost

    async def _advance(self, store: Store, last_us: int) -> None:
        """Extend the final totals: no operation that ended before the last one will be stored."""
        day_us, minute_us = last_us // DAY_US * DAY_US, last_us // MINUTE_US * MINUTE_US
        if self._day.until_us < day_us:
            day = await self._extended(store, self._day, day_us)
            assert day is not None, "a day's slots end where it ends"
            self._day = day
            if self._near.until_us < day_us:
                self._near = day
            await self._save(store)
        if self._near.until_us < minute_us:
            near = await self._extended(store, self._near, minute_us)
            self._near = near or await self._extended(store, self._day, minute_us) or self._near

    async def _extended(self, store: Store, totals_before: SeriesTotals, until_us: int) -> SeriesTotals | None:
        """Return the totals up to a later time; None if the store has no slots that start where they end."""
        if not self._groups:
            return SeriesTotals(until_us, totals_before.values)
        totals = await store.totals(totals_before.until_us, until_us, groups=self._groups)
        if totals.since_us < totals_before.until_us:
            return None
        return totals_before.plus(await asyncio.to_thread(columns, totals), until_us)

    async def _adopt(self, store: Store) -> None:
        """Start from the totals saved in a store; for a store that replaces another, from the last reading."""
        self._groups.clear()
        if self._store is None:
            self._day = self._restored(await store.get_value(KEY))
        else:
            self._day = SeriesTotals(0, self._reading.values)
            await self._save(store)
        self._near = self._day
        self._store = store

    async def _save(self, store: Store) -> None:
        data = await asyncio.to_thread(_dumped, tuple(self._rows), self._day)
        try:
            await store.set_value(KEY, data)
        except StorageError as error:
            _logger.warning(
                "Could not save the totals of /metrics: %s. cogmeter retries at the start of the next day", error
            )

    def _restored(self, data: bytes | None) -> SeriesTotals:
        if data is None:
            return SeriesTotals.empty()
        with self._parts.guard("counters at /metrics", "they restart from the stored operations"), parsing():
            saved = json.loads(data)
            if saved["bounds"] != list(BOUNDS_S):
                raise ValueError("the saved histograms have other bounds")
            values = np.array([row for _, _, row in saved["series"]], dtype=np.int64).reshape(-1, COLUMNS)
            if (values < 0).any():
                raise ValueError("a total is negative")
            rows = [self._row(str(service), str(operation)) for service, operation, _ in saved["series"]]
            restored = np.zeros((len(self._rows), COLUMNS), dtype=np.int64)
            np.add.at(restored, rows, values)
            return SeriesTotals(int(saved["untilUs"]), restored)
        return SeriesTotals.empty()

    def _row(self, service: str, operation: str) -> int:
        name = (text(service), text(operation))
        if len(self._rows) >= self._most:
            return self._rows.get(name, 0)
        return self._rows.setdefault(name, len(self._rows))


def columns(totals: Totals) -> NDArray[np.int64]:
    """Return the columns for these totals, one row for each group. Slow: call it in a thread."""
    outcomes = totals.outcomes[0]
    values = np.zeros((len(outcomes), COLUMNS), dtype=np.int64)
    values[:, :SUM] = outcomes
    values[:, SUM] = totals.sum_us[0]
    counted = np.flatnonzero(outcomes.any(axis=1))
    for start in range(0, len(counted), ROWS):
        rows = counted[start : start + ROWS]
        values[rows, BOUNDS:] = cumulative(totals.buckets[0, rows])
    return values


def _padded(values: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Append rows of zeros up to this number of rows."""
    return np.pad(values, ((0, max(rows - len(values), 0)), (0, 0)))


def _dumped(names: Sequence[tuple[str, str]], totals: SeriesTotals) -> bytes:
    rows = zip(names, totals.values.tolist(), strict=False)
    series = [(service, operation, row) for (service, operation), row in rows]
    return json.dumps({"untilUs": totals.until_us, "bounds": BOUNDS_S, "series": series}).encode()
