"""The alerts that stand, and those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from cogmeter.answers.alerts import TOLD
from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.views.base import View, alert_columns, alert_row

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from cogmeter.answers.alerts import AlertAnswer
    from cogmeter.records import Range
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
        """The tables."""
        yield Grid("Active", alert_columns(), id="active-alerts")
        yield Grid("History", alert_columns(), id="past-alerts")

    async def read(self, source: Source, span: Range) -> Known:  # noqa: ARG002 - alerts have no range
        """See View."""
        return Known(await source.alerts("active", limit=MOST), await source.alerts("history", limit=MOST))

    def show(self, data: Known) -> None:
        """See View."""
        told = sum(one.state in TOLD for one in data.active)
        over = [one for one in data.history if one.state == "resolved"]
        self._fill("#active-alerts", f"Active ({told} told, {len(data.active) - told} pending or muted)", data.active)
        self._fill("#past-alerts", f"History ({len(over)} resolved)", over)

    def _fill(self, where: str, title: str, alerts: list[AlertAnswer]) -> None:
        grid = self.query_one(where, Grid)
        grid.entitle(title)
        grid.fill([alert_row(one) for one in alerts if self.holds(one.service, one.message, one.severity, one.state)])
