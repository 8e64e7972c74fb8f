"""The one widget that draws charts; the drawing library is known to this module alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text
from textual.content import Content
from textual_plotext import PlotextPlot

from cogmeter.render.formatting import clock_time, day
from cogmeter_bot.tui.styles import tone
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from cogmeter.render.charts.ticks import Scale, Tick

LEAST: Final = (16, 3)  # columns and rows of a chart that tells something
LABEL_COLUMNS: Final = 14  # room for the label of a time
ROWS_PER_LABEL: Final = 3  # of the vertical axis


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart; where a value is None, there is a gap."""

    label: str
    values: Sequence[float | None]
    style: str


class TerminalChart(PlotextPlot):
    """Lines over time, with their names in the title."""

    can_focus = False

    def __init__(self, title: str, scale: Callable[[Sequence[float]], Scale], **more: Any) -> None:
        """``scale`` makes the vertical axis for the values that are there."""
        super().__init__(**more)
        self._title = title
        self._scale = scale
        self._times: Sequence[datetime] = ()
        self._lines: Sequence[Line] = ()
        self.border_title = title

    def draw(self, times: Sequence[datetime], lines: Sequence[Line]) -> None:
        """Show these lines; ``times`` are the starts of their steps, in UTC."""
        self._times, self._lines = times, lines
        self._entitle()
        self.refresh()

    @property
    def _values(self) -> list[float]:
        return [one for line in self._lines for one in line.values if one is not None]

    def render(self) -> Any:
        """The lines, or why there are none."""
        if not self._values:
            return Text("No operations in this stretch of time." if self._lines else "", style="dim")
        if self.size.width < LEAST[0] or self.size.height < LEAST[1]:
            return Text("")
        self._prepare(self._scale(self._values))
        return super().render()

    def _entitle(self) -> None:
        logarithmic = " (log)" if self._scale(self._values).logarithmic else ""
        parts: list[tuple[str, str]] = [(f"{self._title}{logarithmic}", "bold")]
        for line in self._lines:
            colour = tone(self.app.theme_variables, line.style)
            parts.append((f"  ━ {line.label}", "" if colour is None else colour.hex6))
        self.border_title = Content.assemble(*parts)

    def _prepare(self, scale: Scale) -> None:
        plot = self.plt
        plot.clear_figure()
        plot.frame(frame=False)
        for line in self._lines:
            colour = tone(self.app.theme_variables, line.style)
            for stretch in stretches(line.values):
                values = [scale.place(line.values[place] or 0.0) for place in stretch]
                plot.plot(list(stretch), values, marker="braille", color=None if colour is None else colour.rgb)
        marks = thinned(scale.ticks, max(self.size.height // ROWS_PER_LABEL, 2))
        plot.ylim(0, 1)
        plot.yticks([scale.place(one.value) for one in marks], [one.label for one in marks])
        plot.xlim(0, max(len(self._times) - 1, 1))
        places, labels = self._time_marks()
        plot.xticks(places, labels)

    def _time_marks(self) -> tuple[list[float], list[str]]:
        """Places along the line of time, and their labels; the last is left of the edge, so that it is not cut."""
        count = len(self._times)
        if not count:
            return [], []
        wanted = max(min(self.size.width // LABEL_COLUMNS, 8), 1)
        places = sorted({round(count * part / wanted) for part in range(wanted)} & set(range(count)))
        at_us = [int(self._times[place].timestamp() * 1e6) for place in places]
        length_us = (self._times[-1] - self._times[0]).total_seconds() * 1e6
        return [*places], [day(one) if length_us > 2 * DAY_US else clock_time(one) for one in at_us]


def thinned(marks: Sequence[Tick], most: int) -> Sequence[Tick]:
    """Every mark, or every second, third and so on, so that there are no more than so many."""
    return marks[:: -(-len(marks) // most)] if marks else marks


def stretches(values: Sequence[float | None]) -> Iterator[range]:
    """The places of values without a gap between them."""
    start: int | None = None
    for place, value in enumerate([*values, None]):
        if value is not None and start is None:
            start = place
        elif value is None and start is not None:
            yield range(start, place)
            start = None
