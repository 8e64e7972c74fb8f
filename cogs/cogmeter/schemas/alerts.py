"""Alerts and their events, mutes, thresholds, the audit log, markers, and the results of test alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from cogmeter.alerts.model import by_urgency, is_calm, not_judged, split_counts
from cogmeter.schemas import safe
from cogmeter.schemas.base import Number, Schema, TimeRange, measured, rounded
from cogmeter.schemas.times import Instant, utc_or_none
from cogmeter.times import us_of, utc
from cogmeter_storage.alerting import ACTIVE, SENT, AlertState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cogmeter.query.records import Calibrated, EffectiveLimit, WhatIf
    from cogmeter_storage.alerting import Alert, AlertChange, AlertStore, Attempt, AuditEntry, Mute
    from cogmeter_storage.model import Marker

ListedState = Literal["active", "history", "firing", "acknowledged", "muted", "resolved"]

# The states behind each value of the parameter ``state``. A pending alert was never sent and is no history.
STATES: Final[Mapping[str, Collection[AlertState]]] = {
    "active": ACTIVE,
    "history": tuple(state for state in AlertState if state is not AlertState.PENDING),
    **{state.value: (state,) for state in AlertState if state is not AlertState.PENDING},
}
LIMIT_DIGITS: Final = 6


class AlertAnswer(Schema):
    """One alert. Threshold and values are in its rule's unit: shares, milliseconds, operations per minute."""

    type: str = Field(description="The rule: error_rate, response_time, throughput, ...")
    service: str
    message: str = Field(description="What is wrong; of a resolved alert, its worst value and duration")
    threshold: Number | None
    current: Number | None = Field(description="The last measured value")
    timestamp: Instant = Field(description="When it fired; while it is pending, when it started")
    severity: str = Field(description="info, warning or critical")
    id: str = Field(description="The id in the URLs of other routes")
    number: int = Field(description="The number in messages: alert 12")
    state: str = Field(description="pending, firing, acknowledged, muted or resolved")
    operation: str | None = Field(description="null: all operations of the service")
    worst: Number | None = Field(description="The value farthest beyond the threshold")
    started_at: Instant
    seen_at: Instant = Field(description="When the threshold was last exceeded")
    changed_at: Instant
    fired_at: Instant | None
    acknowledged_at: Instant | None
    acknowledged_by: str | None
    resolved_at: Instant | None
    muted_until: Instant | None
    escalated: bool
    flapping: bool = Field(description="True when it fired and resolved several times within a short time")
    group: str | None = Field(description="The id of the alert that represents its group")
    operations: int | None = Field(None, description="In the window of the last measured value; null: not counted")
    failed_operations: int | None = Field(None, description="Of these")
    breached: bool = Field(True, description="False if the last check found no breach: current is of before")
    not_judged: str | None = Field(
        None, description="Why the last check could not compare it: too few operations; null: it could"
    )

    @property
    def started_us(self) -> int:
        """When it started, in microseconds since 1970; not part of the JSON."""
        return us_of(self.started_at)

    @classmethod
    def of(cls, alert: Alert) -> AlertAnswer:
        """Build it from a stored alert."""
        message, counts = split_counts(alert.message)
        failures, operations = counts or (None, None)
        return cls(
            type=alert.rule,
            service=alert.service,
            message=safe.text(message),
            threshold=measured(alert.rule, alert.threshold, threshold=True),
            current=measured(alert.rule, alert.current),
            timestamp=utc(alert.started_us if alert.fired_us is None else alert.fired_us),
            severity=alert.severity,
            id=alert.uid,
            number=alert.id,
            state=alert.state.value,
            operation=alert.operation or None,
            worst=measured(alert.rule, alert.worst),
            started_at=utc(alert.started_us),
            seen_at=utc(alert.seen_us),
            changed_at=utc(alert.changed_us),
            fired_at=utc_or_none(alert.fired_us),
            acknowledged_at=utc_or_none(alert.acknowledged_us),
            acknowledged_by=alert.acknowledged_by or None,
            resolved_at=utc_or_none(alert.resolved_us),
            muted_until=utc_or_none(alert.muted_until_us),
            escalated=alert.escalated,
            flapping=alert.flapping,
            group=alert.group or None,
            operations=operations,
            failed_operations=failures,
            breached=alert.state is not AlertState.RESOLVED and not is_calm(alert.message),
            not_judged=not_judged(alert.message) or None,
        )


class AlertPage(Schema):
    """Alerts, the most recently begun first."""

    alerts: list[AlertAnswer]
    next: str | None = Field(description="The cursor of the next page; null on the last page")


