r"""The lifecycle of one alert: its transition in one check, from its state and its reading. Pure.

    (breach) -> pending -> firing <-> acknowledged -> resolved
                  |  \        ^ v        ^ v            ^
                  |   `-----> muted -------------------'
                  `-> dropped: it ended before it fired

An alert has at most one transition per check; others that are due come with the next check.

Cooldown: it runs from the time an alert *fired*. A new breach of the subject stays pending until the end of the
cooldown; a breach that ends before is dropped. So a subject fires at most once within the cooldown.

Flapping: it counts fired alerts. If at least ``flap_from`` alerts of a subject fired within ``flap_window_s``, the last
one is marked as flapping, once. It stays open between the breaches, until there was no breach for ``flap_calm_s`` and
for ``flap_calm_factor`` times the recovery delay. With a cooldown of half the flap window or more, three alerts cannot
fire within the window, so nothing is marked as flapping.
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
    clamped,
    rank,
    with_reading,
)
from cogmeter.alerts.model import CRITICAL, INFO
from cogmeter_storage.alerting import AlertState

if TYPE_CHECKING:
    from cogmeter.alerts.lifecycle.subject_state import EvaluationContext, SubjectState
    from cogmeter.alerts.model import Reading
    from cogmeter_storage.alerting import Alert, Mute


def advance(state: SubjectState, reading: Reading | None, context: EvaluationContext) -> Transition:
    """Return the transition of a subject with this reading, or without a reading."""
    state = with_reading(clamped(state, context), reading, context)
    if state.alert is None:
        return Transition(state, state)
    if state.alert.state is AlertState.PENDING:
        return _wait(state, state.alert, reading, context)
    for step in (_flap, _resolve, _follow_mutes, _fire_late, _follow_severity, _remind_or_escalate):
        transition = step(state, state.alert, reading, context)
        if transition is not None:
            return transition
    return Transition(state, state)


def follow_mutes(state: SubjectState, context: EvaluationContext) -> Transition | None:
    """Return the transition that a changed mute causes for a fired alert, or None. Others wait for the next check."""
    if state.alert is None or state.alert.fired_us is None:
        return None
    return _follow_mutes(state, state.alert, None, context)


def fire(state: SubjectState, context: EvaluationContext, root: Alert | None = None) -> Transition:
    """Fire a due alert, alone or in a group. In an acknowledged group it is acknowledged at once."""
    alert = _alert_of(state)
    acknowledged = root is not None and root.acknowledged_us is not None
    if root is not None:
        alert = replace(alert, group=root.uid)
        if acknowledged:
            alert = replace(alert, acknowledged_us=context.now_us, acknowledged_by=root.acknowledged_by)
    alert = replace(alert, fired_us=context.now_us, muted_until_us=None)
    alert = _in_state(alert, _unmuted_state(alert), context.now_us)
    fires = (*(at_us for at_us in state.fires if context.now_us - at_us < context.policy.memory_us), context.now_us)
    return Transition(state, replace(state, alert=alert, fires=fires, severe_us=context.now_us), FIRED)


def mute_pending(state: SubjectState, mute: Mute, context: EvaluationContext, root: Alert | None = None) -> Transition:
    """Mute a due alert, so that no target receives it."""
    alert = replace(_alert_of(state), muted_until_us=mute.until_us, group="" if root is None else root.uid)
    alert = _in_state(alert, AlertState.MUTED, context.now_us)
    return Transition(state, replace(state, alert=alert), MUTED, notify=False, actor=mute.actor, note=mute.reason)


def acknowledge(state: SubjectState, actor: str, now_us: int) -> Transition | None:
    """Acknowledge an alert; None if it is acknowledged already. A muted or pending alert keeps its state."""
    alert = _alert_of(state)
    if alert.acknowledged_us is not None:
        return None
    acknowledged = replace(alert, acknowledged_us=now_us, acknowledged_by=actor)
    if alert.state is AlertState.FIRING:
        acknowledged = _in_state(acknowledged, AlertState.ACKNOWLEDGED, now_us)
    notify = alert.fired_us is not None
    return Transition(state, replace(state, alert=acknowledged), ACKNOWLEDGED, notify=notify, actor=actor)


def join(state: SubjectState, reading: Reading, context: EvaluationContext, note: str) -> Transition:
    """Record in a group's root that alerts joined the group."""
    state = with_reading(clamped(state, context), reading, context)
    alert = _alert_of(state)
    severity = max(alert.severity, reading.severity, key=rank)
    after = replace(state, alert=replace(alert, severity=severity))
    return Transition(state, after, JOINED, notify=alert.state is not AlertState.MUTED, note=note)


def _wait(state: SubjectState, alert: Alert, reading: Reading | None, context: EvaluationContext) -> Transition:
    if reading is None:
        over = _is_over(state, alert, context, 0)
        return Transition(state, replace(state, alert=None), DROPPED) if over else Transition(state, state)
    lasted_s = (context.now_us - alert.started_us) / 1e6
    if lasted_s < context.limit.for_s:
        return Transition(state, state, note="waits for its delay")
    if state.fires and context.now_us - max(state.fires) < context.policy.cooldown_s * 1e6:
        return Transition(state, state, note="in its cooldown")
    if not reading.breached:
        return Transition(state, state, note="within its threshold now")
    return Transition(state, state, DUE)


