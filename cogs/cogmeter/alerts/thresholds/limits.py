"""What holds for which subject: the settings' thresholds, and above them what was changed while running.

What is said of an operation wins over what is said of its service, and that over what is said of the rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.alerts.model import Limit, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.thresholds.keys import THRESHOLD, LimitError, OverrideKey, checked_value
from cogmeter.recording.service_names import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter.settings import Settings

_REMEMBERED: Final = 10_000  # limits of subjects, found once


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rule's limits as arrays, one value for each service or series; a rule that is off never has a value beyond."""

    threshold: NDArray[np.float64]
    recovery: NDArray[np.float64]
    min_operations: NDArray[np.int64]

    def at(self, places: NDArray[np.int64]) -> Bounds:
        """The limits at some places."""
        return Bounds(self.threshold[places], self.recovery[places], self.min_operations[places])


class Limits:
    """The limit of every subject. Changes take effect at once, in place."""

    def __init__(self, settings: Settings, overrides: Mapping[str, str] = MappingProxyType({})) -> None:
        self.settings = settings
        self.left_out: dict[str, str] = {}  # overrides of another version, and why each has no effect in this one
        self._said: dict[Subject, dict[str, Any]] = {}  # a subject without service is the rule as a whole
        self._found: dict[Subject, Limit] = {}
        self._columns: dict[str, Bounds] = {}
        self.override(overrides)

    def of(self, subject: Subject) -> Limit:
        """What holds for a subject."""
        limit = self._found.get(subject)
        if limit is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            limit = self._found[subject] = self._limit(subject)
        return limit

    def override(self, overrides: Mapping[str, str]) -> None:
        """Apply these from now on, in place of those that were given before; ``left_out`` names what cannot be."""
        said: dict[Subject, dict[str, Any]] = {}
        self.left_out = {}
        for text, value in overrides.items():
            try:
                key = OverrideKey.parse(text)
                said.setdefault(key.subject, {})[key.field] = checked_value(text, key, value)
            except LimitError as error:  # stored by another version
                self.left_out[text] = str(error)
        self._said = said
        self._found.clear()
        self._columns.clear()

    @staticmethod
    def check(key: str, value: str) -> str:
        """The value as it is stored.

        Raises:
            LimitError: there is no such key, or the value is not within its range; the text says which.
        """
        checked = checked_value(key, OverrideKey.parse(key), value)
        return checked if isinstance(checked, str) else f"{checked:.12g}"

    def statistic_of(self, subject: Subject) -> str:
        """Which response time is held against the threshold."""
        found, _ = self._find(subject, "statistic")
        return self.settings.alert_response_time_statistic if found is None else str(found)

    def explicit(self, rule: str, *fields: str) -> Iterator[Subject]:
        """The services and operations of which one of these fields was said by name."""
        for subject, said in self._said.items():
            if subject.rule == rule and subject.service and not said.keys().isdisjoint(fields):
                yield subject

    def active(self, rule: str) -> bool:
        """Whether the rule is on for anything."""
        if self.of(Subject(rule, "")).threshold:
            return True
        return any(said.get(THRESHOLD) for subject, said in self._said.items() if subject.rule == rule)

    def bounds(self, rule: str, services: Sequence[str]) -> Bounds:
        """The limits for services, which are always the same list, or grow at its end."""
        known = self._columns.get(rule)
        if known is None or len(known.threshold) != len(services):
            special = BACKGROUND | {subject.service for subject in self._said if subject.rule == rule}
            usual = self.of(Subject(rule, ""))
            limits = [self.of(Subject(rule, one)) if one in special else usual for one in services]
            known = self._columns[rule] = _bounds(limits)
        return known

    def bounds_by_series(self, rule: str, services: Sequence[str], series: Sequence[tuple[str, str]]) -> Bounds:
        """The same for series; an operation of which nothing is said has its service's limits."""
        known = self._columns.get(f"{rule}/")
        if known is None or len(known.threshold) != len(series):
            by_service = self.bounds(rule, services)
            place = {service: number for number, service in enumerate(services)}
            at = np.array([place[service] for service, _ in series], dtype=np.int64)
            known = Bounds(by_service.threshold[at], by_service.recovery[at], by_service.min_operations[at])
            for number, (service, operation) in enumerate(series):
                if Subject(rule, service, operation) in self._said:
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
        if depth > 1 and subject.service in BACKGROUND and not rule.background:
            threshold = 0.0  # its volume and its durations are not chosen by people
        recovery, recovery_depth = self._find(subject, "recovery")
        if recovery is None or recovery_depth > depth:  # the rule's word does not fit a service's own
            recovery = rule.recovery(threshold)
        default_min = settings.alert_min_operations if rule.min_operations is None else rule.min_operations
        return Limit(
            threshold=threshold,
            recovery=recovery,
            for_s=self._or(subject, "for", max(settings.alert_for, rule.for_s)),
            recovery_s=self._or(subject, "recovery_delay", settings.alert_recovery),
            min_operations=int(self._or(subject, "min_operations", default_min)),
            severity=self._or(subject, "severity", ""),
        )

    def _find(self, subject: Subject, field: str) -> tuple[Any, int]:
        """What was said of the field, and of what: 0 the operation, 1 the service, 2 the rule, 3 nothing was."""
        for depth, one in enumerate((subject, Subject(subject.rule, subject.service), Subject(subject.rule, ""))):
            found = self._said.get(one, {}).get(field)
            if found is not None:
                # A service's own word stands at depth 0 of itself, and is a word by name all the same.
                return found, 2 if not one.service else depth
        return None, 3

    def _or(self, subject: Subject, field: str, default: Any) -> Any:
        found, _ = self._find(subject, field)
        return default if found is None else found


def _bounds(limits: Sequence[Limit]) -> Bounds:
    threshold = np.array([one.threshold or math.inf for one in limits], dtype=np.float64)
    recovery = np.array([one.recovery if one.threshold else math.inf for one in limits], dtype=np.float64)
    return Bounds(threshold, recovery, np.array([one.min_operations for one in limits], dtype=np.int64))
