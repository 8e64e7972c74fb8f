"""What stands around charts: markers, the stretches in breach, and the limits that alerts are raised from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cogmeter.alerts.model import BOT, Subject
from cogmeter.render import formatting
from cogmeter.web.pages.frame import said
from cogmeter_storage.alerting import ACTIVE, AlertState

if TYPE_CHECKING:
    from cogmeter.web.pages.frame import PageView
    from cogmeter_storage.alerting import Alert

MOST: Final = 200  # alerts and markers


async def around(view: PageView, service: str | None = None) -> str:
    """Markers as [seconds, name] and breaches as [since, until or null, rule], as JSON for the charts' ``data-marks``.

    Raises:
        StorageError: the store cannot be read now.
    """
    span = view.span
    marks = [[one.at_us / 1e6, said(one.name)] for one in await view.monitor.chart_builder.markers(span)]
    breaches = [
        [one.started_us / 1e6, None if one.resolved_us is None else one.resolved_us / 1e6, one.rule]
        for one in await _told(view, service)
        if one.started_us < span.until_us
    ]
    return json.dumps({"marks": marks, "breaches": breaches})


async def _told(view: PageView, service: str | None) -> list[Alert]:
    """The alerts that people were told of and that touch the time that is shown."""
    kept = view.monitor.store.alerting
    over = await kept.alerts([AlertState.RESOLVED], since_us=view.span.since_us, service=service, limit=MOST)
    standing = await kept.alerts(ACTIVE, service=service, limit=MOST)
    return [one for one in (*over, *standing) if one.fired_us is not None]


def latency_limit(view: PageView, service: str = "", operation: str = "") -> tuple[float, str]:
    """The response time in milliseconds that an alert is raised from, 0 for none, and its words."""
    limits, subject = view.monitor.alerting.limits, Subject("response_time", service, operation)
    limit_ms = limits.of(subject).threshold
    return limit_ms, f"alert above {formatting.duration(limit_ms * 1000)} ({limits.statistic_of(subject)})"


def heartbeat_limit(view: PageView) -> tuple[float, str]:
    """The same for the time that a heartbeat takes to Discord and back, in milliseconds."""
    limit_ms = view.monitor.alerting.limits.of(Subject("gateway_latency", BOT)).threshold
    return limit_ms, f"alert above {formatting.duration(limit_ms * 1000)}"


def error_limit(view: PageView, service: str = "", operation: str = "") -> tuple[float, str]:
    """The same for the error rate, 0 to 1."""
    share = view.monitor.alerting.limits.of(Subject("error_rate", service, operation)).threshold
    return share, f"alert above {formatting.percent(share)}"
