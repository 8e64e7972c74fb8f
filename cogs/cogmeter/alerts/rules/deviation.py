"""Deviation: services that differ from their usual behaviour. An alert means a change, not a failure."""

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


def deviation(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find services with a figure whose score is above the threshold."""
    for service, measured in snapshot.deviations.items():
        subject = DEVIATION.subject(service)
        limit = limits.of(subject)
        if DEVIATION.beyond_recovery(measured.score, limit) and measured.operations >= limit.min_operations:
            breached = measured.score > limit.threshold
            # Never critical by itself: unusual is not broken.
            level = WARNING if limit.severity == CRITICAL else limit.severity or INFO
            yield Reading(subject, measured.score, limit.threshold, _text(measured, breached=breached), level, breached)


def _text(deviation: Deviation, *, breached: bool) -> str:
    if deviation.figure == P95:
        value, usual = f"95th percentile response time of {duration(deviation.value)}", duration(deviation.usual)
    elif deviation.figure == ERROR_RATE:
        value, usual = f"Error rate of {percent(deviation.value)}", percent(deviation.usual)
    else:
        value, usual = f"Traffic of {number(deviation.value)} operations/minute", number(deviation.usual)
    verb = "differs" if breached else "still differs"
    return f"{value} {verb} from the usual {usual} at this time (score {deviation.score:.2f})"


DEVIATION: Final = Rule(
    name="deviation",
    title="Unusual behaviour",
    unit="score",
    setting="alert_threshold_deviation",
    find=deviation,
    about=SERVICE,
    next_step="Compare it with the period before",
    leads_to="stats",
    chart="timeline",
    replay=None,
    for_s=600,  # twice the usual window: a single event stays in the window for five minutes
    background=False,
    explained_by=(ANY_RULE,),
)
