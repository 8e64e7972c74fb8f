"""Burn rate: how fast a service uses up the failures that its target allows, over two windows at once.

The windows and factors are those of Google's "The Site Reliability Workbook", chapter 5 (table 5-8), for a budget of
thirty days: 14.4 times uses 2% of it within an hour, 6 times 5% within six hours, once 10% within three days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement import values
from cogmeter.alerts.measurement.history import FIVE_MINUTES_S, HALF_HOUR_S, HOUR_S, SIX_HOURS_S, THREE_DAYS_S
from cogmeter.alerts.model import CRITICAL, INFO, WARNING, Reading
from cogmeter.alerts.rules.rule import SERVICE, Rule, beyond, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import Bounds, RuleLimits

MIN_FAILURES: Final = 10  # failures in the long window; fewer may be chance
KNOWN: Final = 0.25  # share of the long window that must be recorded


@dataclass(frozen=True, slots=True)
class Level:
    """A factor that both windows have to exceed. ``name`` is the long window's in messages."""

    factor: float
    long_s: int
    short_s: int
    severity: str
    name: str


LEVELS: Final = (
    Level(14.4, HOUR_S, FIVE_MINUTES_S, CRITICAL, "the last hour"),
    Level(6.0, SIX_HOURS_S, HALF_HOUR_S, WARNING, "the last 6 hours"),
    Level(1.0, THREE_DAYS_S, SIX_HOURS_S, INFO, "the last 3 days"),
)


def recovered(target: float) -> float:
    """Return the target at which an alert recovers: it allows four fifths of the failures."""
    return 1.0 - 0.8 * (1.0 - target)


def burn_rate(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find services that burn their budget in both windows of a level; the worst level counts."""
    bounds = limits.bounds(BURN_RATE.name, snapshot.services)
    reported = np.zeros(len(snapshot.services), dtype=np.bool_)
    for breached in (True, False):
        for level in LEVELS:
            burning = _burning(snapshot, bounds, level, bounds.threshold if breached else bounds.recovery) & ~reported
            reported |= burning
            for place in np.flatnonzero(burning).tolist():
                yield _reading(snapshot, limits, place, level, breached=breached)


def _burning(snapshot: Snapshot, bounds: Bounds, level: Level, targets: values.Values) -> NDArray[np.bool_]:
    """Return which services use up what this target allows faster than the level's factor."""
    if snapshot.history.known_s(snapshot.now_us) < KNOWN * level.long_s:
        return np.zeros(len(snapshot.services), dtype=np.bool_)
    on = np.isfinite(bounds.threshold)
    allowed = level.factor * (1.0 - np.where(on, targets, 0.0))
    operations, failures = snapshot.history.totals(level.long_s)
    burning: NDArray[np.bool_] = on & (operations >= bounds.min_operations) & (failures >= MIN_FAILURES)
    burning &= values.error_rates(operations, failures) > allowed
    burning &= values.error_rates(*snapshot.history.totals(level.short_s)) > allowed
    return burning


def _reading(snapshot: Snapshot, limits: RuleLimits, place: int, level: Level, *, breached: bool) -> Reading:
    subject = BURN_RATE.subject(snapshot.services[place])
    limit = limits.of(subject)
    operations, failures = (counts[place] for counts in snapshot.history.totals(level.long_s))
    current = float(values.burn_rates(operations, failures, limit.threshold))
    rate = percent(float(values.error_rates(operations, failures)))
    verb = "exceeds" if breached else "is still near"
    factor, times = number(level.factor), number(current)
    if breached:
        times = beyond(times, factor)
    text = f"Error budget burn of {times} times {verb} threshold of {factor} times"
    text += f": {rate} failed in {level.name}, {percent(1.0 - limit.threshold)} may fail"
    return Reading(subject, current, level.factor, text, limit.severity or level.severity, breached)


BURN_RATE: Final = Rule(
    name="burn_rate",
    title="Error budget",
    unit="factor",
    threshold_unit="share of success",
    compares="target",
    setting="alert_slo_target",
    find=burn_rate,
    about=SERVICE,
    next_step="Open its most common error",
    leads_to="errors",
    chart="error rate without threshold",  # the threshold is a multiple of what the target allows
    replay=None,
    recovery=recovered,
    min_operations=100,
    background=False,
    explained_by=("error_rate",),
    # The long window still contains the failures of an incident that is over; the short one is soon free of them.
    explained_for_s={level.factor: float(level.short_s) for level in LEVELS}.__getitem__,
    degrades=True,
)
