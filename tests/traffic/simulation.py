"""Traffic through the real rules and the real engine, on a virtual clock, with a real store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cogmeter.alerts.limits import Limits
from cogmeter.alerts.measuring.evaluator import Evaluator
from cogmeter.alerts.states.engine import AlertEngine, Policy
from cogmeter.settings import Settings
from cogmeter_storage.alerting import Alert, AlertChange, AlertState
from cogmeter_storage.base import Store
from traffic.incidents import Incident
from traffic.stream import START_S, Traffic

CHECK_S = 30.0
OVERRIDES = {"burn_rate@translation": "0.99"}  # there is no target that fits every service
GRACE_S = 600.0  # after its end an incident is still in the window


@dataclass(frozen=True, slots=True)
class Found:
    """What was told."""

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
            and alert.operation in {"", incident.operation}
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
    """When it was told, in seconds from the beginning."""
    assert alert.fired_us is not None
    return alert.fired_us / 1e6 - START_S


class _Clock:
    now_s = 0.0

    def seconds(self) -> float:
        return self.now_s

    def wall(self) -> int:
        return int((START_S + self.now_s) * 1e6)


async def simulate(traffic: Traffic, store: Store, overrides: Mapping[str, str] = OVERRIDES) -> Found:
    """Let all of the traffic pass, with a check every 30 seconds, under the default settings and these limits."""
    settings = Settings(_env_file=None)
    clock, limits = _Clock(), Limits(settings, overrides)
    evaluator = Evaluator(traffic.names, limits, window_s=settings.alert_window, clock_s=clock.seconds, wall=clock.wall)
    policy = Policy(cooldown_s=settings.alert_cooldown, group_from=settings.alert_group_from)
    engine = AlertEngine(store, limits.of, policy, targets=lambda _: (), told=lambda: None)
    await evaluator.restore(store, clock.wall())
    await engine.restore(clock.wall())
    columns = (traffic.series, traffic.times_s * 1e9, traffic.durations_us * 1000, traffic.outcomes)
    for end_s, place in traffic.slices(CHECK_S):
        clock.now_s = end_s
        await evaluator.watch(_atoms([column[place] for column in columns]))
        await engine.step(await evaluator.evaluate(clock.wall()), clock.wall())
    assert not evaluator.faults, evaluator.faults
    return Found(await _fired(store), await _changes(store), engine.checks)


def _atoms(columns: list[Any]) -> list[Any]:
    """As the buffer holds them."""
    series, ends_ns, durations_ns, outcomes = columns
    atoms: list[Any] = [None] * (5 * len(series))
    for place, column in enumerate((series, ends_ns.astype(np.int64), durations_ns, outcomes)):
        atoms[place::5] = column.tolist()
    return atoms


async def _fired(store: Store) -> tuple[Alert, ...]:
    alerts = await store.alerting.alerts(tuple(AlertState), limit=10_000)
    return tuple(sorted((one for one in alerts if one.fired_us is not None), key=fired_s))


async def _changes(store: Store) -> tuple[AlertChange, ...]:
    return tuple(await store.alerting.changes(limit=100_000))
