"""The limits in effect with their origin: a default, calibrated, a setting, or a change from chat and its author."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import CALIBRATED, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.rule import DEPENDENCY_SERVICE
from cogmeter.alerts.thresholds.keys import THRESHOLD, LimitError, OverrideKey, key_of, setting_of
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.records import EffectiveLimit
from cogmeter.recording.background import paced
from cogmeter.settings import setting_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cogmeter.query.records import Calibrated
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry

DEFAULT: Final = "default"
SETTING: Final = ".env"
CHANGED: Final = "changed"


def misplaced(subject: Subject) -> str:
    """Return why a limit of this subject would have no effect; empty if it would."""
    rule = RULES[subject.rule]
    if rule.only_service and (subject.service not in {"", rule.only_service} or subject.operation):
        return f"{subject.rule} is about the bot as a whole: leave the service and the operation out."
    if rule.about == DEPENDENCY_SERVICE and not rule.judges(subject.service):
        return f"{subject.rule} is about services that the bot calls (http.*, db.*): name such a service, or none."
    if subject.operation and not rule.by_operation:
        return f"{subject.rule} judges whole services: leave the operation out."
    return ""


class EffectiveLimits:
    """The limits under these settings and overrides; ``audit`` names who changed them, the newest entry first."""

    def __init__(
        self,
        settings: Settings,
        overrides: Mapping[str, str],
        audit: Iterable[AuditEntry] = (),
        calibration: Mapping[Subject, Calibrated] | None = None,
    ) -> None:
        """``calibration`` is that of ``Limits``."""
        self._settings = settings
        self._overrides = overrides
        self._limits = Limits(settings, overrides, calibration)
        self._changes: dict[str, AuditEntry] = {}
        for entry in audit:
            if entry.action in {"threshold set", "setting set"}:
                self._changes.setdefault(entry.subject, entry)

    def of(self, subject: Subject, field: str = THRESHOLD) -> EffectiveLimit:
        """Return the limit in effect for a subject."""
        key = next((candidate for candidate in _governing(subject, field) if candidate in self._overrides), None)
        change = None if key is None else self._changes.get(key)
        calibrated = self._limits.raised(subject) if key is None and field in {THRESHOLD, "recovery"} else None
        return EffectiveLimit(
            key=key_of(subject, field),
            rule=subject.rule,
            field=field,
            value=self._value(subject, field),
            origin=CHANGED if key is not None else CALIBRATED if calibrated else self._origin(subject, field),
            changed_by="" if change is None else change.actor,
            changed_us=None if change is None else change.at_us,
            calibrated=calibrated,
        )

    def rules(self, service: str | None, operation: str = "") -> list[EffectiveLimit]:
        """Return every rule's threshold; with a service or an operation, those of the rules that judge it."""
        return [
            self.of(rule.subject(service or "", operation))
            for rule in RULES.values()
            if rule.judges(service or "") and (not operation or rule.by_operation)
        ]

    async def others(self, service: str | None) -> list[EffectiveLimit]:
        """Return all other changed or calibrated limits: other fields, services, operations; or those of a service."""
        limits = []
        async for key in paced(sorted(self._overrides)):
            try:
                parsed = OverrideKey.parse(key)
            except LimitError:  # stored by another version; Limits reports it
                continue
            subject, own_service = parsed.subject, parsed.subject.service
            listed = parsed.field == THRESHOLD and not subject.operation and own_service in {"", service or ""}
            if not listed and (service is None or own_service in {"", service}):
                limits.append(self.of(subject, parsed.field))
        calibrated: list[EffectiveLimit] = []
        async for subject in paced(self._limits.calibration or ()):
            listed = not subject.operation and subject.service == service
            if not listed and service in {None, subject.service} and self._limits.raised(subject) is not None:
                calibrated.append(self.of(subject))
        return limits + sorted(calibrated, key=lambda limit: limit.key)

    def _value(self, subject: Subject, field: str) -> float | str:
        limit = self._limits.of(subject)
        values: dict[str, float | str] = {
            "threshold": limit.threshold,
            "recovery": limit.recovery,
            "for": limit.for_s,
            "recovery_delay": limit.recovery_s,
            "min_operations": limit.min_operations,
            "severity": limit.severity,
        }
        return self._limits.statistic_of(subject) if field == "statistic" else values[field]

    def _origin(self, subject: Subject, field: str) -> str:
        setting = setting_of(OverrideKey(subject, field))
        return SETTING if setting in self._settings.model_fields_set else DEFAULT


def _governing(subject: Subject, field: str) -> Iterator[str]:
    """Yield the keys that can override a limit, the most specific first; at last that of its setting."""
    if subject.operation:
        yield key_of(subject, field)
    if subject.service:
        yield key_of(Subject(subject.rule, subject.service), field)
    yield key_of(Subject(subject.rule, ""), field)
    yield setting_key(setting_of(OverrideKey(subject, field)))
