"""Says of each limit what holds and where it comes from: a default, the settings, or a change from chat and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.rule import LOOP, OPERATION, WHOLE_BOT
from cogmeter.alerts.thresholds.keys import THRESHOLD, LimitError, OverrideKey, key_of
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.records import EffectiveLimit
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, TASKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import AuditEntry

DEFAULT: Final = "default"
SETTING: Final = ".env"
CHANGED: Final = "changed"
_SETTING_OF: Final = {
    "for": "alert_for",
    "recovery_delay": "alert_recovery",
    "min_operations": "alert_min_operations",
    "statistic": "alert_response_time_statistic",
}
# Rules that know one service alone; the others judge every service.
_ONE: Final = {WHOLE_BOT: BOT, ACKNOWLEDGEMENT: ACKNOWLEDGEMENT}
WHOLE: Final = {name: _ONE[rule.about] for name, rule in RULES.items() if rule.about in _ONE}
_HOMES: Final = WHOLE | {name: TASKS for name, rule in RULES.items() if rule.about == LOOP}
BY_OPERATION: Final = frozenset(name for name, rule in RULES.items() if rule.about in {OPERATION, LOOP})


def misplaced(subject: Subject) -> str:
    """Why a limit of this subject would never be asked for; empty if it would."""
    whole = WHOLE.get(subject.rule)
    if whole is not None and (subject.service not in {"", whole} or subject.operation):
        return f"{subject.rule} is about the bot as a whole: leave the service and the operation out."
    if subject.operation and subject.rule not in BY_OPERATION:
        return f"{subject.rule} judges whole services: leave the operation out."
    return ""


class EffectiveLimits:
    """What holds under these settings and overrides; ``audit`` tells who changed it, the newest entry first."""

    def __init__(self, settings: Settings, overrides: Mapping[str, str], audit: Iterable[AuditEntry] = ()) -> None:
        self._settings = settings
        self._overrides = overrides
        self._limits = Limits(settings, overrides)
        self._changes: dict[str, AuditEntry] = {}
        for entry in audit:
            if entry.action == "threshold set":
                self._changes.setdefault(entry.subject, entry)

    def of(self, subject: Subject, field: str = THRESHOLD) -> EffectiveLimit:
        """What holds for a subject."""
        key = next((one for one in _governing(subject, field) if one in self._overrides), None)
        change = None if key is None else self._changes.get(key)
        return EffectiveLimit(
            key=key_of(subject, field),
            rule=subject.rule,
            field=field,
            value=self._value(subject, field),
            origin=CHANGED if key is not None else self._settled(subject, field),
            changed_by="" if change is None else change.actor,
            changed_us=None if change is None else change.at_us,
        )

    def rules(self, service: str | None) -> list[EffectiveLimit]:
        """Every rule's threshold; for a service, if given, those of the rules that judge it."""
        judging = [name for name in RULES if not service or _HOMES.get(name, service) == service]
        return [self.of(Subject(rule, service or "")) for rule in judging]

    def others(self, service: str | None) -> list[EffectiveLimit]:
        """What else was changed: other fields of rules, services and operations; of one service if given."""
        found = []
        for key in sorted(self._overrides):
            try:
                parsed = OverrideKey.parse(key)
            except LimitError:  # stored by another version; Limits has said so
                continue
            subject, here = parsed.subject, parsed.subject.service
            listed = parsed.field == THRESHOLD and not subject.operation and here in {"", service or ""}
            if not listed and (service is None or here in {"", service}):
                found.append(self.of(subject, parsed.field))
        return found

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

    def _settled(self, subject: Subject, field: str) -> str:
        name = RULES[subject.rule].setting if field in {"threshold", "recovery"} else _SETTING_OF.get(field)
        return SETTING if name in self._settings.model_fields_set else DEFAULT


def _governing(subject: Subject, field: str) -> Iterator[str]:
    """The keys that may say what holds, the nearest first."""
    if subject.operation:
        yield key_of(subject, field)
    if subject.service:
        yield key_of(Subject(subject.rule, subject.service), field)
    yield key_of(Subject(subject.rule, ""), field)
