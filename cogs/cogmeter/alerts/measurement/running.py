"""The operations that run for long, with the usual duration of each: its own 99th percentile."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement import values
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.window import Window
    from cogmeter.recording.waiting import Running
    from cogmeter_storage.base import Store

DAYS: Final = 7  # of stored operations whose durations are usual
KEPT_S: Final = 600.0  # how long a read history is used

_logger = logging.getLogger("cogmeter.alerts")


@dataclass(frozen=True, slots=True)
class LongRunning:
    """The oldest running operation of one name."""

    service: str
    operation: str
    age_s: float
    line: str
    outer: tuple[str, str] | None  # the outermost operation of the same task, if it is another one
    for_user: bool  # it waits for a user
    operations: int  # that ended within the window or the last days
    p99_s: float  # of these; 0 without any


class UsualDurations:
    """The 99th percentiles of single series, read when one of their operations runs for long."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[float, int, float]] = {}  # when it was read, operations, p99 in s

    async def of(
        self, running: Iterable[Running], window: Window, store: Store | None, *, now_us: int, now_s: float
    ) -> Sequence[LongRunning]:
        """Return the running operations with their usual durations; the window alone if the store does not answer."""
        running = list(running)
        numbers = {names: number for number, names in enumerate(window.series)} if running else {}
        self._known = {names: known for names, known in self._known.items() if now_s - known[0] < KEPT_S}
        long_running: list[LongRunning] = []
        for operation in running:
            names = (operation.service, operation.operation)
            if names not in self._known:
                self._known[names] = (now_s, *await self._read(store, names, now_us))
            _, count, p99_s = self._known[names]
            if names in numbers:
                recent = window.buckets_of(numbers[names])
                count, p99_s = max(count, int(recent.sum())), max(p99_s, _p99_s(recent))
            long_running.append(
                LongRunning(*names, operation.age_s, operation.line, operation.outer, operation.for_user, count, p99_s)
            )
        return long_running

    async def _read(self, store: Store | None, names: tuple[str, str], now_us: int) -> tuple[int, float]:
        """Return the stored operations of the last days, and their 99th percentile in seconds."""
        if store is None:
            return 0, 0.0
        try:
            series = [stored.id for stored in await store.series() if (stored.service, stored.operation) == names]
            if not series:
                return 0, 0.0
            totals = await store.totals(now_us - DAYS * DAY_US, now_us + 1, groups={series[0]: 0})
        except StorageError as error:
            _logger.debug("The usual duration of %s/%s could not be read", *names, exc_info=error)
            return 0, 0.0
        return int(totals.counts.sum()), _p99_s(totals.buckets[0, 0])


def _p99_s(buckets: NDArray[np.int64] | NDArray[np.int32]) -> float:
    return float(values.quantiles_ms(buckets, 0.99)) / 1000
