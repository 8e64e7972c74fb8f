"""The alerts of the simulated past, and the deploys before them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement.values import STATISTICS
from cogmeter.alerts.model import CRITICAL
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.guide import ERROR_RATE, RESPONSE_TIME
from cogmeter.alerts.rules.rule import duration, percent
from cogmeter.alerts.thresholds.learning import Calibrator
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.usage import register_commands
from cogmeter_bot.demo.incidents import SLOW_RELEASE
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.alerts.review.what_if import ReplayedAlert
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store

ACKNOWLEDGE_DELAY_US: Final = 6 * MINUTE_US
OWNER: Final = "owner"
DEPLOYS: Final = (
    (-113.1, "deployed 1.2"),
    (-55.1, "deployed 1.3"),
    (SLOW_RELEASE.start, "deployed 1.4"),
)  # hours before now


# Each command of the example bot with the deploy that brought it; an empty one: it had it from the start.
INTRODUCED: Final = {
    "ask": "",
    "mood": "",
    "remember": "",
    "look": "",
    "recall": "deployed 1.2",
    "relate": "deployed 1.3",
    "connect": "deployed 1.3",
    "read": "deployed 1.4",
}


async def store_commands(store: Store, *, until_us: int, days: float) -> None:
    """Store since when the bot has each of its commands: since a deploy, or the begin of the last ``days``."""
    first_us, deploys = until_us - int(days * DAY_US), {name: hours for hours, name in DEPLOYS}
    names: set[str] = set()
    for deploy in ("", *deploys):
        names |= {name for name, brought_by in INTRODUCED.items() if brought_by == deploy}
        at_us = first_us if not deploy else until_us + int(deploys[deploy] * HOUR_US)
        await register_commands(store, names, max(at_us, first_us))


async def past_alerts(store: Store, settings: Settings, *, until_us: int) -> list[Alert]:
    """Return the alerts that the stored operations would have raised, oldest first: by the replay of the product.

    Thresholds are learned first, as the bot does at its start, so that a preview of a threshold agrees with the alerts.
    """
    await Calibrator(Limits(settings)).learn(store, until_us)
    replayer = Replayer(store, settings, now_us=until_us)
    found = [alert for rule in (ERROR_RATE, RESPONSE_TIME) for alert in await replayer.alerts(rule.name)]
    past = [alert for alert in found if alert.episode.ended_us < until_us - MINUTE_US]
    return [_resolved_alert(alert) for alert in sorted(past, key=lambda alert: alert.episode.fired_us)]


async def store_alerts(store: Store, alerts: Sequence[Alert], *, until_us: int, days: float) -> None:
    """Store every transition of the alerts, and the deploys of the last ``days`` that preceded them."""
    for hours, name in DEPLOYS:
        if -hours < days * 24:
            await store.add_marker(Marker(int(until_us + hours * HOUR_US), "mark", name))
    for alert in alerts:
        for step in _transitions(alert):
            await store.alerting.save([step])


def _transitions(alert: Alert) -> list[Step]:
    """Return the transitions of an alert: fired, acknowledged by its owner if at all, resolved."""
    firing = replace(
        alert,
        state=AlertState.FIRING,
        changed_us=alert.fired_us or alert.started_us,
        acknowledged_us=None,
        acknowledged_by="",
        resolved_us=None,
    )
    steps = [Step(firing, AlertChange.of(firing, "fired", firing.changed_us))]
    if alert.acknowledged_us is not None:
        acknowledged = replace(alert, state=AlertState.ACKNOWLEDGED, changed_us=alert.acknowledged_us, resolved_us=None)
        change = AlertChange.of(acknowledged, "acknowledged", alert.acknowledged_us, actor=OWNER)
        steps.append(Step(acknowledged, change))
    return [*steps, Step(alert, AlertChange.of(alert, "resolved", alert.changed_us))]


def _resolved_alert(replayed: ReplayedAlert) -> Alert:
    """Return a replayed alert as the bot would have stored it; its owner acknowledged it if it was critical."""
    subject, episode, rule = replayed.subject, replayed.episode, RULES[replayed.subject.rule]
    value = percent(episode.worst) if rule is ERROR_RATE else duration(episode.worst)
    label = "Error rate" if rule is ERROR_RATE else f"{STATISTICS[replayed.statistic][1]} response time"
    reading = rule.reading(subject, episode.worst, replayed.limit, f"{label} of {value}")
    critical = reading.severity == CRITICAL
    name = f"{subject.rule} {subject.service} {episode.began_us}"
    acknowledged_us = episode.fired_us + min(ACKNOWLEDGE_DELAY_US, (episode.ended_us - episode.fired_us) // 2)
    return Alert(
        uid=hashlib.blake2b(name.encode(), digest_size=16).hexdigest(),
        rule=subject.rule,
        service=subject.service,
        operation=subject.operation,
        state=AlertState.RESOLVED,
        severity=reading.severity,
        message=reading.message,
        threshold=reading.threshold,
        current=reading.current,
        worst=reading.current,
        started_us=episode.began_us,
        seen_us=episode.ended_us,
        changed_us=episode.ended_us,
        fired_us=episode.fired_us,
        acknowledged_us=acknowledged_us if critical else None,
        acknowledged_by=OWNER if critical else "",
        resolved_us=episode.ended_us,
    )
