"""What the bot's own process shows: a blocked event loop, loops that died, memory that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.model import BOT, CRITICAL, INFO, WARNING, Reading, Subject
from cogmeter.alerts.rules.message_format import against, duration, megabytes, percent
from cogmeter.alerts.rules.rule import severity
from cogmeter.recording.service_names import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.values import Values
    from cogmeter.alerts.thresholds.limits import Limits

QUARTERS: Final = 4
ENDS: Final = 3  # medians of five minutes at either end
LEAST: Final = 12  # medians: an hour
STEADY: Final = 0.05  # of the whole growth, that each quarter has to add


def stall(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """The longest block of the event loop in the window, and where it was."""
    subject = Subject("stall", BOT)
    limit = limits.of(subject)
    if view.longest_stall is None or not limit.threshold:
        return
    longest_ms, place = view.longest_stall
    if longest_ms > limit.recovery:
        breached = longest_ms > limit.threshold
        text = against(f"Event loop blocked for {duration(longest_ms)} at {place}", breached, duration(limit.threshold))
        yield Reading(subject, longest_ms, limit.threshold, text, severity(limit, longest_ms), breached)


def dead_loops(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Each background loop that should run and does not, when there are as many of them as the threshold says."""
    for loop in view.loops:
        subject = Subject("dead_loops", TASKS, loop.name)
        limit = limits.of(subject)
        if limit.threshold:
            what = "has died" if loop.dead else f"is overdue by {loop.overdue_s / 60:.0f} min"
            text = f"Loop {loop.name} {what}: {loop.text}" if loop.text else f"Loop {loop.name} {what}"
            level = limit.severity or (CRITICAL if loop.dead else WARNING)
            count = len(view.loops)
            yield Reading(subject, float(count), limit.threshold, text, level, count >= limit.threshold)


def memory_growth(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Memory that rises steadily within six hours."""
    subject = Subject("memory_growth", BOT)
    limit = limits.of(subject)
    if not limit.threshold:
        return
    medians = view.gauges.memory()
    growth = steady_growth(medians)
    if growth > limit.recovery:
        breached = growth > limit.threshold
        hours = len(medians) / 12
        what = (
            f"Memory growth of {percent(growth)} in {hours:.1f} h, to {megabytes(float(np.median(medians[-ENDS:])))},"
        )
        level = limit.severity or (WARNING if growth >= 2 * limit.threshold else INFO)
        yield Reading(
            subject, growth, limit.threshold, against(what, breached, percent(limit.threshold)), level, breached
        )


def steady_growth(medians: Values) -> float:
    """By how much the last values are above the first, as a share; 0 where that did not come steadily.

    Robust at both ends by the median of three. Steadily: the median of each quarter is above that of the one before, by
    at least a twentieth of the whole; a cache that is filled once, or a peak, is no growth.
    """
    if len(medians) < LEAST:
        return 0.0
    first, last = float(np.median(medians[:ENDS])), float(np.median(medians[-ENDS:]))
    quarters = [float(np.median(part)) for part in np.array_split(medians, QUARTERS)]
    if first <= 0 or last <= first or min(np.diff(quarters)) < STEADY * (last - first):
        return 0.0
    return last / first - 1.0
