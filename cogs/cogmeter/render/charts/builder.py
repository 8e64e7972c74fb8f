"""Turns timelines and alerts into pictures: adds what changed meanwhile, and has the worker draw them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cogmeter.query.query import now_us
from cogmeter.query.records import UnknownNameError
from cogmeter.recording.markers import store_marks
from cogmeter.recording.service_names import BOT
from cogmeter.render.charts.breach import breach_chart, breach_period
from cogmeter.render.charts.chart import Chart, Picture
from cogmeter.render.charts.curve import curve_of
from cogmeter.render.charts.worker_client import ChartError
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection

    from cogmeter.query.query import Query
    from cogmeter.query.records import Range, Timeline
    from cogmeter.recording.markers import MarkerRecorder
    from cogmeter.render.charts.worker_client import ChartWorker
    from cogmeter.settings import Settings
    from cogmeter_storage.alerting import Alert
    from cogmeter_storage.model import Marker

_logger = logging.getLogger("cogmeter.charts")


class ChartBuilder:
    """Never raises for want of a picture: an answer comes without one, and says why."""

    def __init__(
        self,
        charts: ChartWorker,
        query: Query,
        marks: MarkerRecorder,
        settings: Settings,
        faults: Counter[str],
        *,
        gauges: Callable[[], Collection[str]],
    ) -> None:
        """``marks`` are those that may wait to be stored; what fails is counted among the ``faults``.

        ``gauges`` gives the names of those that are sampled.
        """
        self._charts = charts
        self._query = query
        self._marks = marks
        self._settings = settings
        self._faults = faults
        self._gauges = gauges

    async def draw(self, chart: Chart) -> Picture:
        """The chart drawn by the worker; without a PNG, logged and counted, if there is none to be had."""
        try:
            return Picture(chart, await self._charts.draw(chart))
        except ChartError as error:
            self._faults["charts"] += 1
            _logger.warning("No chart: %s", error)
            return Picture(chart, trouble=str(error))

    async def timeline(self, timeline: Timeline, *, response_time_ms: float, statistic: str) -> Picture:
        """Draw a timeline with markers and the threshold of the response time's ``statistic`` (0: none).

        Raises:
            StorageError: the store cannot be read now.
        """
        return await self.draw(
            Chart(
                timeline,
                latency_threshold_us=response_time_ms * 1000 or None,
                latency_statistic=statistic,
                markers=tuple((one.at_us, one.name) for one in await self.markers(timeline.range)),
            )
        )

    async def breach(self, alert: Alert) -> Picture | None:
        """What the alert is about, around the breach: what was measured, its threshold, the stretch in breach."""
        # The bot as a whole has no series of its own: beside what was measured of it stands all that people asked for.
        service, operation = (None, None) if alert.service == BOT else (alert.service, alert.operation or None)
        try:
            timeline = await self._query.timeline(service, operation, breach_period(alert, now_us()))
            curve = await curve_of(alert, timeline, self._query.store, self._gauges())
            markers = await self.markers(timeline.range)
        except UnknownNameError:
            return None  # a loop that never ran, or a name whose operations are gone
        except StorageError as error:
            _logger.warning("No chart for the alert on %s: %s", alert.service, error)
            return None
        window_us, statistic = int(self._settings.alert_window * 1e6), self._settings.alert_response_time_statistic
        chart = breach_chart(alert, timeline, window_us=window_us, curve=curve, statistic=statistic, markers=markers)
        return await self.draw(chart)

    async def markers(self, span: Range) -> list[Marker]:
        """What changed within the range, with what was not stored yet.

        Raises:
            StorageError: the store cannot be read now.
        """
        await store_marks(self._query.store, self._marks)
        return await self._query.store.markers(span.since_us, span.until_us)
