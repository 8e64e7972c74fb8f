"""The chart widget; the only module that uses the drawing library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text
from textual.content import Content
from textual_plotext import PlotextPlot

from cogmeter_bot.tui.styles import colour_of
from cogmeter_bot.zones import shown_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from cogmeter.render.charts.ticks import Scale, Tick

MIN_SIZE: Final = (16, 3)  # columns and rows; a smaller chart is not drawn
TIME_LABEL_WIDTH: Final = 14
DAYS_FROM: Final = timedelta(days=2)  # a longer axis has days instead of times
ROWS_PER_TICK: Final = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart, with a gap where a value is None."""

    label: str
    values: Sequence[float | None]
    style: str


class TerminalChart(PlotextPlot):
    """Lines over time, with their names in the title."""

    can_focus = False

    def __init__(self, title: str, scale: Callable[[Sequence[float]], Scale], **options: Any) -> None:
        """``scale`` returns the vertical axis for the values of all lines."""
        super().__init__(**options)
        self._title = title
        self._scale = scale
        self._times: Sequence[datetime] = ()
        self._lines: Sequence[Line] = ()
        self._name = ""
        self.border_title = title

    def draw(self, times: Sequence[datetime], lines: Sequence[Line], name: str = "") -> None:
        """Show these lines; ``times`` are the starts of their steps, ``name`` is what they are about."""
        self._times, self._lines, self._name = times, lines, name
        self._update_title()
        self.refresh()

    @property
    def _values(self) -> list[float]:
        return [value for line in self._lines for value in line.values if value is not None]

    def render(self) -> Any:
        """Return the lines, or a text if there are none."""
        if not self._values:
            return Text("No operations in this period." if self._lines else "", style="dim")
        if self.size.width < MIN_SIZE[0] or self.size.height < MIN_SIZE[1]:
            return Text("")
        self._draw_plot(self._scale(self._values))
        return super().render()

    def _update_title(self) -> None:
        logarithmic = " (log)" if self._scale(self._values).logarithmic else ""
        of = f" of {self._name}" if self._name else ""
        parts: list[tuple[str, str]] = [(f"{self._title}{of}{logarithmic}", "bold")]
        for line in self._lines:
            colour = colour_of(self.app.theme_variables, line.style)
            parts.append((f"  ━ {line.label}", "" if colour is None else colour.hex6))
        self.border_title = Content.assemble(*parts)

    def _draw_plot(self, scale: Scale) -> None:
        plot = self.plt
        plot.clear_figure()
        plot.frame(frame=False)
        for line in self._lines:
            colour = colour_of(self.app.theme_variables, line.style)
            for indexes in unbroken_ranges(line.values):
                values = [scale.place(line.values[index] or 0.0) for index in indexes]
                plot.plot(list(indexes), values, marker="braille", color=None if colour is None else colour.rgb)
        ticks = limit_ticks(scale.ticks, max(self.size.height // ROWS_PER_TICK, 2))
        plot.ylim(0, 1)
        plot.yticks([scale.place(tick.value) for tick in ticks], [tick.label for tick in ticks])
        plot.xlim(0, max(len(self._times) - 1, 1))
        plot.xticks(*self._time_ticks())

    def _time_ticks(self) -> tuple[list[float], list[str]]:
        """Return positions and labels of the time axis; the last is left of the edge, so that it is not cut."""
        count = len(self._times)
        if not count:
            return [], []
        labels = max(min(self.size.width // TIME_LABEL_WIDTH, 8), 1)
        indexes = sorted({round(count * number / labels) for number in range(labels)} & set(range(count)))
        times = [shown_at(self._times[index]) for index in indexes]
        by_day = self._times[-1] - self._times[0] > DAYS_FROM
        return [*indexes], [f"{at.day} {at:%b}" if by_day else f"{at:%H:%M}" for at in times]


def limit_ticks(ticks: Sequence[Tick], max_count: int) -> Sequence[Tick]:
    """Return every tick, or every second, third and so on, so that there are at most ``max_count``."""
    return ticks[:: -(-len(ticks) // max_count)] if ticks else ticks


def unbroken_ranges(values: Sequence[float | None]) -> Iterator[range]:
    """Yield the indexes of values without a gap between them."""
    start: int | None = None
    for index, value in enumerate([*values, None]):
        if value is not None and start is None:
            start = index
        elif value is None and start is not None:
            yield range(start, index)
            start = None
