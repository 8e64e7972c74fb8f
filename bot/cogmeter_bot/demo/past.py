"""The simulated past besides operations: the alerts of past incidents, and traces of slow commands."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cogmeter.alerts.measurement.values import STATISTICS
from cogmeter.alerts.model import CRITICAL
from cogmeter.alerts.review.what_if import Replayer
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.guide import ERROR_RATE, RESPONSE_TIME
from cogmeter.alerts.rules.rule import duration, percent
from cogmeter.alerts.thresholds.learning import Calibrator
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter_bot.demo.incidents import SLOW_RELEASE
from cogmeter_storage.alerting import Alert, AlertChange, AlertState, Step
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker, Outcome, SpanRecord, TraceRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator

    from cogmeter.alerts.review.what_if import ReplayedAlert
    from cogmeter.settings import Settings
    from cogmeter_storage.base import Store

ACKNOWLEDGE_DELAY_US: Final = 6 * MINUTE_US
OWNER: Final = "owner"
TRACES_PER_DAY: Final = 12.0
TRACE_DURATION_US: Final = (1_150_000, 4_200_000)
COMMANDS: Final = "discord.commands"
DEPLOYS: Final = (
    (-113.1, "deployed 1.2"),
    (-55.1, "deployed 1.3"),
    (SLOW_RELEASE.start, "deployed 1.4"),
)  # hours before now


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


class SpanTemplate(NamedTuple):
    """An operation inside a command: its position in the tree, and its part of the command's duration."""

    parent: int  # number of a template, from 1; 0 is the command itself
    service: str
    operation: str
    start: float  # share of the command's duration
    length: float


_CALLBACK: Final = ("discord.rest", "POST /interactions/{interaction_id}/{interaction_token}/callback")
_EDIT: Final = ("discord.rest", "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original")
_SEND: Final = ("discord.rest", "POST /channels/{channel_id}/messages")
_MODEL: Final = ("http.api.openai.com", "POST")

# The commands that are sometimes slow, each for a reason of its own: a slow model, requests one after the other, a
# rate limit, a blocked loop, a query for each row, a late first response.
TRACE_TEMPLATES: Final = (
    (
        "ask",
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.05),
            SpanTemplate(0, "core-intelligence", "process", 0.08, 0.86),
            SpanTemplate(2, "context-memory", "retrieve", 0.09, 0.05),
            SpanTemplate(3, "db.postgresql", "SELECT messages", 0.1, 0.03),
            SpanTemplate(2, "sentiment-analysis", "analyze", 0.15, 0.08),
            SpanTemplate(2, *_MODEL, 0.25, 0.66),
            SpanTemplate(0, *_EDIT, 0.95, 0.04),
        ),
    ),
    (
        "ask",
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.06),
            SpanTemplate(0, *_MODEL, 0.1, 0.3),
            SpanTemplate(0, "discord.rate_limits", _SEND[1], 0.42, 0.48),
            SpanTemplate(0, *_SEND, 0.9, 0.08),
        ),
    ),
    (
        "look",
        (
            SpanTemplate(0, *_CALLBACK, 0.01, 0.04),
            SpanTemplate(0, "multimodal-processing", "thumbnail", 0.06, 0.52),
            SpanTemplate(2, "discord.stalls", "services/images.py:41 thumbnail", 0.08, 0.48),
            SpanTemplate(0, "multimodal-processing", "describe", 0.59, 0.35),
            SpanTemplate(4, *_MODEL, 0.6, 0.32),
            SpanTemplate(0, *_EDIT, 0.95, 0.04),
        ),
    ),
    (
        "connect",
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.05),
            SpanTemplate(0, "web-crawling", "fetch", 0.08, 0.83),
            *(
                SpanTemplate(2, f"http.{host}", "GET", 0.09 + 0.2 * number, 0.195)
                for number, host in enumerate(("en.wikipedia.org", "api.github.com", "www.wikidata.org", "example.org"))
            ),
            SpanTemplate(0, *_EDIT, 0.93, 0.05),
        ),
    ),
    (
        "remember",
        (
            SpanTemplate(0, *_CALLBACK, 0.02, 0.05),
            SpanTemplate(0, "context-memory", "store", 0.08, 0.85),
            *(SpanTemplate(2, "db.postgresql", "SELECT users", 0.09 + 0.04 * number, 0.035) for number in range(20)),
            SpanTemplate(0, *_EDIT, 0.94, 0.05),
        ),
    ),
    (
        "relate",
        (
            SpanTemplate(0, "knowledge-graph", "query", 0.01, 0.9),
            SpanTemplate(0, *_CALLBACK, 0.92, 0.06),
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
    error = "TimeoutError: the model did not answer in time" if failed else None
    slowest = max(range(len(templates)), key=lambda place: (templates[place].parent > 0, templates[place].length))
    spans = tuple(
        SpanRecord(
            id=number,
            parent=template.parent,
            service=template.service,
            operation=template.operation,
            start_us=int(template.start * duration_us),
            duration_us=int(template.length * duration_us),
            outcome=outcome if number == slowest + 1 else Outcome.OK,
        )
        for number, template in enumerate(templates, start=1)
    )
    by_end = tuple(sorted(spans, key=lambda span: span.start_us + span.duration_us))
    return TraceRecord(at_us, COMMANDS, command, duration_us, outcome, error, 0, by_end)
