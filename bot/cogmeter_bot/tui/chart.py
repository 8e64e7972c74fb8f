"""The chart widget, in which a point can be chosen; the only module that uses the drawing library."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual_plotext import PlotextPlot

from cogmeter.render import formatting
from cogmeter_bot.tui.styles import colour_of
from cogmeter_bot.zones import shown_at, zone_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from textual import events

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


class TerminalChart(PlotextPlot, can_focus=True):
    """Lines over time, with their names in the title.

    The focused chart has a cursor; Enter or a click opens the interval of a point.
    """

    BINDINGS: ClassVar = [
        Binding("left", "move(-1)", "Earlier", show=False),
        Binding("right", "move(1)", "Later", show=False),
        Binding("pageup", "move(-10)", "Ten points earlier", show=False),
        Binding("pagedown", "move(10)", "Ten points later", show=False),
        Binding("home", "move(-1000000)", "First point", show=False),
        Binding("end", "move(1000000)", "Last point", show=False),
        Binding("enter", "open", "Open point"),
    ]

    class IntervalOpened(Message):
        """A message that the interval [since, until) of a point was opened."""

        def __init__(self, since: datetime, until: datetime, subject: str | None) -> None:
            super().__init__()
            self.since = since
            self.until = until
            self.subject = subject  # the service or command that the chart shows; None: all

    def __init__(
        self,
        title: str,
        scale: Callable[[Sequence[float]], Scale],
        value_text: Callable[[float], str],
        **options: Any,
    ) -> None:
        """``scale`` returns the vertical axis for the values of all lines, ``value_text`` one value with its unit."""
        super().__init__(**options)
        self._value_text = value_text
        self._title = title
        self._scale = scale
        self._times: Sequence[datetime] = ()
        self._lines: Sequence[Line] = ()
        self._name = ""
        self._subject: str | None = None
        self._step = timedelta()
        self._cursor: datetime | None = None  # the start of the chosen step, which stays when the chart is drawn again
        self._label_width = 0  # columns left of the lines
        self.border_title = title

    def draw(
        self,
        times: Sequence[datetime],
        lines: Sequence[Line],
        name: str = "",
        *,
        step: timedelta = timedelta(),
        subject: str | None = None,
    ) -> None:
        """Show these lines; ``times`` are the starts of their steps, ``name`` is what they are about.

        ``subject`` is the service or command whose interval a point opens; None for all.
        """
        if subject != self._subject:
            self._cursor = None
        self._times, self._lines, self._name = times, lines, name
        self._step, self._subject = step, subject
        self._update_title()
        self.refresh()

    @property
    def chosen(self) -> int | None:
        """The index of the chosen point: the last one until another is chosen; None without points."""
        if not self._times or not self._values:
            return None
        if self._cursor is None:
            return len(self._times) - 1
        cursor = self._cursor
        return min(range(len(self._times)), key=lambda index: abs(self._times[index] - cursor))

    def action_move(self, points: int) -> None:
        """Move the cursor to the right, or to the left."""
        chosen = self.chosen
        if chosen is not None:
            self._choose(min(max(chosen + points, 0), len(self._times) - 1))

    def action_open(self) -> None:
        """Open the interval of the chosen point."""
        chosen = self.chosen
        if chosen is not None and self._step:
            since = self._times[chosen]
            self.post_message(self.IntervalOpened(since, since + self._step, self._subject))

    def on_click(self, event: events.Click) -> None:
        """Choose the point in the clicked column, and open it."""
        offset = event.get_content_offset(self)
        if offset is None or self.chosen is None:
            return
        share = (offset.x - self._label_width) / max(self.size.width - self._label_width - 1, 1)
        last = len(self._times) - 1
        self._choose(min(max(round(share * last), 0), last))
        self.action_open()

    def on_focus(self) -> None:
        """Show the cursor."""
        self._update_title()
        self.refresh()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._update_title()
        self.refresh()

    def _choose(self, index: int) -> None:
        self._cursor = self._times[index]
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
        chosen = self.chosen if self.has_focus else None
        if chosen is not None:
            self.border_title = Content.assemble(*self._point_parts(chosen))
            return
        logarithmic = " (log)" if self._scale(self._values).logarithmic else ""
        of = f" of {self._name}" if self._name else ""
        parts: list[tuple[str, str]] = [(f"{self._title}{of}{logarithmic}", "bold")]
        for line in self._lines:
            colour = colour_of(self.app.theme_variables, line.style)
            parts.append((f"  ━ {line.label}", "" if colour is None else colour.hex6))
        self.border_title = Content.assemble(*parts)

    def _point_parts(self, index: int) -> list[tuple[str, str]]:
        """Return the title of a chosen point: its interval in words, and its values with their labels."""
        parts = [(_interval_text(self._times[index], self._step), "bold")]
        for line in self._lines:
            colour, value = colour_of(self.app.theme_variables, line.style), line.values[index]
            text = formatting.NOTHING if value is None else self._value_text(value)
            parts.append((f"  {line.label} {text}", "" if colour is None else colour.hex6))
        return parts

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
        self._label_width = max((len(tick.label) for tick in ticks), default=0)
        if self.has_focus and self.chosen is not None:
            colour = colour_of(self.app.theme_variables, "main")
            plot.vline(self.chosen, color=None if colour is None else colour.rgb)
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


def _interval_text(since: datetime, step: timedelta) -> str:
    """Return a step in words, short enough for a narrow chart: ``08-17 10:20 to 10:25 CEST``."""
    until = since + step
    first, last = shown_at(since), shown_at(until)
    day = "" if first.date() == last.date() else f"{last:%m-%d} "
    return f"{first:%m-%d %H:%M} to {day}{last:%H:%M} {zone_name(until)}"


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
