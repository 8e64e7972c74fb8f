"""Traffic through the real rules and the real engine, on a virtual clock, with a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from factories import make_errors
from numpy.typing import NDArray

from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.lifecycle.engine import AlertEngine
from cogmeter.alerts.lifecycle.subject_state import Policy
from cogmeter.alerts.model import LoopState
from cogmeter.alerts.thresholds.learning import Calibrator
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.recording.waiting import Running
from cogmeter.settings import Settings
from cogmeter_storage.alerting import Alert, AlertChange, AlertState
from cogmeter_storage.base import Store
from cogmeter_storage.errors import ErrorBatch, ErrorKind
from traffic.incidents import Incident
from traffic.stream import DAY_S, START_S, Traffic

CHECK_S = 30.0
OVERRIDES = {"burn_rate@translation": "0.99"}  # there is no target that fits every service
ROWS = 2_000  # stored at once
RARE_CHECKS = (2 * 2_880, 2 * 2_880 + 500)  # of one error: too few to be reported
LONG_S = 10.0  # shorter operations cannot hang
GRACE_S = 600.0  # after its end an incident is still in the window


@dataclass(frozen=True, slots=True)
class Found:
    """What was reported."""

    alerts: tuple[Alert, ...]  # that fired, the first one first
    changes: tuple[AlertChange, ...]
    checks: int

    def of(self, incident: Incident) -> list[Alert]:
        """Those that tell of an incident: by a rule that may, of its service, in its time."""
        return [
            alert
            for alert in self.alerts
            if alert.service == incident.service
            and alert.rule in incident.rules
            and alert.operation in {"", incident.operation, incident.error}
            and incident.since_s <= fired_s(alert) <= incident.until_s + GRACE_S
        ]

    def false(self, incidents: tuple[Incident, ...]) -> list[Alert]:
        """Those that tell of nothing that is wrong: outside of all incidents of their service."""
        return [
            alert
            for alert in self.alerts
            if not any(
                one.service == alert.service and one.since_s <= fired_s(alert) <= one.until_s + GRACE_S
                for one in incidents
            )
        ]


def fired_s(alert: Alert) -> float:
    """When it was reported, in seconds from the beginning."""
    assert alert.fired_us is not None
    return alert.fired_us / 1e6 - START_S


class _Clock:
    now_s = 0.0

    def seconds(self) -> float:
        return self.now_s

    def wall(self) -> int:
        return int((START_S + self.now_s) * 1e6)


class _RunningOperations:
    """The operations of the traffic that run at the clock's time, and those that hang."""

    def __init__(self, traffic: Traffic, clock: _Clock) -> None:
        durations_s = traffic.durations_us / 1e6
        long = durations_s >= LONG_S
        self._clock, self._names = clock, [traffic.names[number] for number in traffic.series[long].tolist()]
        self._since_s, self._until_s = traffic.times_s[long] - durations_s[long], traffic.times_s[long]
        self._hung = [one for one in traffic.incidents if one.hangs]

    async def of(self, least_s: float) -> list[Running]:
        now_s = self._clock.now_s
        there = np.flatnonzero((self._since_s <= now_s - least_s) & (now_s < self._until_s)).tolist()
        found = [(self._since_s[place].item(), *self._names[place]) for place in there]
        found += [(one.since_s, one.service, one.operation) for one in self._hung if one.since_s <= now_s < one.until_s]
        oldest = {(service, operation): since_s for since_s, service, operation in sorted(found, reverse=True)}
        running = [Running(*names, now_s - since_s, "bot.py:42 in work") for names, since_s in oldest.items()]
        return sorted((one for one in running if one.age_s >= least_s), key=lambda one: -one.age_s)


class _Errors:
    """The groups of errors of the traffic: a known one every hour, one that occurs twice, those of the incidents."""

    def __init__(self, traffic: Traffic, store: Store, clock: _Clock) -> None:
        self._store, self._clock = store, clock
        self._incidents = [one for one in traffic.incidents if one.error]
        self._checks = 0

    async def count(self, evaluator: Evaluator) -> None:
        """Store the errors of one check, and count them, as the flusher does."""
        now_s, batches = self._clock.now_s, []
        if self._checks % 120 == 0:
            batches.append(self._batch("known", "daily-rhythm"))
        if self._checks in RARE_CHECKS:
            batches.append(self._batch("rare", "daily-rhythm"))
        for one in self._incidents:
            if one.since_s <= now_s < one.until_s:
                if one.unhandled:
                    batches.append(self._batch("lost", "unhandled", kind=ErrorKind.UNHANDLED))
                else:
                    batches.append(self._batch("remind", one.service, type="KeyError"))
        self._checks += 1
        if batches:
            evaluator.count_errors(batches, await self._store.errors.add(batches))

    def _batch(self, name: str, service: str, **facts: Any) -> ErrorBatch:
        return make_errors(name, self._clock.wall(), where=(service, "query"), **facts)


