"""One metric: its name without the namespace, what it is, and its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTER: Final = "counter"
GAUGE: Final = "gauge"


@dataclass(frozen=True, slots=True)
class Family:
    """Labels are of our own making alone: services, operations, rules, parts, shards; never what identifies people."""

    name: str  # a counter's ends with _total
    kind: str
    help: str
    samples: list[tuple[Mapping[str, str], float]] = field(default_factory=list)

    @classmethod
    def one(cls, name: str, kind: str, text: str, value: float) -> Family:
        """A metric with one value, without labels."""
        return cls(name, kind, text, [({}, value)])

    @classmethod
    def by(cls, name: str, kind: str, text: str, label: str, values: Mapping[str, float]) -> Family:
        """A metric with a value for each value of one label."""
        return cls(name, kind, text, [({label: key}, value) for key, value in values.items()])
