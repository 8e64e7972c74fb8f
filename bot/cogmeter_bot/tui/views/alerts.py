"""The view of active and past alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.widgets import Static

from cogmeter.alerts.model import by_urgency
from cogmeter_bot.cli.alerts import NO_ALERTS, SEVERITY_COLOURS, alert_text
from cogmeter_bot.cli.output import DIM
from cogmeter_bot.cli.text import one_line, timestamp, zoned
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.styles import styled_text
from cogmeter_bot.tui.views.base import DashboardView, alert_columns, alert_row
from cogmeter_storage.alerting import SENT

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source

MAX_ALERTS: Final = 500
NO_HISTORY: Final = "No alert has been resolved yet. An alert moves here when its metric has recovered."


class AlertsData(NamedTuple):
    """The active alerts, the most urgent first, and the past ones, the newest first."""

    active: list[AlertAnswer]
    history: list[AlertAnswer]


class AlertsView(DashboardView[AlertsData]):
    """Two tables of alerts; they ignore the time range."""

    NAME: ClassVar[str] = "Alerts"

    def compose(self) -> ComposeResult:
        """Yield the tables, and the details of the selected alert."""
        yield Grid("Active", alert_columns(), empty=NO_ALERTS, id="active-alerts")
        yield Grid("History", alert_columns(), empty=NO_HISTORY, id="past-alerts")
        yield Static(id="alert", classes="details")

    async def read(self, source: Source, time_range: Range) -> AlertsData:  # noqa: ARG002 - alerts have no range
        """Implement DashboardView.read."""
        active = by_urgency(await source.alerts("active", limit=MAX_ALERTS))
        return AlertsData(active, await source.alerts("history", limit=MAX_ALERTS))

    def draw(self, data: AlertsData) -> None:
        """Implement DashboardView.draw."""
        notified = sum(alert.state in SENT for alert in data.active)
        resolved = [alert for alert in data.history if alert.state == "resolved"]
        title = f"Active ({notified} firing or acknowledged, {len(data.active) - notified} pending or muted)"
        self._fill("#active-alerts", title, data.active)
        self._fill("#past-alerts", f"History ({len(resolved)} resolved)", resolved)
        self._show_details()

    def on_data_table_row_highlighted(self) -> None:
        """Show the selected alert."""
        self._show_details()

    def on_descendant_focus(self) -> None:
        """Show the selected alert of the focused table."""
        self._show_details()

    def _show_details(self) -> None:
        grids = sorted(self.query(Grid), key=lambda grid: not grid.has_focus)
        key = next((grid.selected.key for grid in grids if grid.selected is not None), None)
        alerts = () if self._data is None else (*self._data.active, *self._data.history)
        cells = next((_details(alert) for alert in alerts if alert.id == key), [])
        self.query_one("#alert", Static).update(styled_text(self.app.theme_variables, *cells, wrap=True))

    def _fill(self, selector: str, title: str, alerts: list[AlertAnswer]) -> None:
        grid = self.query_one(selector, Grid)
        grid.set_title(title)
        grid.set_rows(
            [
                alert_row(alert)
                for alert in alerts
                if self.matches(alert.service, alert_text(alert), alert.severity, alert.state)
            ]
        )


def _details(alert: AlertAnswer) -> list[Cell]:
    subject = one_line(alert.service + (f" / {alert.operation}" if alert.operation else ""))
    started = timestamp(alert.started_at)
    when = f"{started} to {zoned(alert.resolved_at)}" if alert.resolved_at else f"since {zoned(alert.started_at)}"
    verb = "" if alert.state == "acknowledged" else ", acknowledged"  # a resolved alert was acknowledged before
    by = f"{verb} by {one_line(alert.acknowledged_by)}" if alert.acknowledged_by else ""
    return [
        (alert.severity, SEVERITY_COLOURS.get(alert.severity, "")),
        (f" alert {alert.number}, {alert.state}{by}, {when}, ", DIM),
        (subject, "bold"),
        f": {alert_text(alert, 1000)}",
    ]
