"""Low traffic: a service that is used much less than usual, or not at all, although nothing failed."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from cogmeter.alerts.measurement import values
from cogmeter.alerts.measurement.expected_traffic import WINDOWS_S
from cogmeter.alerts.measurement.history import FIVE_MINUTES_S
from cogmeter.alerts.model import CRITICAL, WARNING, Reading
from cogmeter.alerts.rules.rule import SERVICE, Rule, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.alerts.measurement.snapshot import Snapshot
    from cogmeter.alerts.rules.rule import Bounds, RuleLimits

IMPROBABLE: Final = math.log(1e-6)  # the accepted probability of chance; five hundred services are checked all day
BURST_S: Final = 600.0  # operations within this time are one burst


def recovered(threshold: float) -> float:
    """Return the recovery threshold: twice the share."""
    return min(2.0 * threshold, 1.0)


def low_traffic(snapshot: Snapshot, limits: RuleLimits) -> Iterator[Reading]:
    """Find services whose traffic is below a share of the usual, in the shortest window that excludes chance.

    A process that started within the window has no data yet. A service that was silent when the last run ended stays
    silent for the first five minutes.
    """
    bounds = limits.bounds(LOW_TRAFFIC.name, snapshot.services)
    reported: set[int] = set()
    for window_s in WINDOWS_S:
        began = snapshot.up_s < window_s
        if began and window_s != FIVE_MINUTES_S:
            return
        for place in _low(snapshot, bounds, window_s):
            service = snapshot.services[place]
            if place in reported or (began and service not in snapshot.silent_before):
                continue
            reported.add(place)
            reading = _reading(snapshot, limits, place, window_s)
            yield dataclasses.replace(reading, breached=False) if began else reading


def _low(snapshot: Snapshot, bounds: Bounds, window_s: int) -> list[int]:
    """Return the services whose traffic in this window is below the recovery threshold, and not by chance."""
    operations, _ = snapshot.history.totals(window_s)
    expected = snapshot.usual_per_minute[window_s] * (window_s / 60.0)
    share = np.where(np.isfinite(bounds.threshold), bounds.recovery, 0.0)
    low = (expected >= np.maximum(bounds.min_operations, 1)) & (operations < share * expected)
    if not low.any():
        return []
    # Counts over a window that contains several bursts vary less.
    burstiness = snapshot.burstiness * min(BURST_S / window_s, 1.0)
    low &= values.silence(operations, expected, burstiness) < IMPROBABLE
    return np.flatnonzero(low).tolist()


def _reading(snapshot: Snapshot, limits: RuleLimits, place: int, window_s: int) -> Reading:
    subject = LOW_TRAFFIC.subject(snapshot.services[place])
    operations = int(snapshot.history.totals(window_s)[0][place])
    usual = float(snapshot.usual_per_minute[window_s][place])
    now = operations * 60.0 / window_s
    what = f"{number(now)} operations/minute of {number(usual)} usual"
    level = WARNING if operations else CRITICAL
    reading = LOW_TRAFFIC.reading(subject, now / usual, limits.of(subject), what, level=level)
    if operations:
        return reading
    silent = f"No operations in {window_s // 60} min, where {number(usual)} operations/minute are usual"
    return dataclasses.replace(reading, message=silent)


LOW_TRAFFIC: Final = Rule(
    name="low_traffic",
    title="Low traffic",
    unit="share of usual",
    setting="alert_threshold_low_traffic",
    find=low_traffic,
    about=SERVICE,
    next_step="Check the bot's permissions, and that its commands are registered",
    leads_to="stats",
    chart="timeline",
    replay=None,
    falling=True,
    recovery=recovered,
    background=False,
    explained_by_bot=("disconnects",),
)
