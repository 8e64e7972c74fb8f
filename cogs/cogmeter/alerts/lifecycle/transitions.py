r"""The life of one alert: what becomes of it at one moment, from what is known and what is measured. Pure.

    (breach) -> pending -> firing <-> acknowledged -> resolved
                  |  \        ^ v        ^ v            ^
                  |   `-----> muted -------------------'
                  `-> dropped: over before it was told

An alert makes at most one change at one check; what else is due comes with the next one.

The cooldown and flapping. The cooldown runs from when an alert *fired*, and keeps a new breach of its subject pending
until it is over; a breach that ends before is dropped, and is no turn. So within the cooldown nothing is told twice,
and a subject fires at most once in it. Flapping counts what was told: when the last of at least ``flap_from`` alerts
of a subject fired within ``flap_window_s`` of the first, that alert is said to flap, once, and stays open through the
calm between the breaches, until the calm has lasted for ``flap_calm_s`` and ``flap_calm_factor`` times the recovery
delay. While it is open there is nothing to cool down. With a cooldown of half the flap window or more, so that three
cannot fire within it, the cooldown alone keeps such a subject quiet, and nothing is said to flap.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cogmeter.alerts.lifecycle.subject_state import (
    ACKNOWLEDGED,
    DROPPED,
    DUE,
    EASED,
    ESCALATED,
    FIRED,
    FLAPPING,
    JOINED,
    MUTED,
    REMINDED,
    RESOLVED,
    UNMUTED,
    WORSENED,
    Transition,
    measured,
    rank,
    within,
)
from cogmeter.alerts.model import CRITICAL, INFO
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from cogmeter.alerts.lifecycle.subject_state import EvaluationContext, SubjectState
    from cogmeter.alerts.model import Reading
    from cogmeter_storage.alerting import Alert, Mute


def advance(track: SubjectState, reading: Reading | None, at: EvaluationContext) -> Transition:
    """What becomes of a subject at this moment, when this (or nothing) is measured."""
    track = measured(within(track, at), reading, at)
    if track.alert is None:
        return Transition(track, track)
    if track.alert.state is AlertState.PENDING:
        return _wait(track, track.alert, reading, at)
    for rule in (_flap, _resolve, _follow_mutes, _come_late, _follow_severity, _urge):
        move = rule(track, track.alert, reading, at)
        if move is not None:
            return move
    return Transition(track, track)


def follow_mutes(track: SubjectState, at: EvaluationContext) -> Transition | None:
    """What mutes that have changed do to an alert that was told; None: nothing. Others wait for the next check."""
    if track.alert is None or track.alert.fired_us is None:
        return None
    return _follow_mutes(track, track.alert, None, at)


def fire(track: SubjectState, at: EvaluationContext, root: Alert | None = None) -> Transition:
    """Let an alert that is due fire, alone or as one of a group. In one that is taken up already, it is so too."""
    alert = _alert_of(track)
    taken_up = root is not None and root.acknowledged_us is not None
    if root is not None:
        alert = replace(alert, group=root.uid)
        if taken_up:
            alert = replace(alert, acknowledged_us=at.now_us, acknowledged_by=root.acknowledged_by)
    alert = replace(alert, fired_us=at.now_us, muted_until_us=None)
    alert = _in_state(alert, _awake(alert), at.now_us)
    fires = (*(one for one in track.fires if at.now_us - one < at.policy.memory_us), at.now_us)
    return Transition(track, replace(track, alert=alert, fires=fires, severe_us=at.now_us), FIRED)


def muffle(track: SubjectState, mute: Mute, at: EvaluationContext, root: Alert | None = None) -> Transition:
    """Take an alert that is due into the muted ones: nobody is told."""
    alert = replace(_alert_of(track), muted_until_us=mute.until_us, group="" if root is None else root.uid)
    alert = _in_state(alert, AlertState.MUTED, at.now_us)
    return Transition(track, replace(track, alert=alert), MUTED, told=False, actor=mute.actor, note=mute.reason)


def acknowledge(track: SubjectState, actor: str, now_us: int) -> Transition | None:
    """Note who has taken the alert up; None when somebody has before. One that is muted or pending stays so for now."""
    alert = _alert_of(track)
    if alert.acknowledged_us is not None:
        return None
    state = AlertState.ACKNOWLEDGED if alert.state is AlertState.FIRING else alert.state
    alert = _in_state(replace(alert, acknowledged_us=now_us, acknowledged_by=actor), state, now_us)
    return Transition(track, replace(track, alert=alert), ACKNOWLEDGED, told=alert.fired_us is not None, actor=actor)


def join(track: SubjectState, reading: Reading, at: EvaluationContext, note: str) -> Transition:
    """Let a group's own alert say that it has grown."""
    track = measured(within(track, at), reading, at)
    alert = _alert_of(track)
    severity = max(alert.severity, reading.severity, key=rank)
    after = replace(track, alert=replace(alert, severity=severity))
    return Transition(track, after, JOINED, told=alert.state is not AlertState.MUTED, note=note)


