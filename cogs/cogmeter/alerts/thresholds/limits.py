"""The limits of every subject: the settings' thresholds, and the overrides changed while the bot runs.

An operation's override wins over its service's, and that over the rule's.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.alerts.model import Limit, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.rule import Bounds
from cogmeter.alerts.thresholds.keys import THRESHOLD, LimitError, OverrideKey, checked_value
from cogmeter.recording.service_names import in_background, is_dependency

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cogmeter.alerts.rules.rule import Rule
    from cogmeter.settings import Settings

_REMEMBERED: Final = 10_000  # limits of subjects, computed once


class Limits:
    """The limit of every subject. Changes take effect at once."""

    def __init__(self, settings: Settings, overrides: Mapping[str, str] = MappingProxyType({})) -> None:
        self.settings = settings
        self.left_out: dict[str, str] = {}  # overrides of another version, and why each has no effect in this one
        self._overrides: dict[Subject, dict[str, Any]] = {}  # a subject without service is the rule as a whole
        self._cache: dict[Subject, Limit] = {}
        self._columns: dict[str, Bounds] = {}
        self.override(overrides)

    def of(self, subject: Subject) -> Limit:
        """Return the limit of a subject."""
        limit = self._cache.get(subject)
        if limit is None:
            if len(self._cache) >= _REMEMBERED:
                self._cache.clear()
            limit = self._cache[subject] = self._limit(subject)
        return limit

    def override(self, overrides: Mapping[str, str]) -> None:
        """Replace all overrides; ``left_out`` names those that this version does not know."""
        parsed: dict[Subject, dict[str, Any]] = {}
        self.left_out = {}
        for text, value in overrides.items():
            try:
                key = OverrideKey.parse(text)
                parsed.setdefault(key.subject, {})[key.field] = checked_value(text, key, value)
            except LimitError as error:  # stored by another version
                self.left_out[text] = str(error)
        self._overrides = parsed
        self._cache.clear()
        self._columns.clear()

    @staticmethod
    def check(key: str, value: str) -> str:
        """Check a value, and return it as it is stored.

        Raises:
            LimitError: the key does not exist, or the value is out of range.
        """
        checked = checked_value(key, OverrideKey.parse(key), value)
        return checked if isinstance(checked, str) else f"{checked:.12g}"

    def statistic_of(self, subject: Subject) -> str:
        """Return the statistic that is compared with the threshold; ``average`` for a rule that has no other."""
        setting = RULES[subject.rule].statistic_setting
        statistic, _ = self._find(subject, "statistic")
        return str(statistic or (getattr(self.settings, setting) if setting else "average"))

    def explicit(self, rule: str, *fields: str) -> Iterator[Subject]:
        """Yield the services and operations for which one of these fields was set by name."""
        for subject, fields_set in self._overrides.items():
            if subject.rule == rule and subject.service and not fields_set.keys().isdisjoint(fields):
                yield subject

    def active(self, rule: str) -> bool:
        """Return whether the rule is on for any subject."""
        if self.of(Subject(rule, "")).threshold:
            return True
        return any(changed.get(THRESHOLD) for subject, changed in self._overrides.items() if subject.rule == rule)

    def bounds(self, rule: str, services: Sequence[str]) -> Bounds:
        """Return the limits of services; the list may only grow at its end."""
        known = self._columns.get(rule)
        if known is None or len(known.threshold) != len(services):
            named = {subject.service for subject in self._overrides if subject.rule == rule}
            usual = self.of(Subject(rule, ""))
            limits = [
                self.of(Subject(rule, service)) if service in named or in_background(service) else usual
                for service in services
            ]
            known = self._columns[rule] = _bounds(limits)
        return known

    def bounds_by_series(self, rule: str, services: Sequence[str], series: Sequence[tuple[str, str]]) -> Bounds:
        """Return the limits of series; an operation without an override has its service's limits."""
        known = self._columns.get(f"{rule}/")
        if known is None or len(known.threshold) != len(series):
            by_service = self.bounds(rule, services)
            place = {service: number for number, service in enumerate(services)}
            at = np.array([place[service] for service, _ in series], dtype=np.int64)
            known = by_service.at(at)
            for number, (service, operation) in enumerate(series):
                if Subject(rule, service, operation) in self._overrides:
                    own = _bounds([self.of(Subject(rule, service, operation))])
                    known.threshold[number], known.recovery[number] = own.threshold[0], own.recovery[0]
                    known.min_operations[number] = own.min_operations[0]
            self._columns[f"{rule}/"] = known
        return known

    def _limit(self, subject: Subject) -> Limit:
        rule = RULES[subject.rule]
        settings = self.settings
        threshold, depth = self._find(subject, THRESHOLD)
        if threshold is None:
            threshold = float(getattr(settings, rule.setting))
        if depth > 1 and not _judged(rule, subject.service):
            threshold = 0.0
        recovery, recovery_depth = self._find(subject, "recovery")
        if recovery is None or recovery_depth > depth:  # the rule's recovery does not fit a service's threshold
            recovery = rule.recovery(threshold)
        default_min = settings.alert_min_operations if rule.min_operations is None else rule.min_operations
        return Limit(
            threshold=threshold,
            recovery=recovery,
            for_s=self._value_or(subject, "for", max(settings.alert_for, rule.for_s)),
            recovery_s=self._value_or(subject, "recovery_delay", settings.alert_recovery),
            min_operations=int(self._value_or(subject, "min_operations", default_min)),
            severity=self._value_or(subject, "severity", ""),
        )

    def _find(self, subject: Subject, field: str) -> tuple[Any, int]:
        """Return the override of a field and its depth: 0 the operation's, 1 the service's, 2 the rule's, 3 none."""
        for depth, level in enumerate((subject, Subject(subject.rule, subject.service), Subject(subject.rule, ""))):
            value = self._overrides.get(level, {}).get(field)
            if value is not None:
                # A service's override is found at depth 0 of the service itself.
                return value, 2 if not level.service else depth
        return None, 3

    def _value_or(self, subject: Subject, field: str, default: Any) -> Any:
        value, _ = self._find(subject, field)
        return default if value is None else value


def _judged(rule: Rule, service: str) -> bool:
    """Return whether the rule judges a service without a threshold of its own."""
    if not rule.dependencies and is_dependency(service):
        return False
    # The volume and durations of background services do not depend on users.
    return rule.background or not in_background(service)


def _bounds(limits: Sequence[Limit]) -> Bounds:
    threshold = np.array([limit.threshold or math.inf for limit in limits], dtype=np.float64)
    recovery = np.array([limit.recovery if limit.threshold else math.inf for limit in limits], dtype=np.float64)
    return Bounds(threshold, recovery, np.array([limit.min_operations for limit in limits], dtype=np.int64))