class _Bot:
    """One run of the parts that alert."""

    def __init__(self, traffic: Traffic, store: Store, limits: Limits, clock: _Clock, errors: _Errors) -> None:
        settings = limits.settings
        self._store, self._clock, self._errors = store, clock, errors
        self._dead = [one for one in traffic.incidents if one.dead]
        self.evaluator = Evaluator(
            traffic.names,
            limits,
            window_s=settings.alert_window,
            clock_s=clock.seconds,
            wall=clock.wall,
            running=_RunningOperations(traffic, clock).of,
        )
        policy = Policy(cooldown_s=settings.alert_cooldown, group_from=settings.alert_group_from)
        self.engine = AlertEngine(store, limits.of, policy, targets=lambda _: (), wake=lambda: None)

    async def start(self) -> None:
        await self.evaluator.restore(self._store, self._clock.wall())
        await self.engine.restore(self._clock.wall())

    async def check(self, atoms: list[Any]) -> None:
        await self.evaluator.watch(atoms)
        await self._errors.count(self.evaluator)
        dead = [one.operation for one in self._dead if one.since_s <= self._clock.now_s < one.until_s]
        if self._dead:
            loops = [LoopState(name, dead=True, overdue_s=0, text="ended by KeyError") for name in dead]
            self.evaluator.sampled(self._clock.wall(), {}, loops)
        await self.engine.step(await self.evaluator.evaluate(self._clock.wall()), self._clock.wall())

    async def stop(self) -> None:
        assert not self.evaluator.faults, self.evaluator.faults
        await self.evaluator.keep(self._store)


async def simulate(
    traffic: Traffic,
    store: Store,
    overrides: Mapping[str, str] = OVERRIDES,
    *,
    restarts_s: Sequence[float] = (),
    down_s: float = 60.0,
    learning_days: float = 0.0,
    check_s: float = CHECK_S,
) -> Found:
    """Let all of the traffic pass, with a check every 30 seconds, under the default settings and these limits.

    The bot restarts at the times given, and is down for so long each time; then its operations are stored, too. So they
    are in the days in which thresholds are learned, each hour.
    """
    clock, limits = _Clock(), Limits(Settings(_env_file=None), overrides)
    calibrator = Calibrator(limits)
    if learning_days:
        await calibrator.restore(store)
    keeper = await _Keeper.of(traffic, store) if restarts_s or learning_days else None
    errors = _Errors(traffic, store, clock)
    columns = (traffic.series, traffic.times_s * 1e9, traffic.durations_us * 1000, traffic.outcomes, traffic.logged)
    waiting, back_s, checks = sorted(restarts_s), 0.0, 0
    bot: _Bot | None = None
    for end_s, place in traffic.slices(check_s):
        clock.now_s = end_s
        learns = end_s % 3_600 == 0 and end_s <= learning_days * DAY_S
        if end_s <= back_s:
            continue
        if bot is None:
            bot = _Bot(traffic, store, limits, clock, errors)
            await bot.start()
        await bot.check(_atoms([column[place] for column in columns]))
        checks += 1
        stops = bool(waiting) and end_s >= waiting[0]
        if keeper is not None and (restarts_s or end_s <= learning_days * DAY_S):
            await keeper.keep(place, clock.wall(), at_once=stops or learns)
        if learns:
            await calibrator.learn(store, clock.wall())
        if stops:
            await bot.stop()
            bot, back_s = None, waiting.pop(0) + down_s
    if bot is not None:
        await bot.stop()
    return Found(await _fired(store), await _changes(store), checks)


class _Keeper:
    """Stores the operations of the traffic, as the flusher does, though not as often."""

    def __init__(self, traffic: Traffic, store: Store, numbers: NDArray[np.int64]) -> None:
        self._traffic, self._store, self._numbers = traffic, store, numbers
        self._rows: list[tuple[Any, ...]] = []

    @classmethod
    async def of(cls, traffic: Traffic, store: Store) -> _Keeper:
        return cls(traffic, store, np.array(await store.series_ids(traffic.names)))

    async def keep(self, place: slice, now_us: int, *, at_once: bool) -> None:
        traffic = self._traffic
        ends_us = ((START_S + traffic.times_s[place]) * 1e6).astype(np.int64)
        columns = (self._numbers[traffic.series[place]], ends_us, traffic.durations_us[place], traffic.outcomes[place])
        self._rows += [(*row, None, None) for row in zip(*(column.tolist() for column in columns), strict=True)]
        if at_once or len(self._rows) >= ROWS:
            rows, self._rows = self._rows, []
            await self._store.append([rows], now_us=now_us)
            await self._store.fold(now_us=now_us)


def _atoms(columns: list[Any]) -> list[Any]:
    """As the buffer holds them."""
    series, ends_ns, durations_ns, outcomes, logged = columns
    atoms: list[Any] = [None] * (5 * len(series))
    for place, column in enumerate((series, ends_ns.astype(np.int64), durations_ns, outcomes)):
        atoms[place::5] = column.tolist()
    for place in np.flatnonzero(logged).tolist():
        atoms[5 * place + 4] = (None, {"logged_errors": 1})
    return atoms


async def _fired(store: Store) -> tuple[Alert, ...]:
    alerts = await store.alerting.alerts(tuple(AlertState), limit=10_000)
    return tuple(sorted((one for one in alerts if one.fired_us is not None), key=fired_s))


async def _changes(store: Store) -> tuple[AlertChange, ...]:
    return tuple(await store.alerting.changes(limit=100_000))
