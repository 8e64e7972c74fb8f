"""Lays out a whole chart: its heading, grid and words, with the values and what matters in them drawn in between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cogmeter.render import formatting, palette
from cogmeter.render.charts import overlays, series
from cogmeter.render.charts.layout import HEIGHT, LEFT, PERCENTILES, RIGHT, TITLE, TYPE, WIDTH, Panel, finite
from cogmeter.render.charts.pen import Pen
from cogmeter.render.charts.ticks import Tick, duration_scale, rate_scale, time_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.render.charts.chart import Chart


class Painter:
    """Draws charts one after the other on one figure."""

    def __init__(self) -> None:
        self._pen = Pen(WIDTH, HEIGHT, palette.BACKGROUND)

    @property
    def lacking(self) -> frozenset[str]:
        """The characters of names that no font of the machine has: those names are said differently."""
        return frozenset(self._pen.fonts.lacking)

    def draw(self, chart: Chart) -> bytes:
        """The chart as a PNG of 1600 x 900 pixels."""
        upper, lower = _panels(chart)
        self._pen.clear()
        self._heading(chart)
        self._grid(chart, upper, lower)
        if not chart.empty:
            series.operations(self._pen, chart, lower)
            series.upper(self._pen, chart, upper)
        self._key(chart, upper, lower)
        overlays.breaches(self._pen, chart, upper, lower)
        overlays.thresholds(self._pen, chart, upper, lower)
        overlays.markers(self._pen, chart, upper, lower)
        return self._pen.png()

    def _heading(self, chart: Chart) -> None:
        pen, baseline = self._pen, HEIGHT - 66
        label = f"{formatting.cut(formatting.clean(chart.timeline.range.label), 40)}, UTC"
        pen.write(RIGHT, baseline, label, TYPE, palette.MUTED, at="right")
        room = RIGHT - 32 - pen.width_of(label, TYPE) - 32
        title = pen.fonts.legible(formatting.clean(chart.timeline.title), chart.timeline.alias or "this service")
        pen.write(32, baseline, self._fitted(title, room), TITLE, palette.TEXT, bold=True)

    def _fitted(self, words: str, room: float) -> str:
        """A title that is not wider than the room for it."""
        words = formatting.cut(words, 200)
        while len(words) > 1 and (width := self._pen.width_of(words, TITLE, bold=True)) > room:
            words = formatting.cut(words, min(len(words) - 1, math.floor(len(words) * room / width)))
        return words

    def _grid(self, chart: Chart, upper: Panel, lower: Panel) -> None:
        pen = self._pen
        times = time_ticks(chart.since_us, chart.until_us)
        measured = () if chart.empty else (upper, lower)
        across = [((LEFT, at.y(tick.value)), (RIGHT, at.y(tick.value))) for at in measured for tick in at.scale.ticks]
        up = [((at.x(tick.value), at.bottom), (at.x(tick.value), at.top)) for at in (upper, lower) for tick in times]
        pen.rules([*across, *up, ((LEFT, lower.bottom), (RIGHT, lower.bottom))], palette.GRID)
        for panel in measured:
            for tick in panel.scale.ticks:
                pen.write(LEFT - 16, panel.y(tick.value) - 12, tick.label, TYPE, palette.MUTED, at="right")
        self._time_labels(times, lower)

    def _time_labels(self, times: Sequence[Tick], panel: Panel) -> None:
        free_from = 0.0
        for tick in times:
            width = self._pen.width_of(tick.label, TYPE)
            left = min(max(panel.x(tick.value) - width / 2, 8), WIDTH - 12 - width)
            if left >= free_from:
                colour = palette.TEXT if tick.strong else palette.MUTED
                self._pen.write(left, 34, tick.label, TYPE, colour)
                free_from = left + width + 24

    def _key(self, chart: Chart, upper: Panel, lower: Panel) -> None:
        """The words above each panel: what is drawn, each in its own colour, so that no legend is needed."""
        pen = self._pen
        if chart.empty:
            words = "No operations were recorded in this time."
            pen.write((LEFT + RIGHT) / 2, (upper.bottom + upper.top) / 2, words, 42, palette.TEXT, at="center")
        if chart.curve is None:
            self._percentile_key(upper)
        else:
            self._say(LEFT, upper.top + 32, chart.curve.name, series.curve_colour(chart.curve), bold=True)
        if upper.scale.logarithmic:
            pen.write(RIGHT, upper.top + 32, "logarithmic scale", TYPE, palette.MUTED, at="right")
        x = self._say(LEFT, lower.top + 28, "operations a minute", palette.MUTED)
        pen.boxes([(x, lower.top + 28, 24, 24)], palette.FAILED)
        self._say(x + 36, lower.top + 28, "failed", palette.FAILED, bold=True)

    def _percentile_key(self, panel: Panel) -> None:
        x = self._say(LEFT, panel.top + 32, "response time", palette.MUTED)
        for name, colour, width in PERCENTILES:
            self._pen.line([x, x + 44], [panel.top + 44] * 2, colour, width)
            x = self._say(x + 56, panel.top + 32, name, colour, bold=True)

    def _say(self, x: float, y: float, words: str, colour: str, *, bold: bool = False) -> float:
        """Words, and where the next ones may begin."""
        self._pen.write(x, y, words, TYPE, colour, bold=bold)
        return x + self._pen.width_of(words, TYPE, bold=bold) + 44


def _panels(chart: Chart) -> tuple[Panel, Panel]:
    line = chart.timeline
    known = finite([*line.p50_us, *line.p95_us, *line.p99_us])
    above = chart.curve.scale if chart.curve else duration_scale(known, chart.latency_threshold_us)
    rates = rate_scale(finite(line.per_minute), chart.throughput_threshold)
    upper = Panel(358, 736, chart.since_us, chart.until_us, above)
    lower = Panel(86, 252, chart.since_us, chart.until_us, rates)
    return upper, lower
