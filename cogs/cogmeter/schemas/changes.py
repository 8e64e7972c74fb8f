"""What people decide: mutes, thresholds, markers, who changed what, and how a test alert fared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cogmeter.schemas import safe
from cogmeter.schemas.base import Schema
from cogmeter.schemas.figures import TimeRange, moment
from cogmeter.schemas.numbers import Number, rounded
from cogmeter.schemas.times import Instant, at

if TYPE_CHECKING:
    from cogmeter.query.records import EffectiveLimit, WhatIf
    from cogmeter_storage.alerting import AuditEntry, Mute
    from cogmeter_storage.model import Marker

DIGITS = 6


class MuteAnswer(Schema):
    """Alerts that nobody wants to hear of for a while."""

    id: int
    service: str | None = Field(description="null: every service")
    rule: str | None = Field(description="null: every rule")
    since: Instant
    until: Instant
    actor: str = Field(description="Who said so")
    reason: str | None

    @classmethod
    def of(cls, one: Mute) -> MuteAnswer:
        """That of a record."""
        return cls(
            id=one.id,
            service=one.service or None,
            rule=one.rule or None,
            since=at(one.since_us),
            until=at(one.until_us),
            actor=one.actor,
            reason=safe.text(one.reason) or None,
        )


class Mutes(Schema):
    """The mutes that hold, the first to end first."""

    mutes: list[MuteAnswer]


class HoldingAnswer(Schema):
    """One limit of an alert rule that holds, and where it comes from."""

    key: str = Field(examples=["error_rate@knowledge-graph", "response_time.for"])
    rule: str
    field: str = Field(description="threshold, recovery, for, recovery_delay, min_operations, severity or statistic")
    value: Number | str = Field(description="In the unit; a threshold of 0 is off")
    unit: str | None = Field(description="null for words")
    least: Number | None = Field(description="The least value that it takes; null for words")
    most: Number | None = Field(description="The greatest one; null for words, and where there is none")
    origin: str = Field(description="default, .env or changed")
    changed_by: str | None
    changed_at: Instant | None

    @classmethod
    def of(cls, one: EffectiveLimit, *, unit: str | None, least: float | None, most: float | None) -> HoldingAnswer:
        """That of a record, with the range of its values."""
        return cls(
            key=one.key,
            rule=one.rule,
            field=one.field,
            value=one.value if isinstance(one.value, str) else rounded(one.value, DIGITS),
            unit=unit,
            least=None if least is None else rounded(least, DIGITS),
            most=None if most is None else rounded(most, DIGITS),
            origin=one.origin,
            changed_by=one.changed_by or None,
            changed_at=moment(one.changed_us),
        )


class Thresholds(Schema):
    """What alerts are raised from."""

    rules: list[HoldingAnswer] = Field(description="Every rule's threshold")
    others: list[HoldingAnswer] = Field(description="What else was changed: other fields, services, operations")


class OutlookAnswer(Schema):
    """What a rule would have told, were a limit another one; and what it tells as it is."""

    time_range: TimeRange
    times: int
    seconds: Number = Field(description="Of all that would have been told")
    now_times: int
    now_seconds: Number
    subjects: int = Field(description="Services or operations that were looked at")
    left_out: int = Field(description="Quieter ones that were not")

    @classmethod
    def of(cls, one: WhatIf, time_range: TimeRange) -> OutlookAnswer:
        """That of a record."""
        return cls(
            time_range=time_range,
            times=one.times,
            seconds=rounded(one.length_us / 1e6, 3),
            now_times=one.now_times,
            now_seconds=rounded(one.now_length_us / 1e6, 3),
            subjects=one.subjects,
            left_out=one.left_out,
        )


class ThresholdChange(Schema):
    """One limit before and after a change."""

    key: str
    before: HoldingAnswer
    after: HoldingAnswer
    message: str = Field(description="In words: what it would have told, or that it holds")
    outlook: OutlookAnswer | None = Field(description="Of a dry run; null where the rule cannot be replayed")


class ThresholdChanges(Schema):
    """What was changed; of a dry run, what would be."""

    dry_run: bool
    changes: list[ThresholdChange]


class AuditAnswer(Schema):
    """Who changed what, when, from what to what."""

    at: Instant
    actor: str
    action: str = Field(description="threshold set, threshold reset, mute, unmute or acknowledge")
    subject: str
    before: str | None
    after: str | None

    @classmethod
    def of(cls, one: AuditEntry) -> AuditAnswer:
        """That of a record."""
        return cls(
            at=at(one.at_us),
            actor=one.actor,
            action=one.action,
            subject=one.subject,
            before=safe.text(one.before) or None,
            after=safe.text(one.after) or None,
        )


class AuditPage(Schema):
    """Changes, newest first."""

    entries: list[AuditAnswer]
    next: str | None = Field(description="The cursor of the next page; null behind the last one")


class MarkerAnswer(Schema):
    """A moment worth knowing when figures change."""

    id: int
    at: Instant
    kind: str = Field(description="start, version, extension, threshold or mark")
    name: str = Field(examples=["deployed 1.4"])

    @classmethod
    def of(cls, one: Marker) -> MarkerAnswer:
        """That of a record."""
        return cls(id=one.id, at=at(one.at_us), kind=one.kind, name=safe.text(one.name))


class Markers(Schema):
    """Markers in order of time; of very many, the newest."""

    markers: list[MarkerAnswer]


class TargetAnswer(Schema):
    """How one alert target took the test."""

    target: str
    delivered: bool
    error: str | None


class TestAlert(Schema):
    """How all alert targets took the test."""

    targets: list[TargetAnswer]
