"""The alerts that stand, and those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.widgets import Static

from cogmeter.schemas.alerts import TOLD
from cogmeter_bot.cli import guide_format
from cogmeter_bot.cli.output import DIM
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.styles import painted
from cogmeter_bot.tui.views.base import SEVERITY, DashboardView, alert_columns, alert_row

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source

MOST: Final = 500  # alerts


class AlertsData(NamedTuple):
    """The alerts, the last changed first."""

    active: list[AlertAnswer]
    history: list[AlertAnswer]


class AlertsView(DashboardView[AlertsData]):
    """Both tables; the range of time does not matter to them."""

    NAME: ClassVar[str] = "Alerts"

    def compose(self) -> ComposeResult:
        """The tables, and the chosen alert in full."""
        yield Grid("Active", alert_columns(), id="active-alerts")
        yield Grid("History", alert_columns(), id="past-alerts")
        yield Static(id="alert", classes="in-full")

    async def read(self, source: Source, span: Range) -> AlertsData:  # noqa: ARG002 - alerts have no range
        """See View."""
        return AlertsData(await source.alerts("active", limit=MOST), await source.alerts("history", limit=MOST))

    def show(self, data: AlertsData) -> None:
        """See View."""
        told = sum(one.state in TOLD for one in data.active)
        over = [one for one in data.history if one.state == "resolved"]
        self._fill("#active-alerts", f"Active ({told} told, {len(data.active) - told} pending or muted)", data.active)
        self._fill("#past-alerts", f"History ({len(over)} resolved)", over)
        self._explain()

    def on_data_table_row_highlighted(self) -> None:
        """Another alert was chosen."""
        self._explain()

    def on_descendant_focus(self) -> None:
        """The other table was entered."""
        self._explain()

    def _explain(self) -> None:
        grids = sorted(self.query(Grid), key=lambda grid: not grid.has_focus)
        chosen = next((grid.selected for grid in grids if grid.selected is not None), None)
        known = () if self._data is None else (*self._data.active, *self._data.history)
        one = next((each for each in known if chosen is not None and each.id == chosen.key), None)
        made = painted(self.app.theme_variables, *(_in_full(one) if one is not None else ()))
        made.no_wrap = False
        self.query_one("#alert", Static).update(made)

    def _fill(self, where: str, title: str, alerts: list[AlertAnswer]) -> None:
        grid = self.query_one(where, Grid)
        grid.entitle(title)
        grid.fill([alert_row(one) for one in alerts if self.holds(one.service, one.message, one.severity, one.state)])


def _in_full(one: AlertAnswer) -> list[Cell]:
    place = guide_format.line(one.service + (f" / {one.operation}" if one.operation else ""))
    began = f", since {guide_format.when(one.started_at)} UTC" if one.resolved_at is None else ""
    over = (
        f", {guide_format.when(one.started_at)} to {guide_format.when(one.resolved_at)} UTC" if one.resolved_at else ""
    )
    seen = "" if one.state == "acknowledged" else ", acknowledged"  # what is over was so before
    by = f"{seen} by {guide_format.line(one.acknowledged_by)}" if one.acknowledged_by else ""
    return [
        (one.severity, SEVERITY.get(one.severity, "")),
        (f" alert {one.number}, {one.state}{by}{began}{over}, ", DIM),
        (place, "bold"),
        f": {guide_format.line(one.message, 1000)}",
    ]
