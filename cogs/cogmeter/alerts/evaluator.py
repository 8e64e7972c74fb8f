"""Measures what the rules are about, and at each check says what is beyond its limits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from cogmeter.alerts.costs import Costs
from cogmeter.alerts.gauges import Gauges
from cogmeter.alerts.history import History
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.view import View
from cogmeter.alerts.window import PIECE, SUM_US, Window
from cogmeter.query import now_us as wall_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cogmeter.alerts.limits import Limits
    from cogmeter.alerts.model import LoopState, Reading
    from cogmeter_storage.base import Store

_logger = logging.getLogger("cogmeter.alerts")


class Evaluator:
    """Takes operations and samples as they come; ``evaluate`` holds them against the limits."""

    def __init__(
        self,
        names: Sequence[tuple[str, str]],
        limits: Limits,
        *,
        window_s: float,
        clock_s: Callable[[], float] = time.perf_counter,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        """``names`` is the recorder's growing list of (service, operation), by series number.

        ``clock_s`` are the seconds of a clock that only goes forward, ``wall`` the microseconds since 1970 UTC.
        """
        self.faults: Counter[str] = Counter()  # of our own, by rule
        self._names = names
        self._limits = limits
        self._window = Window(names, length_s=window_s)
        self._history = History()
        self._costs = Costs()
        self._gauges = Gauges()
        self._loops: Sequence[LoopState] = ()
        self._clock_s, self._wall = clock_s, wall
        self._began_s = clock_s()

    async def restore(self, store: Store, now_us: int) -> None:
        """Take up what is stored: the window, the long windows, costs and baselines.

        The names of what is stored have to be known already: series that are not are left out of the window.
        """
        series = await store.series()
        place = {service: self._window.place(service) for service in sorted({one.service for one in series})}
        await self._history.restore(store, place, series, now_us)

    async def watch(self, atoms: list[Any]) -> None:
        """Count a batch of the buffer's atoms."""
        now_us = self._wall()
        counts = await self._window.add(atoms, self._clock_s())
        self._history.add(counts[:SUM_US], now_us)
        for start in range(0, len(atoms), PIECE):
            if start:
                await asyncio.sleep(0)
            self._costs.count(atoms[start : start + PIECE], self._names, now_us)

    def sampled(self, at_us: int, gauges: Mapping[str, float], loops: Sequence[LoopState] = ()) -> None:
        """Take the gauges of one moment, and the loops that are not well at it."""
        self._gauges.take(at_us, gauges)
        self._loops = tuple(loops)

    async def evaluate(self, now_us: int) -> list[Reading]:
        """All that is beyond its recovery threshold now."""
        view = self._view(now_us)
        readings: list[Reading] = []
        for rule in RULES.values():
            try:
                readings += rule.find(view, self._limits)
            except Exception:
                self.faults[rule.name] += 1
                _logger.exception("The rule %s failed; the others go on", rule.name)
        _logger.debug("%d readings, %d of them in breach", len(readings), sum(one.breached for one in readings))
        return readings

    async def keep(self, store: Store) -> None:
        """Keep what was learned, for the next start."""

    def _view(self, now_us: int) -> View:
        now_s = self._clock_s()
        window = self._window
        window.learn()
        window.move(now_s)
        self._history.move(now_us, len(window.services))
        return View(
            now_us=now_us,
            span_s=window.span_s(now_s),
            up_s=now_s - self._began_s,
            services=window.services,
            by_service=window.by_service,
            buckets=window.buckets,
            series=window.series,
            service_of=window.service_of,
            by_series=window.by_series,
            buckets_of=window.buckets_of,
            history=self._history,
            costs=self._costs,
            gauges=self._gauges,
            loops=self._loops,
            longest_stall=window.longest_stall(),
        )
