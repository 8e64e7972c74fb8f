"""Deviation: services that behave unlike themselves. It tells that something changed, not that something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import CRITICAL, INFO, WARNING, Reading, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.thresholds.limits import Limits

DEVIATION: Final = "deviation"


def deviation(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Services of which a figure's score is above the threshold."""
    for service, found in view.deviations.items():
        subject = Subject(DEVIATION, service)
        limit = limits.of(subject)
        if limit.threshold and found.score > limit.recovery and found.operations >= limit.min_operations:
            breached = found.score > limit.threshold
            side = "unlike" if breached else "still not quite like"
            text = f"{found.figure} is {side} the {found.usual} that are usual at this time (score {found.score:.2f})"
            # Never critical by itself: unusual is not broken.
            level = WARNING if limit.severity == CRITICAL else limit.severity or INFO
            yield Reading(subject, found.score, limit.threshold, text, level, breached)
