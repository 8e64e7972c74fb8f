"""Builds charts of timelines and alerts with thresholds and markers, and has the worker process draw them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.rules import RULES
from cogmeter.query.query import now_us
from cogmeter.query.records import Period, UnknownNameError
from cogmeter.recording.markers import store_markers
from cogmeter.recording.service_names import BOT
from cogmeter.render.charts.bar_chart import profile_chart, waterfall_chart
from cogmeter.render.charts.chart import Chart, Picture
from cogmeter.render.charts.cost_chart import CostChart
from cogmeter.render.charts.curve import curve_of
from cogmeter.render.charts.worker_client import ChartError
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import MINUTE_US

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Mapping, Sequence

    from cogmeter.alerts.thresholds.limits import Limits
    from cogmeter.query.costs import CostReport
    from cogmeter.query.query import Query
    from cogmeter.query.records import Range, Timeline
    from cogmeter.query.slow import SlowReport, SlowRun
    from cogmeter.recording.markers import MarkerRecorder
    from cogmeter.render.charts.chart import ChartRequest
    from cogmeter.render.charts.curve import Curve
    from cogmeter.render.charts.worker_client import ChartWorker
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.model import Marker

_logger = logging.getLogger("cogmeter.charts")

BEFORE_US: Final = 20 * MINUTE_US  # of normal operation, shown before the breach


class ChartBuilder:
    """Builds and draws charts. A chart that cannot be drawn is a Picture with the reason, not an exception.

    With PERFORMANCE_CHARTS=false there is no picture and no reason: only the doctor says so.
    """

    def __init__(
        self,
        worker: ChartWorker,
        query: Query,
        pending_markers: MarkerRecorder,
        settings: Settings,
        faults: Counter[str],
        *,
        gauges: Callable[[], Collection[str]],
        limits: Callable[[], Limits],
        zone: Callable[[], str],
    ) -> None:
        """Draw with ``worker``, and count failures in ``faults``.

        ``pending_markers`` may have markers that are not stored yet; ``gauges`` returns the names of the sampled ones,
        ``limits`` the limits in effect, ``zone`` the time zone of charts.
        """
        self._worker = worker
        self._query = query
        self._pending_markers = pending_markers
        self._settings = settings
        self._faults = faults
        self._gauges = gauges
        self._limits = limits
        self._zone = zone

    async def draw(self, chart: ChartRequest) -> Picture:
        """Draw a chart in the zone of the settings; log and count a failure, and return a picture without PNG."""
        return await self._drawn(chart.in_zone(self._zone()))

    async def waterfall(self, run: SlowRun) -> Picture:
        """Draw the waterfall of a run. Never raises."""
        return await self._drawn(waterfall_chart(run, self._zone()))

    async def time_profile(self, report: SlowReport) -> Picture:
        """Draw where the time of a command goes. Never raises."""
        return await self._drawn(profile_chart(report))

    async def costs(self, report: CostReport, names: Mapping[str, str]) -> Picture:
        """Draw costs over time; ``names`` are those of guilds or users by hash. Never raises."""
        return await self._drawn(CostChart.of(report, names))

    async def _drawn(self, chart: ChartRequest) -> Picture:
        if not self._settings.charts:
            return Picture(chart)
        try:
            return Picture(chart, await self._worker.draw(chart))
        except ChartError as error:
            self._faults["charts"] += 1
            _logger.warning("No chart: %s", error)
            return Picture(chart, problem=str(error))

    async def timeline(self, timeline: Timeline, *, small: bool = False) -> Picture:
        """Draw a timeline with markers, the threshold of the response time, and the statistic that it limits.

        ``small``: half as wide, for messages that are updated often.

        Raises:
            StorageError: the store cannot be read now.
        """
        limit = self._limits().response_time(timeline.service, timeline.operation)
        return await self.draw(
            Chart(
                timeline,
                latency_threshold_us=limit.threshold_ms * 1000 or None,
                latency_statistic=limit.statistic,
                markers=_named(await self.markers(timeline.range)),
                small=small,
            )
        )

    async def breach(self, alert: Alert) -> Picture | None:
        """Draw the measured value around a breach with its threshold; None if nothing is recorded of it."""
        if not self._settings.charts:
            return None
        # The bot as a whole has no series of its own: its gauge is drawn over the operations of all services.
        service, operation = (None, None) if alert.service == BOT else (alert.service, alert.operation or None)
        try:
            timeline = await self._query.timeline(service, operation, breach_period(alert, now_us()), trim=True)
            curve = await curve_of(alert, timeline, self._query.store, self._gauges())
            markers = await self.markers(timeline.range)
        except UnknownNameError:
            return None  # a loop that never ran, or a name whose operations are gone
        except StorageError as error:
            _logger.warning("No chart for the alert on %s: %s", alert.service, error)
            return None
        window_us = int(self._settings.alert_window * 1e6)
        statistic = self._limits().response_time(alert.service, alert.operation).statistic
        chart = breach_chart(alert, timeline, window_us=window_us, curve=curve, statistic=statistic, markers=markers)
        return await self.draw(chart)

    async def markers(self, span: Range) -> list[Marker]:
        """Store pending markers and return those of the range.

        Raises:
            StorageError: the store cannot be read now.
        """
        await store_markers(self._query.store, self._pending_markers)
        return await self._query.store.markers(span.since_us, span.until_us)


def breach_period(alert: Alert, now_us: int) -> Period:
    """Return the shortest period that shows the whole breach and some time before it."""
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
    """Return the chart of an alert's message.

    The breach is shaded from the start of the window in which it was first measured. ``curve`` is the rule's value
    where that is no response time; ``statistic`` is the response time that the threshold limits: average or p95.
    """
    ended_us = alert.seen_us if alert.resolved_us is None else alert.resolved_us
    shown = RULES[alert.rule].chart if alert.rule in RULES else "timeline"
    slow = shown == "response time"
    return Chart(
        timeline,
        curve=curve,
        latency_threshold_us=alert.threshold * 1000 if slow else None,
        latency_statistic=statistic if slow else "",
        throughput_threshold=alert.threshold if shown == "throughput" else None,
        breaches=((alert.started_us - window_us, max(ended_us, alert.started_us)),),
        markers=_named(markers),
    )


def _named(markers: Sequence[Marker]) -> tuple[tuple[int, str], ...]:
    return tuple((marker.at_us, marker.name) for marker in markers)
