"""The totals of every series since counting began. They never go down: not by clean-up, not by a restart.

The store forgets, and counters must not. So the totals up to the beginning of a day (UTC) are kept in the store beside
it, and what came since is added from its slots. Up to the minute of the last stored operation nothing can change any
more, and that is kept in memory: a scrape reads the open minute, and what became final since the one before.
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

KEY: Final = "metrics-base"  # of what the store remembers for us
SUM: Final = len(Outcome)  # the columns of a sheet: operations by outcome, the sum of durations in microseconds,
BOUNDS: Final = SUM + 1  # and how many took no longer than each of BOUNDS_S
COLUMNS: Final = BOUNDS + len(BOUNDS_S)
FRESH_S: Final = 1.0  # what was read is good for so long
FAR_US: Final = 2**62
ROWS: Final = 64  # that are added up in one go, which holds the interpreter's lock

_logger = logging.getLogger("cogmeter.web")


@dataclass(frozen=True, slots=True)
class Sheet:
    """Totals of all that ended before ``until_us``: a row for each name of the ledger, as far as it has any."""

    until_us: int
    values: NDArray[np.int64]  # [rows, COLUMNS]

    @classmethod
    def empty(cls, until_us: int = 0) -> Sheet:
        """Nothing yet."""
        return cls(until_us, np.zeros((0, COLUMNS), dtype=np.int64))

    def plus(self, values: NDArray[np.int64], until_us: int) -> Sheet:
        """With what ended since."""
        rows = max(len(self.values), len(values))
        return Sheet(until_us, _padded(self.values, rows) + _padded(values, rows))


@dataclass(frozen=True, slots=True)
class CounterReading:
    """What a scrape tells: the totals of each (service, operation)."""

    names: Sequence[tuple[str, str]]
    values: NDArray[np.int64]  # [names, COLUMNS]


class Counters:
    """One for a monitor. Names are told without Discord ids; those beyond ``most`` count as ``(other)``."""

    def __init__(
        self,
        store_of: Callable[[], Store],
        *,
        most: int = MAX_SERIES,
        fresh_s: float = FRESH_S,
        parts: StartupGuard | None = None,
    ) -> None:
        """``store_of`` gives the store as it is now: a corrupt one may have been replaced.

        ``parts`` is where a base that cannot be read is reported.
        """
        self._parts = StartupGuard(Counter()) if parts is None else parts
        self._store_of = store_of
        self._store: Store | None = None
        self._most, self._fresh_s = most, fresh_s
        self._places: dict[tuple[str, str], int] = {(OTHER, OTHER): 0}
        self._groups: dict[int, int] = {}  # the row of each of the store's series
        self._day = self._near = Sheet.empty()  # up to the begin of a day, and up to a minute; both final
        self._reading = CounterReading((), Sheet.empty().values)
        self._read_s: float | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> CounterReading:
        """The totals as they are now, or were a second ago.

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
        # In this order: what ends before the last operation is stored already, and so are the names of its series.
        last_us = (await store.status()).last_end_us
        for one in sorted(await store.series(), key=lambda one: one.id):
            if one.id not in self._groups:
                self._groups[one.id] = self._place(one.service, one.operation)
        if last_us is not None:
            await self._advance(store, last_us)
        latest = await self._brought_up(store, self._near, FAR_US)
        if latest is None:  # its minutes are gone, and hours would count twice what the sheet holds of them
            latest = await self._brought_up(store, self._day, FAR_US)
            assert latest is not None, "a day's slots end where it ends"
        values = _padded(latest.values, len(self._places)) + await self._forgotten(store, latest)
        self._reading = CounterReading(tuple(self._places), values)

    async def _forgotten(self, store: Store, latest: Sheet) -> NDArray[np.int64]:
        """What was cleaned away although it was not final: of a bot that was idle for longer than the store keeps."""
        rows = len(self._places)
        lost: NDArray[np.int64] = np.maximum(_padded(self._reading.values, rows) - _padded(latest.values, rows), 0)
        if lost.any():
            self._day = self._day.plus(lost, self._day.until_us)
            self._near = self._near.plus(lost, self._near.until_us)
            await self._keep(store)
        return lost

    async def _advance(self, store: Store, last_us: int) -> None:
        """Take in what is final: no operation will be stored that ended before the last one."""
        day_us, minute_us = last_us // DAY_US * DAY_US, last_us // MINUTE_US * MINUTE_US
        if self._day.until_us < day_us:
            day = await self._brought_up(store, self._day, day_us)
            assert day is not None, "a day's slots end where it ends"
            self._day = day
            if self._near.until_us < day_us:
                self._near = day
            await self._keep(store)
        if self._near.until_us < minute_us:
            near = await self._brought_up(store, self._near, minute_us)
            self._near = near or await self._brought_up(store, self._day, minute_us) or self._near

    async def _brought_up(self, store: Store, sheet: Sheet, until_us: int) -> Sheet | None:
        """The sheet with all that ended up to then; None where the store keeps nothing fine enough to go on from it."""
        if not self._groups:
            return Sheet(until_us, sheet.values)
        totals = await store.totals(sheet.until_us, until_us, groups=self._groups)
        if totals.since_us < sheet.until_us:
            return None
        return sheet.plus(await asyncio.to_thread(columns, totals), until_us)

    async def _adopt(self, store: Store) -> None:
        """Begin with what a store remembers; behind a store that was replaced, with what was told last."""
        self._groups.clear()
        if self._store is None:
            self._day = self._restored(await store.get_value(KEY))
        else:
            self._day = Sheet(0, self._reading.values)
            await self._keep(store)
        self._near = self._day
        self._store = store

    async def _keep(self, store: Store) -> None:
        data = await asyncio.to_thread(_dumped, tuple(self._places), self._day)
        try:
            await store.set_value(KEY, data)
        except StorageError as error:
            _logger.warning("The base of the counters at /metrics is kept at the next day's begin: %s", error)

    def _restored(self, data: bytes | None) -> Sheet:
        if data is None:
            return Sheet.empty()
        with self._parts.guard("counters at /metrics", "they begin anew, with what is stored"), parsing():
            kept = json.loads(data)
            if kept["bounds"] != list(BOUNDS_S):
                raise ValueError("its histograms have other bounds")
            values = np.array([row for _, _, row in kept["series"]], dtype=np.int64).reshape(-1, COLUMNS)
            if (values < 0).any():
                raise ValueError("a total is negative")
            rows = [self._place(str(service), str(operation)) for service, operation, _ in kept["series"]]
            restored = np.zeros((len(self._places), COLUMNS), dtype=np.int64)
            np.add.at(restored, rows, values)
            return Sheet(int(kept["untilUs"]), restored)
        return Sheet.empty()

    def _place(self, service: str, operation: str) -> int:
        name = (text(service), text(operation))
        if len(self._places) >= self._most:
            return self._places.get(name, 0)
        return self._places.setdefault(name, len(self._places))


def columns(totals: Totals) -> NDArray[np.int64]:
    """The columns of a sheet for these totals, one row a group. Slow: call it in a thread."""
    outcomes = totals.outcomes[0]
    made = np.zeros((len(outcomes), COLUMNS), dtype=np.int64)
    made[:, :SUM] = outcomes
    made[:, SUM] = totals.sum_us[0]
    counted = np.flatnonzero(outcomes.any(axis=1))
    for start in range(0, len(counted), ROWS):
        rows = counted[start : start + ROWS]
        made[rows, BOUNDS:] = cumulative(totals.buckets[0, rows])
    return made


def _padded(values: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """The values with rows of zeros behind them, up to so many."""
    return np.pad(values, ((0, max(rows - len(values), 0)), (0, 0)))


def _dumped(names: Sequence[tuple[str, str]], sheet: Sheet) -> bytes:
    rows = zip(names, sheet.values.tolist(), strict=False)
    series = [(service, operation, row) for (service, operation), row in rows]
    return json.dumps({"untilUs": sheet.until_us, "bounds": BOUNDS_S, "series": series}).encode()
