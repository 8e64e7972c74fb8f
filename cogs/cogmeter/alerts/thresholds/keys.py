"""The keys of limits, and the values that they take: ``response_time@web-crawling/fetch.severity``.

A key is ``rule``, ``rule@service`` or ``rule@service/operation``. Behind it may stand ``.`` and a field: ``threshold``
(meant without a field), ``recovery``, ``for``, ``recovery_delay``, ``min_operations``, ``severity``, ``statistic``.
In a service's name ``%2F`` stands for a slash and ``%25`` for a percent sign; a name that ends like a field has the
field ``threshold`` behind it. ``key_of`` writes what ``OverrideKey.parse`` reads.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

from cogmeter.alerts.model import SEVERITIES, Subject
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.values import STATISTICS
from cogmeter.redaction import quoted, shown
from cogmeter.settings import Settings

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
_SHOWN: Final = 60  # characters of a value or an unknown rule; what is longer would bury what is said of it
_LONGEST: Final = 250  # characters of a key, which may name a service and an operation
_NUMBER: Final = re.compile(r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*([a-z%]*)", re.IGNORECASE)


class LimitError(ValueError):
    """A key or value that cannot be; the text names both, and what can be."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values that a setting takes."""

    least: float
    most: float
    unit: str
    below: bool = False  # ``most`` itself is not one of them

    @classmethod
    def of(cls, field: str) -> ValueRange:
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
class OverrideKey:
    """What a key refers to."""

    subject: Subject
    field: str

    @classmethod
    def parse(cls, text: str) -> OverrideKey:
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
            from cogmeter.query.name_matching import near  # see suggestions.py

            alike = " or ".join(near(rule, RULES, 2))
            mend = f"did you mean {alike}?" if alike else f"there are {', '.join(RULES)}"
            raise LimitError(f"{shown(text, limit=_SHOWN)}: {quoted(rule, limit=_SHOWN)} is no rule; {mend}")
        if (at and not service) or (slash and not operation):
            raise LimitError(
                f"{shown(text, limit=_LONGEST)}: a name is missing; write rule, rule@service or rule@service/operation"
            )
        if field == "statistic" and rule != "response_time":
            raise LimitError(f"{shown(text, limit=_LONGEST)}: only response_time has a statistic")
        service = service.replace("%2F", "/").replace("%25", "%")
        return cls(Subject(rule, service, operation), field)


def key_of(subject: Subject, field: str = THRESHOLD) -> str:
    """The key of a limit, as overrides have it; a subject without service is the rule as a whole."""
    service = subject.service.replace("%", "%25").replace("/", "%2F")
    place = f"@{service}" if service else ""
    place += f"/{subject.operation}" if subject.operation else ""
    plain = field == THRESHOLD and not place.endswith(tuple(f".{one}" for one in FIELDS))
    return f"{subject.rule}{place}" + ("" if plain else f".{field}")


def span_of(key: OverrideKey) -> ValueRange:
    """The range of a numeric field."""
    field = _SETTING_OF.get(key.field, RULES[key.subject.rule].setting)
    return ValueRange.of(field)


def checked_value(text: str, key: OverrideKey, value: str) -> float | str:
    """The value of a key: a number in the unit of its span, or one of the field's words.

    Raises:
        LimitError: the value is not within its range, or no such word; the text says what can be.
    """
    value = value.strip()
    given = f"{shown(text, limit=_LONGEST)}={shown(value, limit=_SHOWN)}"
    if key.field in WORDED:
        if value.lower() not in WORDED[key.field]:
            raise LimitError(f"{given}: is not one of {', '.join(WORDED[key.field])}")
        return value.lower()
    span = span_of(key)
    number = _number(value, span.unit)
    if number is None or number not in span:
        example = _EXAMPLES.get(span.unit)
        raise LimitError(f"{given}: is not within {span}" + (f"; write {example}" if example else ""))
    if key.field == "min_operations" and number != int(number):
        raise LimitError(f"{given}: is no whole number")
    return number


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
