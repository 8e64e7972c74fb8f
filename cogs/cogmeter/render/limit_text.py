"""What an alert rule's limits are, in people's words, for embeds and pages alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.render import formatting
from cogmeter.render.rule_labels import measured

if TYPE_CHECKING:
    from cogmeter.query.records import EffectiveLimit

# A field's words behind a rule's name.
_FIELDS: Final = {
    "threshold": "",
    "recovery": "recovers at",
    "for": "told after",
    "recovery_delay": "resolved after",
    "min_operations": "from",
    "severity": "severity",
    "statistic": "statistic",
}
_WITHIN: Final = {"disconnects": " in 10 min", "rate_limits": " in 10 min", "cost": " a day"}


def value_of(one: EffectiveLimit) -> str:
    """A limit's value in people's form; a threshold of 0 is ``off``."""
    words = _FIELDS.get(one.field, one.field)
    if isinstance(one.value, str):
        value = one.value or "by how far it is beyond"
    elif one.field in {"threshold", "recovery"}:
        value = _limit(one.rule, one.value) if one.value else "off"
    elif one.field == "min_operations":
        value = f"{formatting.exact(int(one.value))} operations"
    else:
        value = "no delay" if not one.value else formatting.duration(one.value * 1e6)
    return f"{words} {value}".strip()


def _limit(rule: str, value: float) -> str:
    """A threshold in its rule's unit; that of the burn rate is the success rate that is promised."""
    if rule == "burn_rate":
        return f"{formatting.percent(value)} success"
    return measured(rule, value) + _WITHIN.get(rule, "")