class ChangeAnswer(Schema):
    """One event in the life of an alert."""

    at: Instant
    kind: str = Field(description="fired, escalated, reminded, acknowledged, muted, unmuted, worsened, resolved, ...")
    state: str = Field(description="The alert's state afterwards")
    severity: str
    message: str
    current: Number | None = Field(description="Of the end of an alert: the value of the last breach")
    actor: str | None = Field(description="Who did it; null: cogmeter itself")
    note: str | None

    @classmethod
    def of(cls, change: AlertChange, rule: str) -> ChangeAnswer:
        """Build it from a stored change."""
        return cls(
            at=utc(change.at_us),
            kind=change.kind,
            state=change.state.value,
            severity=change.severity,
            message=safe.text(split_counts(change.message)[0]),
            current=measured(rule, change.current),
            actor=change.actor or None,
            note=safe.text(change.note) or None,
        )


class AttemptAnswer(Schema):
    """One attempt to deliver an alert to a target."""

    at: Instant
    target: str
    outcome: str = Field(description="sent, retry, failed or superseded")
    error: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptAnswer:
        """Build it from a stored attempt."""
        return cls(
            at=utc(attempt.at_us),
            target=attempt.target,
            outcome=attempt.outcome,
            error=safe.text(attempt.error) or None,
        )


class AlertDetail(Schema):
    """One alert with its events and delivery attempts, newest first."""

    alert: AlertAnswer
    changes: list[ChangeAnswer]
    attempts: list[AttemptAnswer]
    members: list[AlertAnswer] = Field(description="The alerts of the group that it represents")


async def alert_page(
    store: AlertStore, state: str, *, service: str | None = None, limit: int = 50, offset: int = 0
) -> tuple[list[AlertAnswer], int | None]:
    """Return one page of the alerts in a state (see STATES), and the next page's offset; None on the last page."""
    # One row more than the page shows whether there is another page.
    alerts = await store.alerts(STATES[state], service=service, limit=limit + 1, offset=offset)
    return [AlertAnswer.of(alert) for alert in alerts[:limit]], offset + limit if len(alerts) > limit else None


async def alert_detail(store: AlertStore, alert: Alert, *, limit: int = 200) -> AlertDetail:
    """Return one alert with its events, delivery attempts and group members."""
    changes = await store.changes(alert.uid, limit=limit)
    attempts = await store.attempts(alert.uid, limit=limit)
    members = await store.alerts(tuple(AlertState), group=alert.uid, limit=limit)
    return AlertDetail(
        alert=AlertAnswer.of(alert),
        changes=[ChangeAnswer.of(change, alert.rule) for change in changes],
        attempts=[AttemptAnswer.of(attempt) for attempt in attempts],
        members=[AlertAnswer.of(member) for member in members],
    )


def sent_alerts(alerts: Sequence[Alert]) -> list[AlertAnswer]:
    """Return the firing and acknowledged alerts, the most urgent first; not the pending and muted ones."""
    return [AlertAnswer.of(alert) for alert in by_urgency(alerts) if alert.state in SENT]


class MuteAnswer(Schema):
    """A mute that is in effect."""

    id: int
    service: str | None = Field(description="null: every service")
    rule: str | None = Field(description="null: every rule")
    since: Instant
    until: Instant
    actor: str = Field(description="Who muted")
    reason: str | None

    @classmethod
    def of(cls, mute: Mute) -> MuteAnswer:
        """Build it from a stored mute."""
        return cls(
            id=mute.id,
            service=mute.service or None,
            rule=mute.rule or None,
            since=utc(mute.since_us),
            until=utc(mute.until_us),
            actor=mute.actor,
            reason=safe.text(mute.reason) or None,
        )


class Mutes(Schema):
    """The mutes in effect, the first to end first."""

    mutes: list[MuteAnswer]


class CalibrationAnswer(Schema):
    """What a calibrated threshold was learned from."""

    operations: int
    since: Instant
    until: Instant
    provisional: bool = Field(description="From less than three days, or from few operations; it may still rise")

    @classmethod
    def of(cls, calibrated: Calibrated) -> CalibrationAnswer:
        """Build it from what was learned."""
        return cls(
            operations=calibrated.operations,
            since=utc(calibrated.since_us),
            until=utc(calibrated.until_us),
            provisional=not calibrated.settled,
        )


