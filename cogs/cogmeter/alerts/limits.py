"""What holds for which subject: the settings' thresholds, and above them what was changed while running.

A key is ``rule``, ``rule@service`` or ``rule@service/operation``. Behind it may stand ``.`` and a field: ``threshold``
(meant without a field), ``recovery``, ``for``, ``recovery_delay``, ``min_operations``, ``severity``, ``statistic``.
What is said of an operation wins over what is said of its service, and that over what is said of the rule. In a
service's name ``%2F`` stands for a slash and ``%25`` for a percent sign; a name that ends like a field has the field
``threshold`` behind it. ``key_of`` writes what ``Key.parse`` reads.
"""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cogmeter.alerts.model import SEVERITIES, Limit, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.values import STATISTICS
from cogmeter.likeness import near
from cogmeter.services import BACKGROUND
from cogmeter.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

THRESHOLD: Final = "threshold"
FIELDS: Final = (THRESHOLD, "recovery", "for", "recovery_delay", "min_operations", "severity", "statistic")
WORDED: Final = {"severity": SEVERITIES, "statistic": tuple(STATISTICS)}
_SETTING_OF: Final = {
    "for": "alert_for",
    "recovery_delay": "alert_recovery",
    "min_operations": "alert_min_operations",
}
_FACTORS: Final = {  # what may stand behind a number, by unit
    "share": {"%": 0.01},
    "milliseconds": {"ms": 1.0, "s": 1_000.0, "m": 60_000.0},
    "seconds": {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0},
}
_EXAMPLES: Final = {  # of how such a value is written, by unit
    "share": "0.05 or 5%",
    "milliseconds": "1900, 1900ms or 1.9s",
    "seconds": "300, 300s or 5m",
}
_SHOWN: Final = 60  # characters of a key or value; what is longer would bury what is said of it
_NUMBER: Final = re.compile(r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*([a-z%]*)", re.IGNORECASE)
_REMEMBERED: Final = 10_000  # limits of subjects, found once

_logger = logging.getLogger("cogmeter.alerts")


class LimitError(ValueError):
    """A key or value that cannot be; the text names both, and what can be."""


@dataclass(frozen=True, slots=True)
class Span:
    """The values that a setting takes."""

    least: float
    most: float
    unit: str
    below: bool = False  # ``most`` itself is not one of them

    @classmethod
    def of(cls, field: str) -> Span:
        """The limits that stand at a field of Settings."""
        info = Settings.model_fields[field]
        found = {name: getattr(one, name) for one in info.metadata for name in ("ge", "le", "lt") if hasattr(one, name)}
        extra: Any = info.json_schema_extra
        return cls(found["ge"], found.get("le", found.get("lt", math.inf)), extra["unit"].split(",")[0], "lt" in found)

    def __contains__(self, value: float) -> bool:
        return self.least <= value < self.most if self.below else self.least <= value <= self.most

    def __str__(self) -> str:
        return f"{self.least:.12g} to {'below ' if self.below else ''}{self.most:.12g} ({self.unit})"


@dataclass(frozen=True, slots=True)
class Key:
    """What a key refers to."""

    subject: Subject
    field: str

    @classmethod
    def parse(cls, text: str) -> Key:
        """The parts of a key.

        Raises:
            LimitError: there is no such rule, or a part is missing.
        """
        path, dot, field = text.rpartition(".")
        if not dot or field not in FIELDS:
            path, field = text, THRESHOLD
        rule, at, place = path.partition("@")
        service, slash, operation = place.partition("/")
        if rule not in RULES:
            alike = " or ".join(near(rule, RULES, 2))
            mend = f"did you mean {alike}?" if alike else f"there are {', '.join(RULES)}"
            raise LimitError(f"{text}: {rule!r} is no rule; {mend}")
        if (at and not service) or (slash and not operation):
            raise LimitError(f"{text}: a name is missing; write rule, rule@service or rule@service/operation")
        if field == "statistic" and rule != "response_time":
            raise LimitError(f"{text}: only response_time has a statistic")
        service = service.replace("%2F", "/").replace("%25", "%")
        return cls(Subject(rule, service, operation), field)


def key_of(subject: Subject, field: str = THRESHOLD) -> str:
    """The key of a limit, as overrides have it; a subject without service is the rule as a whole."""
    service = subject.service.replace("%", "%25").replace("/", "%2F")
    place = f"@{service}" if service else ""
    place += f"/{subject.operation}" if subject.operation else ""
    plain = field == THRESHOLD and not place.endswith(tuple(f".{one}" for one in FIELDS))
    return f"{subject.rule}{place}" + ("" if plain else f".{field}")


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
        """Let these hold from now on, in place of those that were given before."""
        said: dict[Subject, dict[str, Any]] = {}
        for text, value in overrides.items():
            try:
                key = Key.parse(text)
                said.setdefault(key.subject, {})[key.field] = _value(text, key, value)
            except LimitError as error:  # stored by another version
                _logger.warning("A changed threshold is left out: %s", error)
        self._said = said
        self._found.clear()
        self._columns.clear()

    @staticmethod
    def check(key: str, value: str) -> str:
        """The value as it is stored.

        Raises:
            LimitError: there is no such key, or the value is not within its range; the text says which.
        """
        checked = _value(key, Key.parse(key), value)
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


def span_of(key: Key) -> Span:
    """The range of a numeric field."""
    field = _SETTING_OF.get(key.field, RULES[key.subject.rule].setting)
    return Span.of(field)


def _value(text: str, key: Key, value: str) -> float | str:
    """The checked value of a key."""
    value = value.strip()
    shown = f"{text}={_cut(value)}"
    if key.field in WORDED:
        if value.lower() not in WORDED[key.field]:
            raise LimitError(f"{shown}: is not one of {', '.join(WORDED[key.field])}")
        return value.lower()
    span = span_of(key)
    number = _number(value, span.unit)
    if number is None or number not in span:
        example = _EXAMPLES.get(span.unit)
        raise LimitError(f"{shown}: is not within {span}" + (f"; write {example}" if example else ""))
    if key.field == "min_operations" and number != int(number):
        raise LimitError(f"{shown}: is no whole number")
    return number


def _cut(words: str) -> str:
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


def _number(value: str, unit: str) -> float | None:
    """A number in the unit, from one that may have another unit behind it; None if it is none."""
    match = _NUMBER.fullmatch(value)
    if match is None:
        return None
    factors = {"": 1.0, **_FACTORS.get(unit, {})}
    try:
        number = float(match[1]) * factors[match[2].lower()]
    except (ValueError, KeyError):
        return None
    return number if math.isfinite(number) else None
