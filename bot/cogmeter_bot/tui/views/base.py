"""What all views are: they read, away from the screen, and then show what they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from textual.containers import Vertical

from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.diagnosis import Status
from cogmeter_bot.cli import guide_format
from cogmeter_bot.cli.output import BAD, GOOD, WARN, Column
from cogmeter_bot.sources.diagnosis import judged
from cogmeter_bot.tui.grid import Grid, GridRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cogmeter.query.records import Range
    from cogmeter.schemas.alerts import AlertAnswer
    from cogmeter.schemas.figures import Stats
    from cogmeter.settings import Settings
    from cogmeter_bot.cli.output import Cell
    from cogmeter_bot.sources.base import Source

D = TypeVar("D")

SEVERITY: Final[Mapping[str, str]] = {"critical": BAD, "warning": WARN}


class DashboardView(Vertical, Generic[D]):
    """A view of the dashboard; ``D`` is what it reads."""

    NAME: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        super().__init__(id=self.NAME.lower())
        self._limits = Limits(settings)  # until the source's own are known
        self._data: D | None = None
        self._needle = ""

    async def read(self, source: Source, span: Range) -> D:
        """What the view shows; must not touch the screen.

        Raises:
            SourceError: the source cannot answer.
        """
        raise NotImplementedError

    def show(self, data: D) -> None:
        """Put it on the screen."""
        raise NotImplementedError

    def bring(self, data: Any, limits: Limits) -> None:
        """Show what ``read`` returned, judged by the thresholds in effect."""
        self._data, self._limits = data, limits
        self.show(data)

    def narrow(self, needle: str) -> None:
        """Show only rows that hold this text, in any case."""
        self._needle = needle.casefold()
        self.redraw()

    def redraw(self) -> None:
        """Show the same again, as in other colours."""
        if self._data is not None:
            self.show(self._data)

    def holds(self, *texts: str | None) -> bool:
        """Whether one of these texts holds what is looked for."""
        return not self._needle or any(self._needle in one.casefold() for one in texts if one)

    def enter(self) -> None:
        """Give the keys to the view's first table."""
        for grid in self.query(Grid).results():
            grid.focus()
            return


def stats_columns(kind: str) -> list[Column]:
    """The columns of a table of services or operations."""
    return [
        Column(kind, flexible=True),
        Column("ops", right=True),
        Column("success", right=True),
        Column("average", right=True),
        Column("p50", right=True, needs=110),
        Column("p95", right=True),
        Column("p99", right=True),
        Column("longest", right=True, needs=110),
        Column("ops/min", right=True, needs=76),
    ]


def stats_row(key: str, one: Stats, limits: Limits, service: str, operation: str = "") -> GridRow:
    """Return the row of a service, or of one of its operations; ``key`` is its name in the table."""
    judgement = judged(one, limits, service, operation)
    colour = BAD if judgement.failing else GOOD if judgement.status is not Status.UNKNOWN else ""
    success = guide_format.share(one.successful_operations, one.total_operations)
    cells: list[Cell] = [
        guide_format.line(key),
        f"{one.total_operations:,}",
        (success, colour),
        (guide_format.ms(one.average_response_time), WARN if judgement.slow else ""),
        guide_format.ms(one.p50_response_time),
        guide_format.ms(one.p95_response_time),
        guide_format.ms(one.p99_response_time),
        guide_format.ms(one.max_response_time),
        f"{one.operations_per_minute:,.2f}",
    ]
    return GridRow(key, "" if operation else service, cells)


def alert_columns() -> list[Column]:
    """The columns of a table of alerts."""
    return [
        Column("no.", right=True, needs=70),
        Column("severity"),
        Column("state"),
        Column("since (UTC)", needs=95),
        Column("service", flexible=True),
        Column("message", flexible=True),
    ]


def alert_row(one: AlertAnswer) -> GridRow:
    """A row of such a table."""
    state = "" if one.state != "resolved" else GOOD
    cells: list[Cell] = [
        str(one.number),
        (one.severity, SEVERITY.get(one.severity, "")),
        (one.state, state),
        f"{one.timestamp:%m-%d %H:%M}",
        guide_format.line(one.service),
        guide_format.line(one.message, 300),
    ]
    return GridRow(one.id, one.service, cells)
