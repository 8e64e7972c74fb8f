"""Says why an active alert's value cannot be compared now: a window with too few operations is not a recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.alerts.model import NO_OPERATIONS, TOO_FEW_FAILURES, TOO_FEW_OPERATIONS, WITH_SERVICE
from cogmeter.alerts.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogmeter.alerts.measurement.window import Window
    from cogmeter.alerts.model import Limit, Reading, Subject
    from cogmeter.alerts.rules.rule import Rule, RuleLimits


def reasons(
    window: Window, limits: RuleLimits, subjects: Iterable[Subject], readings: Iterable[Reading]
) -> dict[Subject, str]:
    """Return why subjects without a reading cannot be compared now: ``model.NO_OPERATIONS`` and the like.

    Left out are subjects that are within their thresholds, and those of rules that have a value without operations.
    """
    measured = {reading.subject for reading in readings}
    left = {one for one in subjects if one not in measured and one.rule in RULES and RULES[one.rule].kept is not None}
    operations = {(one.service, one.operation) for one in left if one.operation}
    series = {name: place for place, name in enumerate(window.series) if name in operations} if operations else {}
    found = {one: _reason(window, limits.of(one), one, series.get((one.service, one.operation))) for one in left}
    return {one: reason for one, reason in found.items() if reason}


def _reason(window: Window, limit: Limit, subject: Subject, series: int | None) -> str:
    rule, place = RULES[subject.rule], window.places.get(subject.service)
    counts, at = (window.by_series, series) if subject.operation else (window.by_service, place)
    if place is None or at is None:
        return NO_OPERATIONS
    operations, failures = int(counts.operations[at]), int(counts.failures[at])
    if not operations or operations < (rule.kept or 0.0) * limit.min_operations:
        return TOO_FEW_OPERATIONS if operations else NO_OPERATIONS
    if not _is_beyond(rule, failures / operations, limit):
        return ""
    alone = subject.operation and operations == int(window.by_service.operations[place])
    return WITH_SERVICE if alone else TOO_FEW_FAILURES


def _is_beyond(rule: Rule, share: float, limit: Limit) -> bool:
    """Return whether the share of failures, if the rule compares that, is still beyond the recovery threshold."""
    return rule.unit == "share" and rule.is_worse(share, limit.recovery)
