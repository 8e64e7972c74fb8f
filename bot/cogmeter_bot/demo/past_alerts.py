"""The alerts of the made-up past: what the past incidents raised, who took them up, and when they were over."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.alerts.rules.rule import CRITICAL_FROM
from cogmeter_bot.demo.incidents import PAST
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import FAILURES, HOUR_US, MINUTE_US, Marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter_bot.demo.history import GeneratedHistory
    from cogmeter_bot.demo.incidents import Incident
    from cogmeter_storage.base import Store

DELAY_US: Final = 4 * MINUTE_US  # from an incident's beginning to its alert
TAKEN_UP_US: Final = 6 * MINUTE_US
RECOVERY_US: Final = 5 * MINUTE_US
OWNER: Final = "owner"
DEPLOYS: Final = ((-113.1, "deployed 1.2"), (-55.1, "deployed 1.3"), (-9.4, "deployed 1.4"))  # hours before now


def past_alerts(history: GeneratedHistory, until_us: int) -> list[Alert]:
    """The alerts that the past incidents raised at cogmeter's default thresholds, oldest first, all resolved."""
    alerts = (_alert(one, history, until_us) for one in PAST)
    return [one for one in alerts if one is not None]


async def bring_alerts(store: Store, alerts: Sequence[Alert], *, until_us: int, days: float) -> None:
    """Store the alerts as they went on, and the deploys of the last ``days`` that they came after."""
    for hours, name in DEPLOYS:
        if -hours < days * 24:
            await store.add_marker(Marker(int(until_us + hours * HOUR_US), "mark", name))
    for alert in alerts:
        for step in _life(alert):
            await store.alerting.save([step])


def _life(alert: Alert) -> list[Step]:
    """What happened to it: fired, acknowledged if it is known by whom, resolved."""
    firing = replace(
        alert,
        state=AlertState.FIRING,
        changed_us=alert.fired_us or alert.started_us,
        acknowledged_us=None,
        acknowledged_by="",
        resolved_us=None,
    )
    stages = [Step(firing, _change(firing, "fired"))]
    if alert.acknowledged_us is not None:
        taken = replace(alert, state=AlertState.ACKNOWLEDGED, changed_us=alert.acknowledged_us, resolved_us=None)
        stages.append(Step(taken, _change(taken, "acknowledged", actor=OWNER)))
    return [*stages, Step(alert, _change(alert, "resolved"))]


def _change(alert: Alert, kind: str, actor: str = "") -> AlertChange:
    return AlertChange(
        alert=alert.uid,
        kind=kind,
        state=alert.state,
        severity=alert.severity,
        message=alert.message,
        current=alert.current,
        threshold=alert.threshold,
        at_us=alert.changed_us,
        actor=actor,
    )


def _alert(incident: Incident, history: GeneratedHistory, until_us: int) -> Alert | None:
    """What an incident raised, measured over the whole of it; None if it did not reach a threshold."""
    since_us, end_us = (int(until_us + hours * HOUR_US) for hours in (incident.start, incident.end))
    ours = [number for number, (service, _) in enumerate(history.names) if service == incident.service]
    series, end, took, outcome = history.table.T[:4]
    inside = (end >= since_us) & (end < end_us) & np.isin(series, ours)
    if not inside.any():
        return None
    rate, took_ms = float(np.isin(outcome[inside], FAILURES).mean()), float(took[inside].mean() / 1000)
    if incident.failure_rate and rate > 0.05:
        text = f"Error rate of {rate:.1%} exceeds threshold of 5%"
        raised = _Raised(incident.service, "error_rate", text, 0.05, rate)
        return _alert_of(raised, since_us, end_us)
    if not incident.failure_rate and took_ms > 5000:
        text = f"Average response time of {took_ms / 1000:.1f}s exceeds threshold of 5s"
        raised = _Raised(incident.service, "response_time", text, 5000.0, took_ms)
        return _alert_of(raised, since_us, end_us)
    return None


class _Raised(NamedTuple):
    """What a rule found."""

    service: str
    rule: str
    message: str
    threshold: float
    current: float


def _alert_of(raised: _Raised, since_us: int, end_us: int) -> Alert:
    fired_us = since_us + DELAY_US
    critical = raised.current / raised.threshold >= CRITICAL_FROM
    return Alert(
        **raised._asdict(),
        uid=hashlib.blake2b(f"{raised.rule} {raised.service} {since_us}".encode(), digest_size=16).hexdigest(),
        operation="",
        state=AlertState.RESOLVED,
        severity="critical" if critical else "warning",
        worst=raised.current,
        started_us=since_us + MINUTE_US,
        seen_us=end_us,
        changed_us=end_us + RECOVERY_US,
        fired_us=fired_us,
        acknowledged_us=fired_us + TAKEN_UP_US if critical else None,
        acknowledged_by=OWNER if critical else "",
        resolved_us=end_us + RECOVERY_US,
    )