def _flap(state: SubjectState, alert: Alert, _: Reading | None, context: EvaluationContext) -> Transition | None:
    if alert.flapping or alert.fired_us is None:
        return None
    window_us = context.policy.flap_window_s * 1e6
    if sum(alert.fired_us - at_us < window_us for at_us in state.fires) < context.policy.flap_from:
        return None
    after = replace(state, alert=replace(alert, flapping=True))
    return Transition(state, after, FLAPPING, notify=alert.state is not AlertState.MUTED)


def _resolve(
    state: SubjectState, alert: Alert, reading: Reading | None, context: EvaluationContext
) -> Transition | None:
    calm_s = context.limit.recovery_s
    if alert.flapping:
        calm_s = max(context.policy.flap_calm_factor * calm_s, context.policy.flap_calm_s)
    if reading is not None or not _is_over(state, alert, context, calm_s):
        return None
    resolved = _in_state(replace(alert, resolved_us=context.now_us), AlertState.RESOLVED, context.now_us)
    return Transition(state, replace(state, alert=resolved), RESOLVED, notify=alert.fired_us is not None)


def _follow_mutes(
    state: SubjectState, alert: Alert, _: Reading | None, context: EvaluationContext
) -> Transition | None:
    if context.mute is None:
        # An alert that has not fired is not unmuted; see _fire_late.
        if alert.state is not AlertState.MUTED or alert.fired_us is None:
            return None
        alert = _in_state(replace(alert, muted_until_us=None), _unmuted_state(alert), context.now_us)
        return Transition(state, replace(state, alert=alert), UNMUTED, actor=context.actor)
    until_us, shown_us = context.mute.until_us, alert.muted_until_us or 0
    muted = replace(alert, muted_until_us=until_us)
    if alert.state is not AlertState.MUTED or until_us > shown_us:
        after = replace(state, alert=_in_state(muted, AlertState.MUTED, context.now_us))
        notify = alert.fired_us is not None
        return Transition(state, after, MUTED, notify=notify, actor=context.mute.actor, note=context.mute.reason)
    return Transition(state, replace(state, alert=muted)) if until_us < shown_us else None


def _fire_late(
    state: SubjectState, alert: Alert, reading: Reading | None, context: EvaluationContext
) -> Transition | None:
    late = alert.fired_us is None and context.mute is None and reading is not None and reading.breached
    return Transition(state, state, DUE) if late else None


def _follow_severity(
    state: SubjectState, alert: Alert, reading: Reading | None, context: EvaluationContext
) -> Transition | None:
    if reading is None or reading.severity == alert.severity:
        return None
    after = replace(state, alert=replace(alert, severity=reading.severity), severe_us=context.now_us)
    if rank(reading.severity) > rank(alert.severity):
        notify = alert.state is not AlertState.MUTED
        return Transition(state, after, WORSENED, notify=notify) if reading.breached else None
    # Delayed, so that a severity that goes up and down worsens at most once in a cooldown.
    if context.now_us - state.severe_us < max(context.policy.cooldown_s, context.limit.recovery_s) * 1e6:
        return None
    return Transition(state, after, EASED, notify=alert.state is not AlertState.MUTED)


def _remind_or_escalate(
    state: SubjectState, alert: Alert, reading: Reading | None, context: EvaluationContext
) -> Transition | None:
    """Remind of or escalate an alert that still exceeds its threshold and that nobody has acknowledged."""
    breached = reading is not None and reading.breached
    if alert.state is not AlertState.FIRING or alert.severity == INFO or context.in_group or not breached:
        return None
    reminded = replace(alert, reminded_us=context.now_us)
    escalates = alert.severity == CRITICAL and not alert.escalated
    if escalates and _past(context, context.policy.escalate_after_s, alert.fired_us or 0):
        return Transition(state, replace(state, alert=replace(reminded, escalated=True)), ESCALATED)
    if _past(context, context.policy.reminder_s, max(alert.changed_us, alert.reminded_us or 0)):
        return Transition(state, replace(state, alert=reminded), REMINDED)
    return None


def _is_over(state: SubjectState, alert: Alert, context: EvaluationContext, calm_s: float) -> bool:
    """Return True if there was no reading for ``calm_s``, although the monitor could have measured it."""
    return context.now_us - (state.ready_us or alert.seen_us) >= calm_s * 1e6


def _past(context: EvaluationContext, wait_s: float, since_us: int) -> bool:
    return wait_s > 0 and context.now_us - since_us >= wait_s * 1e6


def _unmuted_state(alert: Alert) -> AlertState:
    return AlertState.FIRING if alert.acknowledged_us is None else AlertState.ACKNOWLEDGED


def _in_state(alert: Alert, state: AlertState, now_us: int) -> Alert:
    return alert if alert.state is state else replace(alert, state=state, changed_us=now_us)


def _alert_of(state: SubjectState) -> Alert:
    assert state.alert is not None, "only a subject with an alert has this transition"
    return state.alert
