"""What is known of one subject, and how a measurement changes it. Pure; the changes of state are in transitions.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import SEVERITIES
from cogmeter_storage.alerting import Alert, AlertState

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.alerts.lifecycle.policy import Policy
    from cogmeter.alerts.model import Limit, Reading
    from cogmeter_storage.alerting import Mute

# The kinds of changes, and two more ends of a check that leave no change behind.
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
DUE: Final = "due"  # it would fire now; alone or as one of a group is for others to say
DROPPED: Final = "dropped"  # it was over before it fired
NOTHING: Final = ""

_TIMES: Final = (
    *("started_us", "seen_us", "changed_us", "fired_us", "acknowledged_us"),
    *("resolved_us", "muted_until_us", "reminded_us"),
)


@dataclass(frozen=True, slots=True)
class SubjectState:
    """What is known of one subject from one check to the next."""

    alert: Alert | None = None  # the one that is not resolved, with the newest figures
    fires: tuple[int, ...] = ()  # when alerts of this subject fired, as long as it matters
    severe_us: int = 0  # when it was last measured as severe as the alert says
    ready_us: int = 0  # after a restart: before this, and until it is measured again, its absence says nothing
    stored: Alert | None = None  # the alert as the store has it
    stored_us: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """What holds for one subject at the moment of a check."""

    now_us: int
    limit: Limit
    policy: Policy
    new_uid: Callable[[], str]
    mute: Mute | None = None  # of those that cover it, the last to end
    spoken_for: bool = False  # it belongs to a group, whose own alert reminds and escalates
    actor: str = ""  # who ended its mute


@dataclass(frozen=True, slots=True)
class Transition:
    """What becomes of a subject: ``before`` has its newest figures alone, ``after`` the change too."""

    before: SubjectState
    after: SubjectState
    kind: str = NOTHING
    told: bool = True
    actor: str = ""
    note: str = ""

    @property
    def changes(self) -> bool:
        """Whether something happened to the alert that is stored as a change."""
        return self.kind not in {NOTHING, DUE, DROPPED}


def measured(track: SubjectState, reading: Reading | None, at: EvaluationContext) -> SubjectState:
    """The track with the reading's figures, and with a pending alert when a breach begins."""
    if reading is None:
        return track
    if track.alert is None:
        return replace(track, alert=_pending(reading, at), ready_us=0) if reading.breached else track
    alert = track.alert
    farther = abs(reading.current - reading.threshold) > abs(alert.worst - reading.threshold)
    alert = replace(
        alert,
        message=reading.message,
        threshold=reading.threshold,
        current=reading.current,
        worst=reading.current if reading.breached and farther else alert.worst,
        seen_us=at.now_us,
        severity=alert.severity if alert.fired_us is not None else reading.severity,
    )
    severe = rank(reading.severity) >= rank(alert.severity)
    return replace(track, alert=alert, severe_us=at.now_us if severe else track.severe_us, ready_us=0)


def _pending(reading: Reading, at: EvaluationContext) -> Alert:
    subject = reading.subject
    return Alert(
        uid=at.new_uid(),
        rule=subject.rule,
        service=subject.service,
        operation=subject.operation,
        state=AlertState.PENDING,
        severity=reading.severity,
        message=reading.message,
        threshold=reading.threshold,
        current=reading.current,
        worst=reading.current,
        started_us=at.now_us,
        seen_us=at.now_us,
        changed_us=at.now_us,
    )


def within(track: SubjectState, at: EvaluationContext) -> SubjectState:
    """The track without moments that are still to come: a clock that was set back starts every wait anew."""
    now_us, alert = at.now_us, track.alert
    latest_us = max(track.severe_us, track.stored_us, *track.fires, 0 if alert is None else alert.seen_us)
    ready_us = min(track.ready_us, now_us + round(at.limit.recovery_s * 1e6))
    if latest_us <= now_us and ready_us == track.ready_us:
        return track
    if alert is not None:
        alert = replace(alert, seen_us=min(alert.seen_us, now_us), started_us=min(alert.started_us, now_us))
    return replace(
        track,
        alert=alert,
        fires=tuple(min(one, now_us) for one in track.fires),
        severe_us=min(track.severe_us, now_us),
        ready_us=ready_us,
        stored_us=min(track.stored_us, now_us),
    )


def shifted(track: SubjectState, step_us: int) -> SubjectState:
    """The track after a step of the clock: every moment is as long ago as before."""
    alert = track.alert
    if alert is not None:
        times = {name: getattr(alert, name) for name in _TIMES}
        alert = replace(alert, **{name: at_us + step_us for name, at_us in times.items() if at_us is not None})
    return replace(
        track,
        alert=alert,
        fires=tuple(at_us + step_us for at_us in track.fires),
        severe_us=track.severe_us and track.severe_us + step_us,
        ready_us=track.ready_us and track.ready_us + step_us,
        stored_us=track.stored_us and track.stored_us + step_us,
    )


def worth_storing(track: SubjectState, policy: Policy, now_us: int) -> bool:
    """Whether the figures differ so much, and were last stored so long ago, that they are stored without a change."""
    alert, stored = track.alert, track.stored
    if alert is None:
        return False
    if stored is None or stored.muted_until_us != alert.muted_until_us:
        return True
    if now_us - track.stored_us < policy.figures_s * 1e6:
        return False
    return _moved(alert.current, stored.current) or _moved(alert.worst, stored.worst)


def rank(severity: str) -> int:
    """How bad a severity is, to compare it with another; one of a later version is below all others."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def _moved(value: float, before: float) -> bool:
    """Whether people would call it another figure: by more than a twentieth."""
    return abs(value - before) > 0.05 * max(abs(value), abs(before))
