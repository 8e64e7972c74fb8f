"""Alerts: the guide's fields of each, how it stands, and what happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import moment
from cogmeter.schemas.numbers import Number, measured
from cogmeter.schemas.times import Instant, at
from cogmeter_storage.alerting import ACTIVE, AlertState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cogmeter_storage.alerting import Alert, AlertChange, AlertStore, Attempt

Listed = Literal["active", "history", "firing", "acknowledged", "muted", "resolved"]

# What each word lists. A breach that was not told yet is no history.
STATES: Final[Mapping[str, Collection[AlertState]]] = {
    "active": ACTIVE,
    "history": tuple(state for state in AlertState if state is not AlertState.PENDING),
    **{
        state.value: (state,)
        for state in (AlertState.FIRING, AlertState.ACKNOWLEDGED, AlertState.MUTED, AlertState.RESOLVED)
    },
}
TOLD: Final = frozenset({AlertState.FIRING, AlertState.ACKNOWLEDGED})  # what people are told of, and is not over


class AlertAnswer(Schema):
    """One alert. Threshold and values are in its rule's unit: shares, milliseconds, operations a minute."""

    type: str = Field(description="The rule: error_rate, response_time, throughput, ...")
    service: str
    message: str
    threshold: Number | None
    current: Number | None = Field(description="What was last measured")
    timestamp: Instant = Field(description="When it was first told; until then, when it began")
    severity: str = Field(description="info, warning or critical")
    id: str = Field(description="What the other routes know it by")
    number: int = Field(description="What people call it by: alert 12")
    state: str = Field(description="pending, firing, acknowledged, muted or resolved")
    operation: str | None = Field(description="null: the service as a whole")
    worst: Number | None = Field(description="The value farthest beyond the threshold")
    started_at: Instant
    seen_at: Instant = Field(description="When the breach was last measured")
    changed_at: Instant
    fired_at: Instant | None
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    resolved_at: Instant | None
    muted_until: Instant | None
    escalated: bool
    flapping: bool = Field(description="It came and went several times within a short time")
    group: str | None = Field(description="The id of the alert that speaks for it")

    @classmethod
    def of(cls, one: Alert) -> AlertAnswer:
        """That of a record."""
        return cls(
            type=one.rule,
            service=one.service,
            message=safe.text(one.message),
            threshold=measured(one.rule, one.threshold, threshold=True),
            current=measured(one.rule, one.current),
            timestamp=at(one.started_us if one.fired_us is None else one.fired_us),
            severity=one.severity,
            id=one.uid,
            number=one.id,
            state=one.state.value,
            operation=one.operation or None,
            worst=measured(one.rule, one.worst),
            started_at=at(one.started_us),
            seen_at=at(one.seen_us),
            changed_at=at(one.changed_us),
            fired_at=moment(one.fired_us),
            acknowledged_at=moment(one.acknowledged_us),
            acknowledged_by=one.acknowledged_by or None,
            resolved_at=moment(one.resolved_us),
            muted_until=moment(one.muted_until_us),
            escalated=one.escalated,
            flapping=one.flapping,
            group=one.group or None,
        )


class AlertPage(Schema):
    """Alerts, the last changed first."""

    alerts: list[AlertAnswer]
    next: str | None = Field(description="The cursor of the next page; null behind the last one")


class ChangeAnswer(Schema):
    """What happened to an alert."""

    at: Instant
    kind: str = Field(description="fired, escalated, reminded, acknowledged, muted, unmuted, worsened, resolved, ...")
    state: str = Field(description="The alert's state after it")
    severity: str
    message: str
    current: Number | None
    actor: str | None = Field(description="Who did it; null: the alerting itself")
    note: str | None

    @classmethod
    def of(cls, one: AlertChange, rule: str) -> ChangeAnswer:
        """That of a record."""
        return cls(
            at=at(one.at_us),
            kind=one.kind,
            state=one.state.value,
            severity=one.severity,
            message=safe.text(one.message),
            current=measured(rule, one.current),
            actor=one.actor or None,
            note=safe.text(one.note) or None,
        )


class AttemptAnswer(Schema):
    """One attempt at telling somebody."""

    at: Instant
    target: str
    outcome: str = Field(description="sent, retry, failed or superseded")
    error: str | None

    @classmethod
    def of(cls, one: Attempt) -> AttemptAnswer:
        """That of a record."""
        return cls(at=at(one.at_us), target=one.target, outcome=one.outcome, error=safe.text(one.error) or None)


class AlertDetail(Schema):
    """One alert with all that happened to it, newest first."""

    alert: AlertAnswer
    changes: list[ChangeAnswer]
    attempts: list[AttemptAnswer]
    members: list[AlertAnswer] = Field(description="The alerts that it speaks for")


async def page(
    kept: AlertStore, state: str, *, service: str | None = None, limit: int = 50, offset: int = 0
) -> tuple[list[AlertAnswer], int | None]:
    """One page of the alerts that a word of STATES lists, and where the next one begins; None behind the last one."""
    # One more than is shown tells whether there is another page.
    found = await kept.alerts(STATES[state], service=service, limit=limit + 1, offset=offset)
    return [AlertAnswer.of(one) for one in found[:limit]], offset + limit if len(found) > limit else None


async def detail(kept: AlertStore, alert: Alert, *, limit: int = 200) -> AlertDetail:
    """All that is known of one alert."""
    changes = await kept.changes(alert.uid, limit=limit)
    attempts = await kept.attempts(alert.uid, limit=limit)
    members = await kept.alerts(tuple(AlertState), group=alert.uid, limit=limit)
    return AlertDetail(
        alert=AlertAnswer.of(alert),
        changes=[ChangeAnswer.of(one, alert.rule) for one in changes],
        attempts=[AttemptAnswer.of(one) for one in attempts],
        members=[AlertAnswer.of(one) for one in members],
    )


def told(alerts: Sequence[Alert]) -> list[AlertAnswer]:
    """Those that people are told of now; not what is pending or muted."""
    return [AlertAnswer.of(one) for one in alerts if one.state in TOLD]