def _wait(track: SubjectState, alert: Alert, reading: Reading | None, at: EvaluationContext) -> Transition:
    if reading is None:
        over = _gone(track, alert, at, 0)
        return Transition(track, replace(track, alert=None), DROPPED) if over else Transition(track, track)
    lasted_s = (at.now_us - alert.started_us) / 1e6
    if lasted_s < at.limit.for_s:
        return Transition(track, track, note="not for long enough yet")
    if track.fires and at.now_us - max(track.fires) < at.policy.cooldown_s * 1e6:
        return Transition(track, track, note="in its cooldown")
    if not reading.breached:
        return Transition(track, track, note="not beyond its threshold now")
    return Transition(track, track, DUE)


def _flap(track: SubjectState, alert: Alert, _: Reading | None, at: EvaluationContext) -> Transition | None:
    if alert.flapping or alert.fired_us is None:
        return None
    window_us = at.policy.flap_window_s * 1e6
    if sum(alert.fired_us - one < window_us for one in track.fires) < at.policy.flap_from:
        return None
    after = replace(track, alert=replace(alert, flapping=True))
    return Transition(track, after, FLAPPING, told=alert.state is not AlertState.MUTED)


def _resolve(track: SubjectState, alert: Alert, reading: Reading | None, at: EvaluationContext) -> Transition | None:
    calm_s = at.limit.recovery_s
    if alert.flapping:
        calm_s = max(at.policy.flap_calm_factor * calm_s, at.policy.flap_calm_s)
    if reading is not None or not _gone(track, alert, at, calm_s):
        return None
    resolved = _in_state(replace(alert, resolved_us=at.now_us), AlertState.RESOLVED, at.now_us)
    return Transition(track, replace(track, alert=resolved), RESOLVED, told=alert.fired_us is not None)


def _follow_mutes(track: SubjectState, alert: Alert, _: Reading | None, at: EvaluationContext) -> Transition | None:
    if at.mute is None:
        # What was never told is not told of as unmuted either; see _come_late.
        if alert.state is not AlertState.MUTED or alert.fired_us is None:
            return None
        alert = _in_state(replace(alert, muted_until_us=None), _awake(alert), at.now_us)
        return Transition(track, replace(track, alert=alert), UNMUTED, actor=at.actor)
    until_us, shown_us = at.mute.until_us, alert.muted_until_us or 0
    muted = replace(alert, muted_until_us=until_us)
    if alert.state is not AlertState.MUTED or until_us > shown_us:
        after = replace(track, alert=_in_state(muted, AlertState.MUTED, at.now_us))
        told = alert.fired_us is not None
        return Transition(track, after, MUTED, told=told, actor=at.mute.actor, note=at.mute.reason)
    return Transition(track, replace(track, alert=muted)) if until_us < shown_us else None


def _come_late(track: SubjectState, alert: Alert, reading: Reading | None, at: EvaluationContext) -> Transition | None:
    late = alert.fired_us is None and at.mute is None and reading is not None and reading.breached
    return Transition(track, track, DUE) if late else None


def _follow_severity(
    track: SubjectState, alert: Alert, reading: Reading | None, at: EvaluationContext
) -> Transition | None:
    if reading is None or reading.severity == alert.severity:
        return None
    after = replace(track, alert=replace(alert, severity=reading.severity), severe_us=at.now_us)
    if rank(reading.severity) > rank(alert.severity):
        told = alert.state is not AlertState.MUTED
        return Transition(track, after, WORSENED, told=told) if reading.breached else None
    # Held back, so that one that goes up and down worsens at most once in a cooldown.
    if at.now_us - track.severe_us < max(at.policy.cooldown_s, at.limit.recovery_s) * 1e6:
        return None
    return Transition(track, after, EASED, told=alert.state is not AlertState.MUTED)


def _urge(track: SubjectState, alert: Alert, reading: Reading | None, at: EvaluationContext) -> Transition | None:
    """Remind of, or escalate, what nobody has taken up while it is beyond its threshold."""
    breached = reading is not None and reading.breached
    if alert.state is not AlertState.FIRING or alert.severity == INFO or at.spoken_for or not breached:
        return None
    reminded = replace(alert, reminded_us=at.now_us)
    escalates = alert.severity == CRITICAL and not alert.escalated
    if escalates and _past(at, at.policy.escalate_after_s, alert.fired_us or 0):
        return Transition(track, replace(track, alert=replace(reminded, escalated=True)), ESCALATED)
    if _past(at, at.policy.reminder_s, max(alert.changed_us, alert.reminded_us or 0)):
        return Transition(track, replace(track, alert=reminded), REMINDED)
    return None


def _gone(track: SubjectState, alert: Alert, at: EvaluationContext, calm_s: float) -> bool:
    """Whether it was not measured for so long, by a monitor that could have measured it."""
    return at.now_us - (track.ready_us or alert.seen_us) >= calm_s * 1e6


def _past(at: EvaluationContext, wait_s: float, since_us: int) -> bool:
    return wait_s > 0 and at.now_us - since_us >= wait_s * 1e6


def _awake(alert: Alert) -> AlertState:
    return AlertState.FIRING if alert.acknowledged_us is None else AlertState.ACKNOWLEDGED


def _in_state(alert: Alert, state: AlertState, now_us: int) -> Alert:
    return alert if alert.state is state else replace(alert, state=state, changed_us=now_us)


def _alert_of(track: SubjectState) -> Alert:
    assert track.alert is not None, "only what has an alert can be changed"
    return track.alert
