"""The simulated past besides operations: the alerts of past incidents, and traces of slow commands."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.alerts.model import CRITICAL
from cogmeter.alerts.rules.guide import ERROR_RATE, RESPONSE_TIME
from cogmeter.alerts.rules.rule import duration, percent
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.settings import Settings
from cogmeter_bot.demo.incidents import PAST
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, MINUTE_US, Marker, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from cogmeter.alerts.model import Reading
    from cogmeter_bot.demo.history import GeneratedHistory
    from cogmeter_bot.demo.incidents import Incident
    from cogmeter_storage.base import Store

ALERT_DELAY_US: Final = 4 * MINUTE_US  # after the start of an incident
ACKNOWLEDGE_DELAY_US: Final = 6 * MINUTE_US
RECOVERY_US: Final = 5 * MINUTE_US
OWNER: Final = "owner"
TRACES_PER_DAY: Final = 12.0
TRACE_DURATION_US: Final = (1_150_000, 4_200_000)
COMMANDS: Final = "discord.commands"
DEPLOYS: Final = ((-113.1, "deployed 1.2"), (-55.1, "deployed 1.3"), (-9.4, "deployed 1.4"))  # hours before now


def past_alerts(history: GeneratedHistory, until_us: int) -> list[Alert]:
    """Return the alerts of the past incidents at cogmeter's default thresholds, oldest first, all resolved."""
    limits = Limits(Settings.model_construct())
    alerts = (_alert(incident, history, until_us, limits) for incident in PAST)
    return [alert for alert in alerts if alert is not None]


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


def _alert(incident: Incident, history: GeneratedHistory, until_us: int, limits: Limits) -> Alert | None:
    """Return the alert of an incident, measured over all of it; None if it exceeds no threshold."""
    since_us, end_us = (int(until_us + hours * HOUR_US) for hours in (incident.start, incident.end))
    series_numbers = [number for number, (service, _) in enumerate(history.names) if service == incident.service]
    series, end, duration_us, outcome = history.table.T[:4]
    inside = (end >= since_us) & (end < end_us) & np.isin(series, series_numbers)
    if not inside.any():
        return None
    if incident.failure_rate:
        rule, value = ERROR_RATE, float(np.isin(outcome[inside], FAILURES).mean())
        text = f"Error rate of {percent(value)}"
    else:
        rule, value = RESPONSE_TIME, float(duration_us[inside].mean() / 1000)
        text = f"Average response time of {duration(value)}"
    subject = rule.subject(incident.service)
    reading = rule.reading(subject, value, limits.of(subject), text)
    return _resolved_alert(reading, since_us, end_us) if reading.breached else None


def _resolved_alert(reading: Reading, since_us: int, end_us: int) -> Alert:
    subject, fired_us = reading.subject, since_us + ALERT_DELAY_US
    critical = reading.severity == CRITICAL
    return Alert(
        uid=hashlib.blake2b(f"{subject.rule} {subject.service} {since_us}".encode(), digest_size=16).hexdigest(),
        rule=subject.rule,
        service=subject.service,
        operation="",
        state=AlertState.RESOLVED,
        severity=reading.severity,
        message=reading.message,
        threshold=reading.threshold,
        current=reading.current,
        worst=reading.current,
        started_us=since_us + MINUTE_US,
        seen_us=end_us,
        changed_us=end_us + RECOVERY_US,
        fired_us=fired_us,
        acknowledged_us=fired_us + ACKNOWLEDGE_DELAY_US if critical else None,
        acknowledged_by=OWNER if critical else "",
        resolved_us=end_us + RECOVERY_US,
    )


class SpanTemplate(NamedTuple):
    """An operation inside a command: its position in the tree, and its part of the command's duration."""

    parent: int  # number of a template, from 1; 0 is the command itself
    service: str
    operation: str
    start: float  # share of the command's duration
    length: float


# The commands that are sometimes slow.
TRACE_TEMPLATES: Final = (
    (
        "ask",
        (
            SpanTemplate(0, "core-intelligence", "process", 0.04, 0.93),
            SpanTemplate(1, "sentiment-analysis", "analyze", 0.05, 0.12),
            SpanTemplate(1, "context-memory", "retrieve", 0.18, 0.06),
            SpanTemplate(1, "knowledge-graph", "query", 0.25, 0.22),
            SpanTemplate(1, "core-intelligence", "route", 0.48, 0.02),
            SpanTemplate(0, "context-memory", "store", 0.97, 0.02),
        ),
    ),
    (
        "look",
        (
            SpanTemplate(0, "web-crawling", "fetch", 0.03, 0.35),
            SpanTemplate(0, "multimodal-processing", "thumbnail", 0.39, 0.14),
            SpanTemplate(0, "multimodal-processing", "describe", 0.54, 0.43),
        ),
    ),
)


async def store_traces(store: Store, *, until_us: int, days: float, seed: int) -> None:
    """Store traces of slow commands in the ``days`` before ``until_us``."""
    rng = np.random.default_rng(seed + 3)
    times_us = sorted(
        (until_us - rng.uniform(0.0, days * DAY_US, rng.poisson(TRACES_PER_DAY * days))).astype(int).tolist()
    )
    await store.add_traces([_trace(rng, at_us) for at_us in times_us])


def _trace(rng: Generator, at_us: int) -> TraceRecord:
    command, templates = TRACE_TEMPLATES[int(rng.integers(len(TRACE_TEMPLATES)))]
    duration_us = int(rng.uniform(*TRACE_DURATION_US))
    failed = rng.random() < 0.15
    outcome = Outcome.UPSTREAM if failed else Outcome.OK
    error = "TimeoutError: the model did not answer within 30 s" if failed else None
    spans = tuple(
        SpanRecord(
            id=number,
            parent=template.parent,
            service=template.service,
            operation=template.operation,
            start_us=int(template.start * duration_us),
            duration_us=int(template.length * duration_us),
            outcome=outcome if number == 1 else Outcome.OK,
        )
        for number, template in enumerate(templates, start=1)
    )
    by_end = tuple(sorted(spans, key=lambda span: span.start_us + span.duration_us))
    return TraceRecord(at_us, COMMANDS, command, duration_us, outcome, error, 0, by_end)
