"""The alerts that stand, and those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from textual.widgets import Static

from cogmeter.answers.alerts import TOLD
from cogmeter_bot.cli import words
from cogmeter_bot.cli.page import DIM
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.looks import painted
from cogmeter_bot.tui.views.base import SEVERITY, View, alert_columns, alert_row

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.answers.alerts import AlertAnswer
    from cogmeter.records import Range
    from cogmeter_bot.cli.page import Cell
    from cogmeter_bot.reading.base import Source

MOST: Final = 500  # alerts


class Known(NamedTuple):
    """The alerts, the last changed first."""

    active: list[AlertAnswer]
    history: list[AlertAnswer]


class Alerts(View[Known]):
    """Both tables; the range of time does not matter to them."""

    NAME: ClassVar[str] = "Alerts"

    def compose(self) -> ComposeResult:
        """The tables, and the chosen alert in full."""
        yield Grid("Active", alert_columns(), id="active-alerts")
        yield Grid("History", alert_columns(), id="past-alerts")
        yield Static(id="alert", classes="in-full")

    async def read(self, source: Source, span: Range) -> Known:  # noqa: ARG002 - alerts have no range
        """See View."""
        return Known(await source.alerts("active", limit=MOST), await source.alerts("history", limit=MOST))

    def show(self, data: Known) -> None:
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
    place = words.line(one.service + (f" / {one.operation}" if one.operation else ""))
    began = f", since {words.when(one.started_at)} UTC" if one.resolved_at is None else ""
    over = f", {words.when(one.started_at)} to {words.when(one.resolved_at)} UTC" if one.resolved_at else ""
    seen = "" if one.state == "acknowledged" else ", acknowledged"  # what is over was so before
    by = f"{seen} by {words.line(one.acknowledged_by)}" if one.acknowledged_by else ""
    return [
        (one.severity, SEVERITY.get(one.severity, "")),
        (f" alert {one.number}, {one.state}{by}{began}{over}, ", DIM),
        (place, "bold"),
        f": {words.line(one.message, 1000)}",
    ]
