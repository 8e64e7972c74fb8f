"""Deviation: services that behave unlike themselves. An alert means that something changed, not that it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.measurement.deviations import ERROR_RATE, P95
from cogmeter.alerts.model import CRITICAL, INFO, WARNING, Reading
from cogmeter.alerts.rules.rule import ANY_RULE, SERVICE, Rule, duration, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.deviations import Deviation
    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import RuleLimits


def deviation(view: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find services with a figure whose score is above the threshold."""
    for service, found in view.deviations.items():
        subject = DEVIATION.subject(service)
        limit = limits.of(subject)
        if DEVIATION.beyond_recovery(found.score, limit) and found.operations >= limit.min_operations:
            breached = found.score > limit.threshold
            # Never critical by itself: unusual is not broken.
            level = WARNING if limit.severity == CRITICAL else limit.severity or INFO
            yield Reading(subject, found.score, limit.threshold, _text(found, breached=breached), level, breached)


def _text(found: Deviation, *, breached: bool) -> str:
    if found.figure == P95:
        value, usual = f"95th percentile response time of {duration(found.value)}", duration(found.usual)
    elif found.figure == ERROR_RATE:
        value, usual = f"Error rate of {percent(found.value)}", percent(found.usual)
    else:
        value, usual = f"Traffic of {number(found.value)} operations/minute", number(found.usual)
    side = "unlike" if breached else "still not quite like"
    return f"{value} is {side} the {usual} that are usual at this time (score {found.score:.2f})"


DEVIATION: Final = Rule(
    name="deviation",
    title="Unusual behaviour",
    unit="score",
    setting="alert_threshold_deviation",
    find=deviation,
    about=SERVICE,
    chart="timeline",
    replay=None,
    for_s=600,  # twice the usual window: a single event stays in the window for five minutes
    background=False,
    explained_by=(ANY_RULE,),
)
