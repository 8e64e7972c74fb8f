"""Measures what the rules read, and runs every rule at each check."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.alerts.measurement.backfill import refill
from cogmeter.alerts.measurement.costs import CostTotals
from cogmeter.alerts.measurement.deviations import Deviations
from cogmeter.alerts.measurement.errors import ErrorTotals, series_with_logged_errors
from cogmeter.alerts.measurement.expected_traffic import ExpectedTraffic
from cogmeter.alerts.measurement.fleet import OtherProcesses
from cogmeter.alerts.measurement.gauges import GaugeHistory
from cogmeter.alerts.measurement.history import FIVE_MINUTES_S, WindowHistory
from cogmeter.alerts.measurement.running import LongRunning, UsualDurations
from cogmeter.alerts.measurement.snapshot import Snapshot
from cogmeter.alerts.measurement.spending import KEY as SPENDING
from cogmeter.alerts.measurement.spending import Spending
from cogmeter.alerts.measurement.window import OPERATIONS, PIECE, SUM_US, Window
from cogmeter.alerts.rule_runner import find_readings, in_turns, log_readings
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.dependency import DEPENDENCY
from cogmeter.alerts.rules.deviation import DEVIATION
from cogmeter.alerts.rules.errors import NEW_ERROR
from cogmeter.alerts.rules.running import HUNG
from cogmeter.alerts.rules.suppression import Suppression
from cogmeter.alerts.rules.traffic import LOW_TRAFFIC
from cogmeter.alerts.shared_readings import OWN_RULES, SharedReadings
from cogmeter.alerts.thresholds.keys import THRESHOLD
from cogmeter.alerts.unjudged import reasons
from cogmeter.query.pricing import Prices
from cogmeter.query.query import now_us as wall_us
from cogmeter.settings.prices import parse_prices
from cogmeter.startup import StartupGuard, parsing
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from cogmeter.alerts.model import GrownObjects, LoopState, Reading, Subject
    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.recording.budgets import Budgets
    from cogmeter.recording.waiting import Running
    from cogmeter_storage.base import Store
    from cogmeter_storage.errors import ErrorBatch, ErrorChange
    from cogmeter_storage.model import SeriesRecord
    from cogmeter_storage.process import ProcessRecord

BASELINES: Final = "alerts.baselines"  # keys in the store's memory
MEASURED: Final = "alerts.measured"
EXPLAINED_WINDOWS: Final = 2  # windows after the other breach for which a reading stays explained

_logger = logging.getLogger("cogmeter.alerts")


class Evaluator:
    """The measurements of one monitor; ``evaluate`` compares them with the limits."""

    def __init__(
        self,
        names: Sequence[tuple[str, str]],
        limits: Limits,
        *,
        window_s: float,
        clock_s: Callable[[], float] = time.perf_counter,
        wall: Callable[[], int] = wall_us,
        running: Callable[[float], Awaitable[Sequence[Running]]] | None = None,
        budgets: Budgets | None = None,
        learn: Callable[[Iterable[tuple[str, str]]], object] | None = None,
    ) -> None:
        """``names`` is the recorder's growing list of (service, operation), by series number.

        ``budgets`` are the recorder's, which commands ask. ``learn`` adds the names of other processes to ``names``.

        ``running`` returns the oldest running operation of each name from this age in seconds on. ``clock_s`` returns
        the seconds of a monotonic clock, ``wall`` the microseconds since 1970 UTC.
        """
        self.faults: Counter[str] = Counter()  # internal errors, by rule
        self._names = names
        self._limits = limits
        self._window = Window(names, length_s=window_s)
        self._others = OtherProcesses(names, learn)
        self._processes: Sequence[ProcessRecord] = ()
        self._shared = SharedReadings()
        self._history = WindowHistory()
        self._expected_traffic = ExpectedTraffic()
        self._costs = CostTotals()
        self.spending = Spending(Prices(parse_prices(limits.settings.cost_prices)), budgets)
        self._errors = ErrorTotals(window_s, wall())
        self._window_s = window_s
        self._gauges = GaugeHistory()
        self._loops: Sequence[LoopState] = ()
        self.store: Store | None = None  # with the usual durations of operations, and the states of errors
        self._running_from = running
        self._usual_durations = UsualDurations()
        self._grown: GrownObjects | None = None
        self._deviations = Deviations(limits.settings.alert_min_operations)
        self._suppression = Suppression(EXPLAINED_WINDOWS * window_s)
        self._silent_before: Collection[str] = ()
        self._source: Store | None = None  # the store of the last ``restore``
        self._unread: set[str] = set()  # keys that this store could not return
        self._clock_s, self._wall = clock_s, wall
        self._began_s = clock_s()

    @property
    def window(self) -> Window:
        """The running totals of the last minutes, up to now."""
        self._window.learn()
        self._window.move(self._clock_s())
        return self._window

    @property
    def memory_grows_rapidly(self) -> bool:
        """True if the memory of the process grew fast in the last minute."""
        return self._gauges.rapid_growth()[0] > 0

    @property
    def costs(self) -> CostTotals:
        """The costs of the last day."""
        return self._costs

    async def restore(self, store: Store, now_us: int, parts: StartupGuard | None = None) -> None:
        """Restore what is stored: the window, the long windows, baselines, costs. A part that fails starts empty.

        The window leaves out series that the recorder does not know, so it has to learn those of the store first.
        ``parts`` receives failures. ``keep`` does not overwrite what the store could not return now.
        """
        parts = StartupGuard(Counter()) if parts is None else parts
        self._source, self._unread = store, set()
        self.store = store
        await self._restore_windows(store, now_us, parts)
        with self._restoring(parts, BASELINES, "baselines", "they are learned again"):
            await self._deviations.load(await store.get_value(BASELINES) or b"")
        with self._restoring(parts, MEASURED, "recent costs", "those of the last 24 hours are counted again"):
            self._restore_measured(await store.get_value(MEASURED), now_us, parts)
        with self._restoring(parts, SPENDING, "spending", "it is counted again from the stored operations"):
            await self.spending.begin(store.own, now_us)

    async def watch(self, atoms: list[Any]) -> None:
        """Count a batch of the buffer's atoms."""
        now_us = self._wall()
        counts = await self._window.add(atoms, self._clock_s())
        self._history.add(counts[:SUM_US], now_us)
        logged = np.zeros_like(counts[OPERATIONS])
        for start in range(0, len(atoms), PIECE):
            if start:
                await asyncio.sleep(0)
            for series in series_with_logged_errors(atoms[start : start + PIECE]):
                logged[self._window.service_of[series]] += 1
            self._costs.count(await self.spending.count(atoms[start : start + PIECE], self._names), now_us)
        self._errors.add_operations(counts[OPERATIONS], logged, now_us)
        if self._deviations.due:
            self._deviations.learn(self._snapshot(now_us))

    def count_errors(self, batches: Sequence[ErrorBatch], changes: Sequence[ErrorChange]) -> None:
        """Count stored errors; ``changes`` are the groups that began or came back with them."""
        self._errors.add_errors(batches, changes, self._wall(), self._clock_s())

    def learn_errors_again(self) -> None:
        """Count no error as new for a while: the store is another one, which knows none."""
        self._errors.learn_again(self._wall())

    def sampled(
        self,
        at_us: int,
        gauges: Mapping[str, float],
        loops: Sequence[LoopState] = (),
        grown: GrownObjects | None = None,
    ) -> None:
        """Add the gauges of one moment, the loops that are dead or overdue, and the live objects that grew."""
        self._gauges.take(at_us, gauges)
        self._loops = tuple(loops)
        self._grown = grown

    def continue_samples(self, previous: Evaluator) -> None:
        """Continue with what another evaluator of this process was passed by ``sampled``: gauges are not restored."""
        self._gauges, self._loops = previous._gauges, previous._loops
        self._grown = previous._grown

    def stepped(self, step_us: int) -> None:
        """Follow a step of the wall clock, so that the age of each count stays the same."""
        for part in (self._history, self._costs, self._errors, self._gauges, self._suppression, self.spending):
            part.shift(step_us)

    async def evaluate(self, now_us: int) -> list[Reading]:
        """Return the readings beyond their recovery thresholds; one that another reading explains is not breached."""
        await self.follow(now_us)
        snapshot = await self._present_snapshot(now_us)
        while self._deviations.due and self._deviations.new_minute(now_us):
            self._deviations.learn(snapshot)  # baselines that are still due from the minute before
            await asyncio.sleep(0)
        if self._limits.active(DEVIATION.name) or self._limits.active(DEPENDENCY.name):
            self._deviations.plan(snapshot)
        self._deviations.learn(snapshot)
        self._costs.move(now_us)
        readings = await find_readings(RULES.values(), snapshot, self._limits, self.faults)
        self._note_silent(readings)
        self._note_reported(readings)
        if self.store is not None and self.store.shared:
            readings = await self._shared.add_others(self.store, readings, self._processes)
        readings = await in_turns(self._suppression.mark(readings, now_us))
        log_readings(readings)
        return readings

    def not_judged(self, subjects: Iterable[Subject], readings: Iterable[Reading]) -> dict[Subject, str]:
        """Return why subjects without a reading cannot be compared now: "too few operations"; others are left out.

        See ``unjudged.reasons``.
        """
        return reasons(self.window, self._limits, subjects, readings)

    async def share(self, now_us: int) -> None:
        """Store the readings that only this process can measure, for the process that leads."""
        if self.store is not None and self.store.shared:
            snapshot = await self._present_snapshot(now_us)
            readings = await find_readings(OWN_RULES, snapshot, self._limits, self.faults)
            self._note_reported(readings)
            try:
                await self._shared.share(self.store, readings)
            except StorageError as error:
                _logger.debug("The readings of this process could not be stored", exc_info=error)

    async def follow(self, now_us: int) -> None:
        """Count what other processes have stored since the last time, and note when each was last seen."""
        if self.store is None or not self.store.shared:
            return
        try:
            totals = await self._others.read(self.store, now_us)
            processes = await self.store.processes()
        except StorageError as error:
            _logger.debug("The operations of other processes could not be read", exc_info=error)
            return
        self._processes = processes
        if totals is not None:
            self._history.add(self._window.add_totals(totals, self._clock_s())[:SUM_US], now_us)

    async def keep(self, store: Store, *, learned: bool = True) -> None:
        """Store the costs, and what was learned, for the next start: only the leader of a fleet learns."""
        unread = self._unread if store is self._source else ()
        if learned and BASELINES not in unread:
            await store.set_value(BASELINES, await self._deviations.dump())
        if learned and MEASURED not in unread:
            measured = {
                "costs": self._costs.state(),
                "errors": self._errors.state(self._window.services),
                "silent": self._expected_traffic.silent,
                "echoes": self._suppression.state(),
            }
            await store.set_value(MEASURED, json.dumps(measured).encode())
        if SPENDING not in unread:
            await self.spending.keep(store.own)

    async def keep_costs(self, store: Store) -> None:
        """Store the costs that wait, unless the store could not return what is counted already."""
        if self.spending.pending and SPENDING not in (self._unread if store is self._source else ()):
            await self.spending.keep(store.own)

    async def _restore_windows(self, store: Store, now_us: int, parts: StartupGuard) -> None:
        series: Sequence[SeriesRecord] = ()
        with parts.guard("windows", "they start empty"):
            series = await store.series()
        self._window.learn(sorted({record.service for record in series}))
        with parts.guard("long windows", "they start empty"):
            history = WindowHistory()
            await history.restore(store, self._window.places, series, now_us)
            self._history = history
        with parts.guard("alert window", "it starts empty"):
            try:
                until_us = self._others.first_us(now_us) if store.shared else None
                await refill(self._window, store, series, now_us, self._clock_s(), until_us=until_us)
                if store.shared:
                    await self._others.refill(self._window, store, now_us, self._clock_s())
            except BaseException:
                self._window.clear()
                raise

    @contextmanager
    def _restoring(self, parts: StartupGuard, key: str, part: str, effect: str) -> Iterator[None]:
        """Guard a part whose state is stored under ``key``."""
        with parts.guard(part, effect):
            try:
                yield
            except StorageError:
                self._unread.add(key)  # it may be intact, and the next start may read it
                raise

    async def _present_snapshot(self, now_us: int) -> Snapshot:
        running = await self._running(now_us)
        await self._follow_errors(now_us)
        return self._snapshot(now_us, running)

    def _note_reported(self, readings: Sequence[Reading]) -> None:
        self._errors.note_reported({one.subject.operation for one in readings if one.subject.rule == NEW_ERROR.name})

    def _note_silent(self, readings: Sequence[Reading]) -> None:
        silent = [reading.subject.service for reading in readings if reading.subject.rule == LOW_TRAFFIC.name]
        began = self._clock_s() - self._began_s < FIVE_MINUTES_S
        self._expected_traffic.note([*silent, *(self._silent_before if began else ())], self._window.places)

    def _restore_measured(self, measured: bytes | None, now_us: int, parts: StartupGuard) -> None:
        if measured is None:
            return
        with parsing():
            state = json.loads(measured)
            stored = (state["costs"], state["silent"], state["echoes"])
        with parts.guard("recent costs", "those of the last 24 hours are counted again"), parsing():
            costs = CostTotals()
            costs.restore(stored[0], now_us)
            self._costs = costs
        with parts.guard("recent errors", "known errors are learned again"), parsing():
            if "errors" in state:  # earlier versions did not count them
                errors = ErrorTotals(self._window_s, now_us)
                errors.restore(state["errors"], self._window.places, now_us)
                self._errors = errors
        with parts.guard("silent services", "a service that was silent before the start raises no alert"), parsing():
            self._expected_traffic.restore(stored[1])
            self._silent_before = frozenset(self._expected_traffic.silent)
        with parts.guard("explained alerts", "an alert may repeat what an earlier one explained"), parsing():
            self._suppression.restore(stored[2])

    async def _running(self, now_us: int) -> Sequence[LongRunning]:
        """Return the operations that run for longer than the least threshold of the rule about them."""
        if self._running_from is None or not self._limits.active(HUNG.name):
            return ()
        subjects = (HUNG.subject(""), *self._limits.explicit(HUNG.name, THRESHOLD))
        least_s = min(threshold for subject in subjects if (threshold := self._limits.of(subject).threshold))
        try:
            running = await self._running_from(least_s)
            now_s = self._clock_s()
            return await self._usual_durations.of(running, self.window, self.store, now_us=now_us, now_s=now_s)
        except Exception:
            self.faults[HUNG.name] += 1
            _logger.exception("The running operations could not be read; all rules but %s continue", HUNG.name)
            return ()

    async def _follow_errors(self, now_us: int) -> None:
        """Read which new errors are resolved or muted by now."""
        if self.store is None or not self._limits.active(NEW_ERROR.name):
            return
        try:
            await self._errors.follow(self.store, now_us)
        except Exception:
            self.faults[NEW_ERROR.name] += 1
            _logger.exception("The state of new errors could not be read; the rules continue")

    def _snapshot(self, now_us: int, running: Sequence[LongRunning] = ()) -> Snapshot:
        now_s = self._clock_s()
        window = self._window
        window.learn()
        window.move(now_s)
        self._history.move(now_us, len(window.services))
        self._expected_traffic.update(self._history, window.services, now_us)
        return Snapshot(
            now_us=now_us,
            span_s=window.span_s(now_s),
            up_s=now_s - self._began_s,
            services=tuple(window.services),
            by_service=window.by_service,
            buckets=window.buckets,
            top=window.top,
            series=window.series,
            service_of=window.service_of,
            by_series=window.by_series,
            histograms_of=window.histograms_of,
            history=self._history.long_windows(),
            costs=self._costs,
            usual_per_minute=self._expected_traffic.per_minute,
            burstiness=self._expected_traffic.burstiness,
            silent_before=self._silent_before,
            gauges=self._gauges,
            loops=self._loops,
            running=running,
            grown=self._grown,
            longest_stall=window.longest_stall(),
            budgets=self.spending.budgets,
            errors=self._errors.recent(len(window.services), now_us, now_s),
            processes=self._processes,
            deviations=dict(self._deviations.by_service),  # more of them may be learned during a check
        )