class HoldingAnswer(Schema):
    """One limit of an alert rule in effect, and where it comes from."""

    key: str = Field(examples=["error_rate@knowledge-graph", "response_time.for"])
    rule: str
    field: str = Field(description="threshold, recovery, for, recovery_delay, min_operations, severity or statistic")
    value: Number | str = Field(description="In the unit; a threshold of 0 is off")
    unit: str | None = Field(description="null for text")
    least: Number | None = Field(description="The smallest allowed value; null for text")
    most: Number | None = Field(description="The largest allowed value; null for text, and without a maximum")
    origin: str = Field(description="default, calibrated, .env or changed")
    changed_by: str | None
    changed_at: Instant | None
    calibration: CalibrationAnswer | None = Field(default=None, description="Of the origin calibrated")

    @classmethod
    def of(cls, limit: EffectiveLimit, *, unit: str | None, least: float | None, most: float | None) -> HoldingAnswer:
        """Build it from a limit in effect and the range of its values."""
        return cls(
            key=limit.key,
            rule=limit.rule,
            field=limit.field,
            value=limit.value if isinstance(limit.value, str) else rounded(limit.value, LIMIT_DIGITS),
            unit=unit,
            least=None if least is None else rounded(least, LIMIT_DIGITS),
            most=None if most is None else rounded(most, LIMIT_DIGITS),
            origin=limit.origin,
            changed_by=limit.changed_by or None,
            changed_at=utc_or_none(limit.changed_us),
            calibration=None if limit.calibrated is None else CalibrationAnswer.of(limit.calibrated),
        )


class Thresholds(Schema):
    """The limits of all alert rules in effect."""

    rules: list[HoldingAnswer] = Field(description="The threshold of every rule")
    others: list[HoldingAnswer] = Field(
        description="Other changed or calibrated limits: of other fields, services, operations"
    )


class OutlookAnswer(Schema):
    """How often a rule would have fired with another limit, and how often it fires with the present one."""

    time_range: TimeRange
    times: int
    seconds: Number = Field(description="Total time in which the alert would have been active")
    now_times: int
    now_seconds: Number
    subjects: int = Field(description="Services or operations that were checked")
    left_out: int = Field(description="Services or operations with less traffic that were not checked")
    windows: int = Field(0, description="Windows with operations that were compared, one at the end of each minute")
    too_few: int = Field(0, description="Of these, windows with fewer operations than an alert needs")

    @classmethod
    def of(cls, what_if: WhatIf, time_range: TimeRange) -> OutlookAnswer:
        """Build it from a replay."""
        return cls(
            time_range=time_range,
            times=what_if.times,
            seconds=rounded(what_if.length_us / 1e6, 3),
            now_times=what_if.now_times,
            now_seconds=rounded(what_if.now_length_us / 1e6, 3),
            subjects=what_if.subjects,
            left_out=what_if.left_out,
            windows=what_if.windows,
            too_few=what_if.too_few,
        )


class ThresholdChange(Schema):
    """One limit before and after a change."""

    key: str
    before: HoldingAnswer
    after: HoldingAnswer
    message: str = Field(description="The effect of the change, as text")
    outlook: OutlookAnswer | None = Field(description="Of a dry run; null where the rule cannot be replayed")


class ThresholdChanges(Schema):
    """The changed limits; in a dry run, those that would change."""

    dry_run: bool
    changes: list[ThresholdChange]


class AuditAnswer(Schema):
    """One entry of the audit log."""

    at: Instant
    actor: str
    action: str = Field(
        description="threshold set, threshold reset, setting set, setting reset, mute, unmute, acknowledge, "
        "resolve error, mute error, unmute error, request, use"
    )
    subject: str
    before: str | None
    after: str | None

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditAnswer:
        """Build it from a stored entry."""
        return cls(
            at=utc(entry.at_us),
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            before=safe.text(entry.before) or None,
            after=safe.text(entry.after) or None,
        )


class AuditPage(Schema):
    """Entries of the audit log, newest first."""

    entries: list[AuditAnswer]
    next: str | None = Field(description="The cursor of the next page; null on the last page")


class MarkerAnswer(Schema):
    """A moment that charts and alerts show: a start, a deployment, a changed threshold."""

    id: int
    at: Instant
    kind: str = Field(description="start, version, extension, threshold, error or mark")
    name: str = Field(examples=["deployed 1.4"])

    @classmethod
    def of(cls, marker: Marker) -> MarkerAnswer:
        """Build it from a stored marker."""
        return cls(id=marker.id, at=utc(marker.at_us), kind=marker.kind, name=safe.text(marker.name))


class Markers(Schema):
    """Markers in order of time; above the limit, the newest."""

    markers: list[MarkerAnswer]


class TargetAnswer(Schema):
    """The result of a test alert at one target."""

    target: str
    delivered: bool
    error: str | None


class TestAlert(Schema):
    """The result of a test alert at every target."""

    targets: list[TargetAnswer]
