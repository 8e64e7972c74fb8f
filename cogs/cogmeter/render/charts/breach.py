"""The chart of a breach: the time around it, what was measured with its threshold, and what changed before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.query.records import Period
from cogmeter.render.charts.chart import Chart
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.query.records import Timeline
    from cogmeter.render.charts.curve import Curve
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.model import Marker

BEFORE_US = 20 * MINUTE_US  # of what was normal, shown before the breach


def breach_period(alert: Alert, now_us: int) -> Period:
    """The shortest period that shows the breach from its beginning, and some of what was before it."""
    needed_us = now_us - alert.started_us + BEFORE_US
    return next((period for period in Period if period.length_us >= needed_us), Period.MONTH)


def breach_chart(
    alert: Alert,
    timeline: Timeline,
    *,
    window_us: int,
    curve: Curve | None = None,
    statistic: str = "",
    markers: Sequence[Marker] = (),
) -> Chart:
    """The chart that an alert's message shows.

    The breach is shaded from the beginning of the window in which it was first measured. ``curve`` is what the rule
    measures, where that is no response time; ``statistic`` is what a response time is held against, ``average`` or
    ``p95``.
    """
    ended_us = alert.seen_us if alert.resolved_us is None else alert.resolved_us
    slow = alert.rule == "response_time"
    return Chart(
        timeline,
        curve=curve,
        latency_threshold_us=alert.threshold * 1000 if slow else None,
        latency_statistic=statistic if slow else "",
        throughput_threshold=alert.threshold if alert.rule == "throughput" else None,
        breaches=((alert.started_us - window_us, max(ended_us, alert.started_us)),),
        markers=tuple((one.at_us, one.name) for one in markers),
    )
