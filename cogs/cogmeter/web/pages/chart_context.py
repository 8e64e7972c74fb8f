"""The context of charts: markers, breaches, and the limits from which alerts fire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.alerts.model import BOT, Subject
from cogmeter.query.comparison_periods import CHANGES
from cogmeter.query.selection import fired_alerts
from cogmeter.render import formatting
from cogmeter.web.pages.frame import displayed

if TYPE_CHECKING:
    from cogmeter.web.pages.frame import PageView
    from cogmeter_storage.model import Marker

LISTED: Final = 5  # changes that can be compared


async def chart_context(view: PageView[Any], service: str | None = None) -> str:
    """Return markers as [seconds, name] and breaches as [since, until or null, rule, uid]: JSON for ``data-marks``.

    Raises:
        StorageError: the store cannot be read.
    """
    span = view.span
    marks = [[marker.at_us / 1e6, displayed(marker.name)] for marker in await view.monitor.chart_builder.markers(span)]
    breaches = [
        [alert.started_us / 1e6, None if alert.resolved_us is None else alert.resolved_us / 1e6, alert.rule, alert.uid]
        for alert in await fired_alerts(view.monitor.store.alerting, span, service)
    ]
    return json.dumps({"marks": marks, "breaches": breaches})


async def changes(view: PageView[Any]) -> list[Marker]:
    """Return the last deploys and versions that the charts of a page mark, the newest first.

    Raises:
        StorageError: the store cannot be read.
    """
    markers = await view.monitor.chart_builder.markers(view.span)
    return [marker for marker in reversed(markers) if marker.kind in CHANGES][:LISTED]


class LatencyLimit(NamedTuple):
    """The threshold of the response time, its label, and the statistic that it limits, which the chart draws."""

    value_ms: float  # 0: none
    label: str
    statistic: str


def latency_limit(view: PageView[Any], service: str = "", operation: str = "") -> LatencyLimit:
    """Return the threshold of the response time of all services, of one, or of one of its operations."""
    limit_ms, statistic = view.monitor.alerting.limits.response_time(service, operation)
    return LatencyLimit(limit_ms, f"alert above {formatting.duration(limit_ms * 1000)} ({statistic})", statistic)


def heartbeat_limit(view: PageView[Any]) -> tuple[float, str]:
    """Return the threshold of the heartbeat latency in milliseconds, and its label."""
    limit_ms = view.monitor.alerting.limits.of(Subject("gateway_latency", BOT)).threshold
    return limit_ms, f"alert above {formatting.duration(limit_ms * 1000)}"


def error_limit(view: PageView[Any], service: str = "", operation: str = "") -> tuple[float, str]:
    """Return the threshold of the error rate, 0 to 1, and its label."""
    share = view.monitor.alerting.limits.of(Subject("error_rate", service, operation)).threshold
    return share, f"alert above {formatting.percent(share)}"
