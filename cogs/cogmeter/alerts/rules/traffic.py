"""Low traffic: a service that is used much less than usual, or not at all, although nothing failed."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement.history import FIVE_MINUTES_S, HALF_HOUR_S, HOUR_S
from cogmeter.alerts.model import CRITICAL, WARNING, Reading, Subject
from cogmeter.alerts.rules import values
from cogmeter.alerts.rules.message_format import number, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.thresholds.limits import Bounds, Limits

LOW_TRAFFIC: Final = "low_traffic"
IMPROBABLE: Final = math.log(1e-6)  # that so few operations come by chance: five hundred services are checked all day
WINDOWS_S: Final = (FIVE_MINUTES_S, HALF_HOUR_S, HOUR_S)  # the first in which the silence is improbable speaks
BURST_S: Final = 600.0  # within which what comes is of one burst


def recovered(threshold: float) -> float:
    """From twice the share on, a service has its traffic back."""
    return min(2.0 * threshold, 1.0)


def low_traffic(view: Snapshot, limits: Limits) -> Iterator[Reading]:
    """Services whose rate is below a share of the usual one, in the shortest window in which that is no chance.

    A process that began within the window knows nothing yet; what was silent when the last one ended, stays so for the
    first five minutes.
    """
    bounds = limits.bounds(LOW_TRAFFIC, view.services)
    told: set[int] = set()
    for window_s in WINDOWS_S:
        began = view.up_s < window_s
        if began and window_s != FIVE_MINUTES_S:
            return
        for place in _low(view, bounds, window_s):
            service = view.services[place]
            if place in told or (began and service not in view.silent_before):
                continue
            told.add(place)
            reading = _reading(view, limits, Subject(LOW_TRAFFIC, service), place, window_s)
            yield dataclasses.replace(reading, breached=False) if began else reading


def _low(view: Snapshot, bounds: Bounds, window_s: int) -> list[int]:
    """The services whose traffic in this window is below the recovery threshold, and not by chance."""
    operations, _ = view.history.totals(window_s)
    expected = view.usual_per_minute[window_s] * (window_s / 60.0)
    share = np.where(np.isfinite(bounds.threshold), bounds.recovery, 0.0)
    low = (expected >= np.maximum(bounds.min_operations, 1)) & (operations < share * expected)
    if not low.any():
        return []
    # Counts over a window that holds several bursts vary less.
    burstiness = view.burstiness * min(BURST_S / window_s, 1.0)
    low &= values.silence(operations, expected, burstiness) < IMPROBABLE
    return np.flatnonzero(low).tolist()


def _reading(view: Snapshot, limits: Limits, subject: Subject, place: int, window_s: int) -> Reading:
    limit = limits.of(subject)
    operations = int(view.history.totals(window_s)[0][place])
    usual = float(view.usual_per_minute[window_s][place])
    now = operations * 60.0 / window_s
    share = now / usual
    breached = share < limit.threshold
    text = f"No operations in {window_s // 60} min, where {number(usual)} a minute are usual"
    if operations:
        side = "is below" if breached else "is still near"
        text = (
            f"{number(now)} operations/minute of {number(usual)} usual {side} threshold of {percent(limit.threshold)}"
        )
    severity = limit.severity or (WARNING if operations else CRITICAL)
    return Reading(subject, share, limit.threshold, text, severity, breached)
