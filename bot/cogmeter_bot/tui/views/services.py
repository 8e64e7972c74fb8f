"""All services in a table that sorts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding

from cogmeter_bot.tui.grid import Grid
from cogmeter_bot.tui.views.base import DashboardView, stats_columns, stats_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from cogmeter.query.records import Range
    from cogmeter.schemas.dashboard import Dashboard
    from cogmeter.schemas.figures import Stats
    from cogmeter_bot.sources.base import Source

# What each column sorts by, and whether the largest comes first.
ORDERS: Final[tuple[tuple[Callable[[str, Stats], float | str], bool], ...]] = (
    (lambda name, _: name.casefold(), False),
    (lambda _, one: one.total_operations, True),
    (lambda _, one: 1 - one.error_rate, False),
    (lambda _, one: one.average_response_time or 0, True),
    (lambda _, one: one.p50_response_time or 0, True),
    (lambda _, one: one.p95_response_time or 0, True),
    (lambda _, one: one.p99_response_time or 0, True),
    (lambda _, one: one.max_response_time or 0, True),
    (lambda _, one: one.operations_per_minute, True),
)


class ServicesView(DashboardView["Dashboard"]):
    """The table of services, what runs in the background at the end of its names."""

    NAME: ClassVar[str] = "Services"
    BINDINGS: ClassVar = [
        Binding("s", "sort", "Sort by the next column", show=False),
        Binding("S,shift+s", "turn", "Turn the order round", show=False),
    ]
    _column = 1
    _turned = False

    def compose(self) -> ComposeResult:
        """The table."""
        yield Grid("Services", stats_columns("service"), id="all-services")

    async def read(self, source: Source, span: Range) -> Dashboard:
        """See View."""
        return await source.dashboard(span, None)

    def show(self, data: Dashboard) -> None:
        """See View."""
        order, largest_first = ORDERS[self._column]
        reverse = largest_first is not self._turned
        pairs = [pair for pair in (*data.service_stats.items(), *data.background.items()) if self.holds(pair[0])]
        pairs.sort(key=lambda pair: pair[0])
        pairs.sort(key=lambda pair: order(*pair), reverse=reverse)
        columns = stats_columns("service")
        arrow = "▼" if reverse else "▲"
        columns[self._column] = replace(columns[self._column], title=f"{columns[self._column].title} {arrow}")
        grid = self.query_one(Grid)
        grid.head(columns)
        grid.entitle(f"Services ({len(pairs)}), by {columns[self._column].title}")
        grid.fill([stats_row(name, one, self._limits, name) for name, one in pairs])

    def action_sort(self) -> None:
        """Sort by the next column that is shown."""
        shown = self.query_one(Grid).shown(stats_columns(""))
        self._sort(next((place for place in shown if place > self._column), shown[0]))

    def action_turn(self) -> None:
        """Turn the order round."""
        self._turned = not self._turned
        self.redraw()

    def on_grid_headed(self, event: Grid.Headed) -> None:
        """A heading sorts by its column; the same again turns the order round."""
        if event.place == self._column:
            self.action_turn()
        else:
            self._sort(event.place)

    def _sort(self, column: int) -> None:
        self._column, self._turned = column, False
        self.redraw()
