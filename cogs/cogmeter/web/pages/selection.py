"""The panel of the range that is selected in charts: what ``query.selection`` found, with the history of its alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter.query.selection import select
from cogmeter.schemas.times import iso

if TYPE_CHECKING:
    from cogmeter.query.selection import Selection
    from cogmeter.web.pages.frame import PageView
    from cogmeter_storage.alerting import Alert, AlertChange

MOST_CHANGES: Final = 12  # of one alert


@dataclass(frozen=True, slots=True)
class SelectedAlert:
    """An alert in the selected range, with its events, newest first."""

    alert: Alert
    changes: list[AlertChange]
    url: str  # of its entry on the alerts page


@dataclass(frozen=True, slots=True)
class SelectionPanel:
    """Everything that happened in the selected range, as the page shows it."""

    found: Selection
    alerts: list[SelectedAlert]


async def selection(
    view: PageView[Any], service: str | None = None, operation: str | None = None
) -> SelectionPanel | None:
    """Return what happened in the selected range; None without a selection.

    Raises:
        Problem: 422; the range is in the future.
        UnknownNameError: nothing is stored under that service or operation.
        StorageError: the store cannot be read.
    """
    span = view.selection
    if span is None:
        return None
    markers = await view.monitor.chart_builder.markers(span)
    found = await select(view.query, span, service, operation, markers=markers)
    return SelectionPanel(found, [await _with_changes(view, alert) for alert in found.alerts])


async def _with_changes(view: PageView[Any], alert: Alert) -> SelectedAlert:
    changes = await view.query.store.alerting.changes(alert.uid, limit=MOST_CHANGES)
    place = "past" if alert.resolved_us is not None else "alert"
    # The alert's own time is selected there, so that the history begins with it.
    until = None if alert.resolved_us is None else iso(alert.resolved_us)
    times = {"from": iso(alert.started_us), "to": until}
    url = view.to("/performance/alerts", **{"service": None, "since": None, "until": None, "period": None, **times})
    return SelectedAlert(alert, changes, f"{url}#{place}-{alert.uid}")
