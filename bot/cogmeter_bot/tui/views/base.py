"""The base of all views, and the tables that several of them show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from textual.binding import Binding
from textual.containers import Vertical

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnosis import Status
from cogmeter_bot.cli.alerts import SEVERITY_COLOURS, alert_text
from cogmeter_bot.cli.output import BAD, GOOD, WARN, Column
from cogmeter_bot.cli.text import duration, one_line, share, short_timestamp
from cogmeter_bot.sources.diagnosis import judge_stats
from cogmeter_bot.tui.grid import Grid, GridRow

if TYPE_CHECKING:
    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.statistics import RankedStats
    from cogmeter.settings import Settings
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source

D = TypeVar("D")

TALL: Final = 40  # rows of a screen from which views show more: charts in Services, whole messages


# Keys of the views in which a service or command is selected.
SUBJECT_KEYS: Final = (
    Binding("w", "app.why_slow", "Why slow"),
    Binding("c", "app.compare", "Compare"),
)


class DashboardView(Vertical, Generic[D]):
    """A view of the dashboard; ``D`` is the type of its data."""

    NAME: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        super().__init__(id=self.NAME.lower())
        self._limits = Limits(settings)  # until the source's own are known
        self._data: D | None = None
        self._filter = ""

    @property
    def subject(self) -> str | None:
        """The selected service or command; None if the view has none."""
        return None

    async def read(self, source: Source, time_range: Range) -> D:
        """Return the data of the view, without access to the screen.

        Raises:
            SourceError: the source cannot answer.
        """
        raise NotImplementedError

    def draw(self, data: D) -> None:
        """Show the data on the screen."""
        raise NotImplementedError

    def update_data(self, data: Any, limits: Limits) -> None:
        """Show the data that ``read`` returned, judged by the thresholds in effect."""
        self._data, self._limits = data, limits
        self.draw(data)

    def set_filter(self, needle: str) -> None:
        """Show only rows that contain this text, ignoring case."""
        self._filter = needle.casefold()
        self.redraw()

    def redraw(self) -> None:
        """Show the same data again, for example in other colours."""
        if self._data is not None:
            self.draw(self._data)

    def matches(self, *texts: str | None) -> bool:
        """Return whether one of these texts contains the filter."""
        return not self._filter or any(self._filter in text.casefold() for text in texts if text)

    def focus_first_table(self) -> None:
        """Send keys to the view's first table."""
        for grid in self.query(Grid).results():
            grid.focus()
            return


def stats_columns(kind: str) -> list[Column]:
    """Return the columns of a table of services, operations or commands."""
    return [
        Column(kind, flexible=True, least=18),
        Column("ops", right=True),
        Column("success", right=True),
        Column("average", right=True),
        Column("p50", right=True, hides=3),
        Column("p95", right=True),
        Column("p99", right=True, hides=1),
        Column("max", right=True, hides=4),
        Column("ops/min", right=True, hides=2),
    ]


def stats_row(ranked: RankedStats, limits: Limits, *, opens: bool = True) -> GridRow:
    """Return the row of a service, operation or command, which Enter opens if ``opens``."""
    name, service, operation, stats = ranked
    judgement = judge_stats(stats, limits, service, operation)
    colour = BAD if judgement.failing else GOOD if judgement.status is not Status.UNKNOWN else ""
    cells: list[Cell] = [
        one_line(name),
        f"{stats.total_operations:,}",
        (share(stats.successful_operations, stats.total_operations), colour),
        (duration(stats.average_response_time), WARN if judgement.slow else ""),
        duration(stats.p50_response_time),
        duration(stats.p95_response_time),
        duration(stats.p99_response_time),
        duration(stats.max_response_time),
        f"{stats.operations_per_minute:,.2f}",
    ]
    return GridRow(f"{service}\n{operation}", name if opens else "", cells)  # no name has a line end


def alert_columns() -> list[Column]:
    """Return the columns of a table of alerts."""
    return [
        Column("#", right=True, hides=4),
        Column("severity", hides=2),
        Column("state", hides=3),
        Column("began", hides=1),
        Column("service", flexible=True),
        Column("message", flexible=True, least=40),
    ]


def alert_row(alert: AlertAnswer) -> GridRow:
    """Return the row of an alert."""
    cells: list[Cell] = [
        str(alert.number),
        (alert.severity, SEVERITY_COLOURS.get(alert.severity, "")),
        (alert.state, GOOD if alert.state == "resolved" else ""),
        short_timestamp(alert.started_at)[:-3],
        one_line(alert.service),
        alert_text(alert, 300),
    ]
    return GridRow(alert.id, alert.service, cells)
