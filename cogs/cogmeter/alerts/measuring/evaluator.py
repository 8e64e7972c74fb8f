"""Measures what the rules are about, and at each check says what is beyond its limits."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from cogmeter.alerts.measuring.costs import Costs
from cogmeter.alerts.measuring.deviations import Deviations
from cogmeter.alerts.measuring.gauges import Gauges
from cogmeter.alerts.measuring.history import FIVE_MINUTES_S, History
from cogmeter.alerts.measuring.past import refill
from cogmeter.alerts.measuring.spending import Spending
from cogmeter.alerts.measuring.usual import Usual
from cogmeter.alerts.measuring.view import View
from cogmeter.alerts.measuring.window import PIECE, SUM_US, Window
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.deviation import DEVIATION
from cogmeter.alerts.rules.echoes import Echoes
from cogmeter.alerts.rules.traffic import LOW_TRAFFIC
from cogmeter.query import now_us as wall_us

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from cogmeter.alerts.limits import Limits
    from cogmeter.alerts.model import LoopState, Reading
    from cogmeter_storage.base import Store

BASELINES: Final = "alerts.baselines"  # keys of what the store remembers for us
MEASURED: Final = "alerts.measured"
ECHO_WINDOWS: Final = 2  # for so many windows after its explanation an echo stays one
TURN_S: Final = 0.0005  # a check gives the loop a turn when it has held it for so long

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
        self._usual = Usual()
        self._costs = Costs()
        self.spending = Spending()
        self._gauges = Gauges()
        self._loops: Sequence[LoopState] = ()
        self._deviations = Deviations(limits.settings.alert_min_operations)
        self._echoes = Echoes(ECHO_WINDOWS * window_s)
        self._silent_before: Collection[str] = ()
        self._clock_s, self._wall = clock_s, wall
        self._began_s = clock_s()

    @property
    def window(self) -> Window:
        """The running totals of the last minutes, up to now."""
        self._window.learn()
        self._window.move(self._clock_s())
        return self._window

    @property
    def costs(self) -> Costs:
        """What operations cost."""
        return self._costs

    async def restore(self, store: Store, now_us: int) -> None:
        """Take up what is stored: the window, the long windows, costs and baselines.

        Series that the recorder does not know yet are left out of the window: let it know those of the store before.
        """
        series = await store.series()
        self._window.learn(sorted({one.service for one in series}))
        await self._history.restore(store, self._window.places, series, now_us)
        await refill(self._window, store, series, now_us, self._clock_s())
        await self._deviations.load(await store.recall(BASELINES) or b"")
        self._take_up(await store.recall(MEASURED), now_us)
        await self.spending.begin(store, now_us)

    async def watch(self, atoms: list[Any]) -> None:
        """Count a batch of the buffer's atoms."""
        now_us = self._wall()
        counts = await self._window.add(atoms, self._clock_s())
        self._history.add(counts[:SUM_US], now_us)
        for start in range(0, len(atoms), PIECE):
            if start:
                await asyncio.sleep(0)
            self._costs.count(atoms[start : start + PIECE], self._names, now_us)
            self.spending.count(atoms[start : start + PIECE], self._names)
        if self._deviations.due:
            self._deviations.learn(self._view(now_us))

    def sampled(self, at_us: int, gauges: Mapping[str, float], loops: Sequence[LoopState] = ()) -> None:
        """Take the gauges of one moment, and the loops that are not well at it."""
        self._gauges.take(at_us, gauges)
        self._loops = tuple(loops)

    async def evaluate(self, now_us: int) -> list[Reading]:
        """All that is beyond its recovery threshold now; what another reading explains is not breached."""
        view = self._view(now_us)
        while self._deviations.due and self._deviations.new_minute(now_us):
            self._deviations.learn(view)  # what the minute before left undone
            await asyncio.sleep(0)
        if self._limits.active(DEVIATION):
            self._deviations.plan(view)
        self._deviations.learn(view)
        self._costs.move(now_us)
        readings = await _in_turns(self._found(view))
        self._note_silent(readings)
        readings = await _in_turns(self._echoes.mark(readings, now_us))
        if _logger.isEnabledFor(logging.DEBUG):
            _explain(readings)
        return readings

    async def keep(self, store: Store) -> None:
        """Keep what was learned, for the next start."""
        await store.remember(BASELINES, await self._deviations.dump())
        measured = {"costs": self._costs.state(), "silent": self._usual.kept, "echoes": self._echoes.state()}
        await store.remember(MEASURED, json.dumps(measured).encode())
        await self.spending.keep(store)

    def _found(self, view: View) -> Iterator[Reading]:
        """Each rule's readings; one that fails is said and counted, and keeps no other from being read."""
        for rule in RULES.values():
            if not self._limits.active(rule.name):
                continue
            try:
                yield from rule.find(view, self._limits)
            except Exception:
                self.faults[rule.name] += 1
                _logger.exception("The rule %s failed; the others go on", rule.name)

    def _note_silent(self, readings: Sequence[Reading]) -> None:
        silent = [one.subject.service for one in readings if one.subject.rule == LOW_TRAFFIC]
        began = self._clock_s() - self._began_s < FIVE_MINUTES_S
        self._usual.note([*silent, *(self._silent_before if began else ())], self._window.places)

    def _take_up(self, measured: bytes | None, now_us: int) -> None:
        if measured is None:
            return
        try:
            state = json.loads(measured)
            self._costs.restore(state["costs"], now_us)
            self._usual.kept = {
                str(name): (float(rate), float(burst)) for name, (rate, burst) in state["silent"].items()
            }
            self._echoes.restore(state["echoes"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _logger.warning("Costs that cannot be read are counted anew: %s", error)
        self._silent_before = frozenset(self._usual.kept)

    def _view(self, now_us: int) -> View:
        now_s = self._clock_s()
        window = self._window
        window.learn()
        window.move(now_s)
        self._history.move(now_us, len(window.services))
        self._usual.update(self._history, window.services, now_us)
        return View(
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
            buckets_of=window.buckets_of,
            history=self._history.long_windows(),
            costs=self._costs,
            usual_per_minute=self._usual.per_minute,
            burstiness=self._usual.burstiness,
            silent_before=self._silent_before,
            gauges=self._gauges,
            loops=self._loops,
            longest_stall=window.longest_stall(),
            deviations=dict(self._deviations.found),  # more of them may be learned while a check is under way
        )


def _explain(readings: Sequence[Reading]) -> None:
    """Say what was measured, and why some of it raises no alert; the engine says what became of the rest."""
    _logger.debug("%d readings, %d of them in breach", len(readings), sum(one.breached for one in readings))
    for one in readings:
        if not one.breached:
            name = "/".join(filter(None, (one.subject.service, one.subject.operation)))
            _logger.debug("%s: %s: no breach, or chance or another alert explains it", name, one.message)


async def _in_turns(found: Iterable[Reading]) -> list[Reading]:
    """All of them, worked out little by little: in between the loop has its turn."""
    readings: list[Reading] = []
    held_s = time.perf_counter()
    for one in found:
        readings.append(one)
        if time.perf_counter() - held_s >= TURN_S:
            await asyncio.sleep(0)
            held_s = time.perf_counter()
    return readings
