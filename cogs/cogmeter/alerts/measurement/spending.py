"""Costs by day (UTC), service and model: counted live, and kept for longer than the operations.

Operations stored before counting began are read once, in the background, the newest first, and at most MOST_ROWS.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.measurement.costs import COST_KEY, amounts, with_amounts
from cogmeter.recording.buffer import FIELDS
from cogmeter.startup import parsing
from cogmeter_storage.base import StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import OperationRecord

KEY: Final = "alerts.spending"  # the key of the stored sums
MOST_DAYS: Final = 90
MOST_A_DAY: Final = 100  # services and models of one day; beyond, they share one line
OTHER: Final = "(other)"
MOST_ROWS: Final = 500_000  # stored operations that are read at a start at most
ROWS: Final = 500  # stored operations that are read at once
PAUSE_S: Final = 0.005  # pause between two reads
MODEL: Final = 100  # characters of a model's name
FAR_US: Final = 2**62

_logger = logging.getLogger("cogmeter.alerts")


@dataclass(slots=True)
class Spent:
    """Sums of one day, service and model."""

    operations: int = 0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    dollars: float = 0.0

    def add(self, values: Mapping[str, float]) -> None:
        """Count one operation."""
        self.operations += 1
        self.tokens_in += values.get("tokens_in", 0.0)
        self.tokens_out += values.get("tokens_out", 0.0)
        self.dollars += values.get(COST_KEY, 0.0)

    def join(self, other: Spent) -> None:
        """Add the sums of another one."""
        self.operations += other.operations
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.dollars += other.dollars


class Spending:
    """The costs of each day, from live operations and from those that are already stored."""

    def __init__(self) -> None:
        self.days: dict[int, dict[tuple[str, str], Spent]] = {}  # by the day's number and (service, model)
        self.since_us: int | None = None  # all operations since this time are counted; None: none are counted yet
        self._until_us = 0  # when the last operation that was counted live ended
        self._gaps_us: list[tuple[int, int]] = []  # ranges between two runs that are not read yet
        self._last_id = 0  # the last stored operation at the start; later ones are counted live

    async def begin(self, store: Store, now_us: int) -> None:
        """Restore the stored sums, and count operations live from now on.

        Raises:
            StorageError: the store cannot be read, and nothing is restored.
            DamagedStateError: the stored sums cannot be read; everything is counted again.
        """
        state = await store.get_value(KEY)
        newest = await store.page(None, 0, FAR_US, limit=1)
        try:
            self.restore(state)
        finally:
            self._begin(newest, now_us)

    def _begin(self, newest: Sequence[OperationRecord], now_us: int) -> None:
        """Count from now on; ``catch_up`` reads what was stored between the last run and this one."""
        self._last_id = newest[0].id if newest else 0
        self._drop_future(now_us)
        if self.since_us is None:
            self.since_us = self._until_us = now_us
        else:
            self._gaps_us.append((self._until_us + 1, now_us))
            self._until_us = now_us

    def count(self, atoms: list[Any], names: Sequence[tuple[str, str]]) -> None:
        """Count some of the buffer's atoms."""
        extras = atoms[4::FIELDS]
        offset_ns = clock.now_ns() - time.perf_counter_ns()
        if atoms:
            self._until_us = max(self._until_us, (max(atoms[1::FIELDS]) + offset_ns) // 1000)
        for place, metadata, spent in with_amounts(extras):
            end_us = (atoms[place * FIELDS + 1] + offset_ns) // 1000
            self._add(names[atoms[place * FIELDS]][0], end_us, metadata.get("model"), spent)

    def shift(self, step_us: int) -> None:
        """Follow a step of the clock; counted days stay, unless they are in the future."""
        if step_us < 0:
            self._drop_future(clock.now_us())

    def add(self, service: str, end_us: int, metadata: Any) -> None:
        """Count one operation, if its metadata has a cost."""
        spent = amounts(metadata)
        if spent:
            self._add(service, end_us, metadata.get("model"), spent)

    def _add(self, service: str, end_us: int, model: object, spent: Mapping[str, float]) -> None:
        self._line(end_us // DAY_US, (service, model[:MODEL] if isinstance(model, str) else "")).add(spent)
        self._forget()

    async def catch_up(self, store: Store, *, most: int = MOST_ROWS) -> None:
        """Count stored operations that were not counted. If the store fails, the next start tries again."""
        try:
            while self._gaps_us:
                most -= await self._read(store, *self._gaps_us[0])
                del self._gaps_us[0]
            first_us = (await store.status()).first_end_us
            while first_us is not None and self.since_us is not None and self.since_us > first_us and most > 0:
                day_us = max((self.since_us - 1) // DAY_US * DAY_US, first_us)
                most -= await self._read(store, day_us, self.since_us)
                self.since_us = day_us
        except StorageError as error:
            _logger.warning("Could not read the costs before the start: %s. The next start tries again", error)

    async def keep(self, store: Store) -> None:
        """Store the sums."""
        days = {str(number): [(*key, *_sums(spent)) for key, spent in day.items()] for number, day in self.days.items()}
        state = {"days": days, "since": self.since_us, "until": self._until_us, "gaps": self._gaps_us}
        await store.set_value(KEY, (await asyncio.to_thread(json.dumps, state)).encode())

    def restore(self, stored: bytes | None) -> None:
        """Restore the stored sums.

        Raises:
            DamagedStateError: it cannot be read; nothing is counted yet.
        """
        if stored is None:
            return
        with parsing():
            state = json.loads(stored)
            days = {
                int(number): {(str(service), str(model)): Spent(int(count), *map(float, sums))
                              for service, model, count, *sums in day}
                for number, day in state["days"].items()
            }  # fmt: skip
            if not all(math.isfinite(sum(_sums(spent))) for day in days.values() for spent in day.values()):
                raise ValueError("a sum is not a finite number")
            gaps_us = [(int(since), int(until)) for since, until in state["gaps"]]
            since_us, until_us = int(state["since"]), int(state["until"])
        self.days, self._gaps_us, self.since_us, self._until_us = days, gaps_us, since_us, until_us

    async def _read(self, store: Store, since_us: int, until_us: int) -> int:
        """Count the stored operations of a time range, all or none; return how many were read."""
        read, spending = 0, Spending()
        async for operations in store.stream(None, since_us, until_us, rows=ROWS):
            for operation in operations:
                if operation.metadata and operation.id <= self._last_id:
                    spending.add(operation.service, operation.end_us, operation.metadata)
            read += len(operations)
            await asyncio.sleep(PAUSE_S)
        for number, day in spending.days.items():
            for key, sums in day.items():
                self._line(number, key).join(sums)
        self._forget()
        return read

    def _line(self, number: int, key: tuple[str, str]) -> Spent:
        """Return the sums of a day, service and model."""
        day = self.days.setdefault(number, {})
        if key not in day and len(day) >= MOST_A_DAY:
            key = (OTHER, OTHER)
        return day.setdefault(key, Spent())

    def _drop_future(self, now_us: int) -> None:
        """Drop what was counted while the clock was ahead, as the store does."""
        for number in [number for number in self.days if number > now_us // DAY_US + 1]:
            del self.days[number]
        self._gaps_us = [(since_us, until_us) for since_us, until_us in self._gaps_us if since_us <= now_us]
        self._until_us = min(self._until_us, now_us)
        if self.since_us is not None:
            self.since_us = min(self.since_us, now_us)

    def _forget(self) -> None:
        while len(self.days) > MOST_DAYS:
            del self.days[min(self.days)]


def _sums(spent: Spent) -> tuple[float, ...]:
    return spent.operations, spent.tokens_in, spent.tokens_out, spent.dollars
