"""The events of the range that is selected in charts: alerts, slowest operations and why, errors, and markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.query.slow import slow_runs
from cogmeter.recording.service_names import in_background
from cogmeter.schemas.times import iso
from cogmeter.web.pages.chart_context import fired_alerts

if TYPE_CHECKING:
    from cogmeter.query.records import Figures, Range
    from cogmeter.query.slow import SlowRun
    from cogmeter.web.pages.frame import PageView
    from cogmeter_storage.alerting import Alert, AlertChange
    from cogmeter_storage.model import FailureGroup, Marker, OperationRecord

LISTED: Final = 8  # slowest operations, groups of failures
MOST_ALERTS: Final = 20
MOST_CHANGES: Final = 12  # of one alert


@dataclass(frozen=True, slots=True)
class SelectedAlert:
    """An alert in the selected range, with its events, newest first."""

    alert: Alert
    changes: list[AlertChange]
    url: str  # of its entry on the alerts page


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that happened in the selected range."""

    range: Range
    figures: Figures
    before: Figures  # of the range of the same length before it
    alerts: list[SelectedAlert]
    left_out: int  # alerts
    slowest: list[OperationRecord]
    runs: list[SlowRun]  # with a trace: why they were slow
    failures: list[FailureGroup]
    markers: list[Marker]


async def selection(view: PageView[Any], service: str | None = None, operation: str | None = None) -> Selection | None:
    """Return what happened in the selected range; None without a selection.

    Raises:
        Problem: 422; the range is in the future.
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    span = view.selection
    if span is None:
        return None
    store, query = view.monitor.store, view.monitor.query
    alerts = sorted(await fired_alerts(store.alerting, span, service), key=lambda alert: -alert.started_us)
    ids = await query.ids(service, operation)
    # Background services such as loops are slow by nature: they are listed on their own pages.
    series = [one.id for one in await store.series() if not in_background(one.service)] if ids is None else ids
    figures, before = await _figures(view, span, service, operation)
    return Selection(
        span,
        figures,
        before,
        [await _with_changes(view, alert) for alert in alerts[:MOST_ALERTS]],
        max(len(alerts) - MOST_ALERTS, 0),
        await store.slowest(series, span.since_us, span.until_us, limit=LISTED),
        [run for run in (await slow_runs(query, span, service, operation)).runs if run.traced],
        await store.failure_groups(ids, span.since_us, span.until_us, limit=LISTED),
        await view.monitor.chart_builder.markers(span),
    )


async def _figures(
    view: PageView[Any], span: Range, service: str | None, operation: str | None
) -> tuple[Figures, Figures]:
    """Return the figures of the range and of the one before it."""
    query = view.monitor.query
    if service is not None:
        stats = await query.stats(service, operation, span)
        return stats.total, stats.before
    return (await query.overview(span)).total, (await query.overview(span.before)).total


async def _with_changes(view: PageView[Any], alert: Alert) -> SelectedAlert:
    changes = await view.monitor.store.alerting.changes(alert.uid, limit=MOST_CHANGES)
    place = "past" if alert.resolved_us is not None else "alert"
    # The alert's own time is selected there, so that the history begins with it.
    until = None if alert.resolved_us is None else iso(alert.resolved_us)
    times = {"from": iso(alert.started_us), "to": until}
    url = view.to("/performance/alerts", **{"service": None, "since": None, "until": None, "period": None, **times})
    return SelectedAlert(alert, changes, f"{url}#{place}-{alert.uid}")
