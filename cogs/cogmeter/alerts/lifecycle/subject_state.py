"""The state of one subject, and how a reading changes it. Pure; ``transitions.py`` has the changes of state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import FLAP_CALM_S, FLAP_FROM, FLAP_WINDOW_S, SEVERITIES, calm
from cogmeter.alerts.rules import KINDS
from cogmeter_storage.alerting import Alert, AlertState

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.alerts.model import Limit, Reading
    from cogmeter_storage.alerting import Mute

# The kinds of transitions. The last three are not stored as changes.
FIRED: Final = "fired"
WORSENED: Final = "worsened"
EASED: Final = "eased"
FLAPPING: Final = "flapping"
MUTED: Final = "muted"
UNMUTED: Final = "unmuted"
ACKNOWLEDGED: Final = "acknowledged"
REMINDED: Final = "reminded"
ESCALATED: Final = "escalated"
JOINED: Final = "joined"
RESOLVED: Final = "resolved"
DUE: Final = "due"  # it fires now; the tracker decides whether alone or in a group
DROPPED: Final = "dropped"  # it ended before it fired
NOTHING: Final = ""

_TIMES: Final = (
    *("started_us", "seen_us", "changed_us", "fired_us", "acknowledged_us"),
    *("resolved_us", "muted_until_us", "reminded_us"),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that apply to every subject, in seconds. A reminder or an escalation after 0 s never happens."""

    cooldown_s: float = 300  # from when an alert fired: its subject does not fire again before the end
    group_from: int = 4  # this many alerts at the same time become a group
    reminder_s: float = 3_600
    escalate_after_s: float = 900
    flap_from: int = FLAP_FROM  # this many alerts of one subject within the window are flapping
    flap_window_s: float = FLAP_WINDOW_S
    flap_calm_s: float = FLAP_CALM_S  # a flapping alert is resolved after at least this time without a breach
    flap_calm_factor: float = 3  # and after at least this many times its recovery delay
    join_s: float = 600  # the time in which a group accepts new members

    @property
    def memory_us(self) -> int:
        """The time for which a fired alert affects later ones."""
        return round(max(self.cooldown_s, self.flap_window_s) * 1e6)


@dataclass(frozen=True, slots=True)
class SubjectState:
    """The state of one subject between two checks."""

    alert: Alert | None = None  # the active one, with the newest figures
    fires: tuple[int, ...] = ()  # the times at which alerts of this subject fired, within the policy's memory
    severe_us: int = 0  # when a reading last had at least the alert's severity
    ready_us: int = 0  # after a restart: before this time, a missing reading does not resolve the alert
    stored: Alert | None = None  # the alert in the store


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """The time, limit, policy and mute that one transition of a subject depends on."""

    now_us: int
    limit: Limit
    policy: Policy
    new_uid: Callable[[], str]
    mute: Mute | None = None  # of the active ones, the last to end
    in_group: bool = False  # the group's own alert reminds and escalates
    actor: str = ""  # the user who ended its mute
    not_judged: str = ""  # why its value cannot be compared now, see ``model.calm``


@dataclass(frozen=True, slots=True)
class Transition:
    """The change of a subject in one check. ``before`` has the newest figures only, ``after`` also the change."""

    before: SubjectState
    after: SubjectState
    kind: str = NOTHING
    notify: bool = True  # False: stored, and sent to no target
    actor: str = ""
    note: str = ""

    @property
    def changes(self) -> bool:
        """True if it is stored as a change of the alert."""
        return self.kind not in {NOTHING, DUE, DROPPED}


def with_reading(state: SubjectState, reading: Reading | None, context: EvaluationContext) -> SubjectState:
    """Return the state with the reading's figures, and with a pending alert if a breach begins."""
    if reading is None:
        return _without_reading(state, context)
    if state.alert is None:
        return replace(state, alert=_pending(reading, context), ready_us=0) if reading.breached else state
    alert = state.alert
    worse = KINDS[alert.rule].is_worse(reading.current, alert.worst)
    # Half of the operations that raise an alert continue it, and their share is its value. Other values beyond the
    # peak without a breach are of a process that has just started, or another alert explains them: they are not shown.
    judged = reading.breached or reading.operations > 0
    shown = reading if judged or not worse else None
    alert = replace(
        alert,
        message=alert.message if shown is None else shown.text,
        threshold=reading.threshold,
        current=alert.current if shown is None else shown.current,
        worst=reading.current if judged and worse else alert.worst,
        seen_us=context.now_us,
        severity=alert.severity if alert.fired_us is not None else reading.severity,
    )
    severe = rank(reading.severity) >= rank(alert.severity)
    return replace(state, alert=alert, severe_us=context.now_us if severe else state.severe_us, ready_us=0)


def _without_reading(state: SubjectState, context: EvaluationContext) -> SubjectState:
    """Return the state with a message that says so, of an alert that fired; after a restart, nothing is known yet."""
    alert = state.alert
    if alert is None or alert.fired_us is None or state.ready_us:
        return state
    return replace(state, alert=replace(alert, message=calm(alert.message, context.not_judged)))


def _pending(reading: Reading, context: EvaluationContext) -> Alert:
    subject = reading.subject
    return Alert(
        uid=context.new_uid(),
        rule=subject.rule,
        service=subject.service,
        operation=subject.operation,
        state=AlertState.PENDING,
        severity=reading.severity,
        message=reading.text,
        threshold=reading.threshold,
        current=reading.current,
        worst=reading.current,
        started_us=context.now_us,
        seen_us=context.now_us,
        changed_us=context.now_us,
    )


def clamped(state: SubjectState, context: EvaluationContext) -> SubjectState:
    """Return the state without times in the future: after a clock was set back, each wait starts again."""
    now_us, alert = context.now_us, state.alert
    latest_us = max(state.severe_us, *state.fires, 0 if alert is None else alert.seen_us)
    ready_us = min(state.ready_us, now_us + round(context.limit.recovery_s * 1e6))
    if latest_us <= now_us and ready_us == state.ready_us:
        return state
    if alert is not None:
        alert = replace(alert, seen_us=min(alert.seen_us, now_us), started_us=min(alert.started_us, now_us))
    return replace(
        state,
        alert=alert,
        fires=tuple(min(at_us, now_us) for at_us in state.fires),
        severe_us=min(state.severe_us, now_us),
        ready_us=ready_us,
    )


def shifted(state: SubjectState, step_us: int) -> SubjectState:
    """Return the state after a step of the clock: each time is as long ago as before."""
    alert = state.alert
    if alert is not None:
        times = {name: getattr(alert, name) for name in _TIMES}
        alert = replace(alert, **{name: at_us + step_us for name, at_us in times.items() if at_us is not None})
    return replace(
        state,
        alert=alert,
        fires=tuple(at_us + step_us for at_us in state.fires),
        severe_us=state.severe_us and state.severe_us + step_us,
        ready_us=state.ready_us and state.ready_us + step_us,
    )


def worth_storing(state: SubjectState) -> bool:
    """Return True if the store has other figures than the alert, so that every reader of the store shows the newest."""
    alert, stored = state.alert, state.stored
    return alert is not None and (stored is None or alert != replace(stored, seen_us=alert.seen_us))


def rank(severity: str) -> int:
    """Return the rank of a severity; one that only a later version knows is below all others."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1
