"""The keys of limits, and their values: ``response_time@web-crawling/fetch.severity``.

A key is ``rule``, ``rule@service`` or ``rule@service/operation``, then an optional ``.`` and a field: ``threshold``
(the default), ``recovery``, ``for``, ``recovery_delay``, ``min_operations``, ``severity``, ``statistic``. In a
service's name ``%2F`` is a slash and ``%25`` a percent sign. A name that ends like a field is followed by
``.threshold``. ``key_of`` writes what ``OverrideKey.parse`` reads.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

from cogmeter.alerts.measurement.values import STATISTICS
from cogmeter.alerts.model import SEVERITIES, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.query.name_matching import near
from cogmeter.redaction import quoted, shown
from cogmeter.settings import Settings
from cogmeter.times import parse_duration

THRESHOLD: Final = "threshold"
FIELDS: Final = (THRESHOLD, "recovery", "for", "recovery_delay", "min_operations", "severity", "statistic")
WORDED: Final = {"severity": SEVERITIES, "statistic": tuple(STATISTICS)}  # fields whose value is one of these words
_SETTING_OF: Final = {  # fields that have the same setting for every rule
    "for": "alert_for",
    "recovery_delay": "alert_recovery",
    "min_operations": "alert_min_operations",
}
_TIME_UNITS: Final = {"milliseconds": "ms", "seconds": "s"}  # units whose values may be written as a duration
_EXAMPLES: Final = {  # of a value, by unit
    "share": "5%",
    "milliseconds": "1900, 1900ms or 1.9s",
    "seconds": "300, 300s or 5m",
}
_SHOWN: Final = 60  # characters of a value or an unknown rule in a message
_LONGEST: Final = 250  # characters of a key, which may name a service and an operation
_NUMBER: Final = re.compile(r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*(%?)", re.IGNORECASE)


class LimitError(ValueError):
    """A key or value is not valid; the text names both, and what is valid."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The range of a setting."""

    least: float
    most: float
    unit: str
    below: bool = False  # ``most`` itself is excluded

    @classmethod
    def of(cls, field: str) -> ValueRange:
        """Return the range of a field of Settings."""
        info = Settings.model_fields[field]
        names = ("ge", "le", "lt")
        bounds = {name: getattr(item, name) for item in info.metadata for name in names if hasattr(item, name)}
        most = bounds.get("le", bounds.get("lt", math.inf))
        extra: Any = info.json_schema_extra
        return cls(bounds["ge"], most, extra["unit"].split(",")[0], "lt" in bounds)

    def __contains__(self, value: float) -> bool:
        return self.least <= value < self.most if self.below else self.least <= value <= self.most

    def __str__(self) -> str:
        numbers = f"{self.least:.12g} to {'below ' if self.below else ''}{self.most:.12g}"
        if self.unit == "share":
            return f"a share from {numbers} or a percentage, e.g. {_EXAMPLES['share']}"
        example = f", e.g. {_EXAMPLES[self.unit]}" if self.unit in _EXAMPLES else ""
        return f"a number from {numbers} ({self.unit}){example}"


@dataclass(frozen=True, slots=True)
class OverrideKey:
    """The subject and the field of a key."""

    subject: Subject
    field: str

    @classmethod
    def parse(cls, text: str) -> OverrideKey:
        """Parse a key.

        Raises:
            LimitError: the rule does not exist, or a part is missing.
        """
        path, dot, field = text.rpartition(".")
        if not dot or field not in FIELDS:
            path, field = text, THRESHOLD
        rule, at, place = path.partition("@")
        service, slash, operation = place.partition("/")
        if rule not in RULES:
            alike = " or ".join(near(rule, RULES, 2))
            hint = f"Did you mean {alike}?" if alike else f"Use one of {', '.join(RULES)}."
            raise LimitError(f"{shown(text, limit=_SHOWN)}: {quoted(rule, limit=_SHOWN)} is not a rule. {hint}")
        if (at and not service) or (slash and not operation):
            raise LimitError(
                f"{shown(text, limit=_LONGEST)}: a name is missing. Use rule, rule@service or rule@service/operation."
            )
        if field == "statistic" and not RULES[rule].statistic_setting:
            rules = ", ".join(name for name, other in RULES.items() if other.statistic_setting)
            raise LimitError(f"{shown(text, limit=_LONGEST)}: only {rules} has a statistic.")
        service = service.replace("%2F", "/").replace("%25", "%")
        return cls(Subject(rule, service, operation), field)


def key_of(subject: Subject, field: str = THRESHOLD) -> str:
    """Return the key of a limit; a subject without service is the rule as a whole."""
    service = subject.service.replace("%", "%25").replace("/", "%2F")
    place = f"@{service}" if service else ""
    place += f"/{subject.operation}" if subject.operation else ""
    plain = field == THRESHOLD and not place.endswith(tuple(f".{name}" for name in FIELDS))
    return f"{subject.rule}{place}" + ("" if plain else f".{field}")


def setting_of(key: OverrideKey) -> str:
    """Return the field of Settings with the default of a limit; empty for the severity, which has none."""
    rule = RULES[key.subject.rule]
    own = {THRESHOLD: rule.setting, "recovery": rule.setting, "statistic": rule.statistic_setting}
    return own.get(key.field) or _SETTING_OF.get(key.field, "")


def span_of(key: OverrideKey) -> ValueRange:
    """Return the range of a numeric field."""
    return ValueRange.of(setting_of(key))


def checked_value(text: str, key: OverrideKey, value: str) -> float | str:
    """Return the value of a key: a number in the unit of its range, or one of the field's words.

    Raises:
        LimitError: the value is out of range, or not a word of the field; the text says what is valid.
    """
    value = value.strip()
    assignment = f"{shown(text, limit=_LONGEST)}={shown(value, limit=_SHOWN)}"
    if key.field in WORDED:
        if value.lower() not in WORDED[key.field]:
            raise LimitError(f"{assignment} is not valid. Use one of {', '.join(WORDED[key.field])}.")
        return value.lower()
    span = span_of(key)
    number = _number(value, span.unit)
    if number is None or number not in span:
        problem = "is not valid" if number is None else "is out of range"
        raise LimitError(f"{assignment} {problem}. Use {span}.")
    if key.field == "min_operations" and number != int(number):
        raise LimitError(f"{assignment} is not a whole number.")
    return number


def _number(value: str, unit: str) -> float | None:
    """Return a number in the unit, from a plain number, a percentage or a duration; None if it is none of them."""
    if unit in _TIME_UNITS:
        unsigned = value[1:] if value[:1] in {"+", "-"} else value
        number = parse_duration(unsigned, _TIME_UNITS[unit], plain=True)
        return -number if number is not None and value.startswith("-") else number
    match = _NUMBER.fullmatch(value)
    if match is None or (match[2] and unit != "share"):
        return None
    try:
        number = float(match[1]) * (0.01 if match[2] else 1.0)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
