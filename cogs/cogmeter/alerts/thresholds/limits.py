"""The limits of every subject: the settings' thresholds, calibrated ones, and overrides changed while the bot runs.

An operation's override wins over its service's, and that over the rule's. A calibrated threshold replaces a default
that neither the environment nor an override has set.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from cogmeter.alerts.model import BOT, CALIBRATED, INFO, NO_HISTORY, PROVISIONAL, Limit, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.guide import RESPONSE_TIME
from cogmeter.alerts.rules.rule import Bounds
from cogmeter.alerts.thresholds.keys import THRESHOLD, LimitError, OverrideKey, checked_value
from cogmeter.recording.service_names import BY_OPERATION, in_background, is_dependency
from cogmeter.settings import is_setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from cogmeter.alerts.rules.rule import Rule
    from cogmeter.query.records import Calibrated
    from cogmeter.settings import Settings

_REMEMBERED: Final = 10_000  # limits of subjects, computed once


class ResponseTimeLimit(NamedTuple):
    """The threshold of the response time, and the statistic that is compared with it: a chart draws both."""

    threshold_ms: float  # 0: none
    statistic: str  # average, p50, p95, p99


class Limits:
    """The limit of every subject. Changes take effect at once."""

    def __init__(
        self,
        settings: Settings,
        overrides: Mapping[str, str] = MappingProxyType({}),
        calibration: Mapping[Subject, Calibrated] | None = None,
    ) -> None:
        """``calibration`` has what was learned so far; None: nothing is calibrated, the settings are in effect."""
        self.settings = settings
        self.calibration = calibration
        self.left_out: dict[str, str] = {}  # overrides of another version, and why each has no effect in this one
        # By rule, then by service and operation; an empty service is the rule as a whole.
        self._overrides: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self._cache: dict[Subject, Limit] = {}
        self._columns: dict[str, Bounds] = {}
        self._calibrates: dict[str, bool] = {}
        self._own: dict[str, frozenset[tuple[str, str]]] = {}
        self._own_places: dict[str, NDArray[np.int64]] = {}
        self._own_size = 0  # the number of series that ``_own_places`` is about
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
        parsed: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self.left_out = {}
        for text, value in overrides.items():
            if is_setting(text):  # stored with the thresholds, and merged into ``settings``
                continue
            try:
                key = OverrideKey.parse(text)
                names = (key.subject.service, key.subject.operation)
                checked = checked_value(text, key, value)
                parsed.setdefault(key.subject.rule, {}).setdefault(names, {})[key.field] = checked
            except LimitError as error:  # stored by another version
                self.left_out[text] = str(error)
        self._overrides = parsed
        self._forget()

    def calibrate(self, calibration: Mapping[Subject, Calibrated] | None) -> None:
        """Replace what was learned."""
        self.calibration = calibration
        self._forget()

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

    def response_time(self, service: str | None = None, operation: str | None = None) -> ResponseTimeLimit:
        """Return what is judged of the response time of all services, of one, or of one of its operations."""
        subject = RESPONSE_TIME.subject(service or BOT, operation or "")
        return ResponseTimeLimit(self.of(subject).threshold, self.statistic_of(subject))

    def explicit(self, rule: str, *fields: str) -> Iterator[Subject]:
        """Yield the services and operations for which one of these fields was set by name."""
        for (service, operation), fields_set in self._overrides.get(rule, {}).items():
            if service and not fields_set.keys().isdisjoint(fields):
                yield Subject(rule, service, operation)

    def own(self, rule: str) -> Iterator[Subject]:
        """Yield the services and operations that have their own threshold: set by name, or calibrated."""
        yield from self.explicit(rule, THRESHOLD)
        for subject in (self.calibration or ()) if self.calibrates(rule) else ():
            if subject.rule == rule and self._untouched(subject):
                yield subject

    def own_operations(self, rule: str, series: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
        """Return the places of the series that have their own threshold; the list may only grow at its end."""
        if self._own_size != len(series):
            self._own_places.clear()
            self._own_size = len(series)
        if rule not in self._own_places:
            own = self._own_names(rule)
            places = [place for place, names in enumerate(series) if names in own] if own else []
            self._own_places[rule] = np.array(places, dtype=np.int64)
        return self._own_places[rule]

    def calibrates(self, rule: str) -> bool:
        """Return whether the default of a rule is calibrated, because no person has set it for all services."""
        known = self._calibrates.get(rule)
        if known is None:
            known = self._calibrates[rule] = (
                self.calibration is not None
                and RULES[rule].calibrated_from_s is not None
                and RULES[rule].setting not in self.settings.model_fields_set
                and self._untouched(Subject(rule, ""))
            )
        return known

    def calibrated(self, subject: Subject) -> Calibrated | None:
        """Return what was learned of a subject, if no person has set its threshold.

        Operations outside of BY_OPERATION are not learned one by one: they have what was learned of their service.
        """
        if self.calibration is None or not self.calibrates(subject.rule) or not self._untouched(subject):
            return None
        learned = self.calibration.get(subject)
        if learned is None and subject.operation and subject.service not in BY_OPERATION:
            learned = self.calibration.get(Subject(subject.rule, subject.service))
        return learned

    def raised(self, subject: Subject) -> Calibrated | None:
        """Return what the threshold in effect was learned from; None unless what was learned is above the guide's."""
        return self.calibrated(subject) if self.of(subject).basis in {CALIBRATED, PROVISIONAL} else None

    def active(self, rule: str) -> bool:
        """Return whether the rule is on for any subject."""
        if self.of(Subject(rule, "")).threshold:
            return True
        return any(changed.get(THRESHOLD) for changed in self._overrides.get(rule, {}).values())

    def bounds(self, rule: str, services: Sequence[str]) -> Bounds:
        """Return the limits of services; the list may only grow at its end."""
        known = self._columns.get(rule)
        if known is None or len(known.threshold) != len(services):
            named = {service for service, _ in self._overrides.get(rule, ())}
            usual, calibrates = self.of(Subject(rule, "")), self.calibrates(rule)
            limits = [
                self.of(Subject(rule, service)) if calibrates or service in named or in_background(service) else usual
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
            own = self._own_names(rule).union(self._overrides.get(rule, ()))
            places = [number for number, names in enumerate(series) if names in own] if own else []
            if places:
                own_bounds = _bounds([self.of(Subject(rule, *series[number])) for number in places])
                known.threshold[places], known.recovery[places] = own_bounds.threshold, own_bounds.recovery
                known.min_operations[places] = own_bounds.min_operations
            self._columns[f"{rule}/"] = known
        return known

    def _forget(self) -> None:
        """Compute all limits again."""
        self._cache.clear()
        self._columns.clear()
        self._calibrates.clear()
        self._own.clear()
        self._own_places.clear()

    def _own_names(self, rule: str) -> frozenset[tuple[str, str]]:
        """Return service and operation of the operations that have their own threshold."""
        if rule not in self._own:
            self._own[rule] = frozenset((one.service, one.operation) for one in self.own(rule) if one.operation)
        return self._own[rule]

    def _limit(self, subject: Subject) -> Limit:
        rule = RULES[subject.rule]
        settings = self.settings
        threshold, depth = self._find(subject, THRESHOLD)
        severity, basis = self._value_or(subject, "severity", ""), ""
        if threshold is None:
            threshold = float(getattr(settings, rule.setting))
        if depth > 1 and not _judged(rule, subject.service):
            threshold = 0.0
        elif subject.service and self.calibrates(rule.name) and self._untouched(subject):
            threshold, basis = self._learned(subject, threshold)
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
            severity=severity or (INFO if basis == NO_HISTORY else ""),
            basis=basis,
        )

    def _learned(self, subject: Subject, guide: float) -> tuple[float, str]:
        """Return the threshold of a subject that no person has set, and its basis; never below the guide's."""
        learned = self.calibrated(subject)
        if learned is None:
            return guide, NO_HISTORY
        threshold = learned.thresholds.get(self.statistic_of(subject), guide)
        if threshold <= guide:
            return guide, ""
        return threshold, CALIBRATED if learned.settled else PROVISIONAL

    def _untouched(self, subject: Subject) -> bool:
        """Return whether no override has set the threshold of a subject; a recovery threshold belongs to it."""
        return all(self._find(subject, field)[0] is None for field in (THRESHOLD, "recovery"))

    def _find(self, subject: Subject, field: str) -> tuple[Any, int]:
        """Return the override of a field and its depth: 0 the operation's, 1 the service's, 2 the rule's, 3 none."""
        changed = self._overrides.get(subject.rule, {})
        levels = ((subject.service, subject.operation), (subject.service, ""), ("", "")) if changed else ()
        for depth, names in enumerate(levels):
            value = changed.get(names, {}).get(field)
            if value is not None:
                # A service's override is found at depth 0 of the service itself.
                return value, depth if names[0] else 2
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
