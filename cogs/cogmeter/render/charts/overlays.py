"""Draws what an operator should see in a chart: thresholds, breaches and markers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogmeter.render import formatting, palette
from cogmeter.render.charts import series
from cogmeter.render.charts.chart import threshold_words
from cogmeter.render.charts.layout import LEFT, RIGHT, TYPE, spans

if TYPE_CHECKING:
    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.layout import Panel
    from cogmeter.render.charts.pen import Pen

_SHADE = 0.14  # opacity
_MARKERS = 12  # the latest ones
_MARKER_ROWS = 3
_ROW = 46  # pixels


def breaches(pen: Pen, chart: Chart, upper: Panel, lower: Panel) -> None:
    """Shades the time of each breach in both panels."""
    shades = []
    for since, until in chart.breaches:
        if until > chart.since_us and since < chart.until_us:
            left = min(upper.x(since), RIGHT - 8)
            shades.append((left, max(upper.x(until) - left, 8)))
    for panel in (upper, lower):
        boxes = [(left, panel.bottom, width, panel.top - panel.bottom) for left, width in shades]
        pen.boxes(boxes, palette.FAILED, _SHADE)
    # The shade alone is lost in greyscale and at small sizes.
    pen.boxes([(left, upper.top, width, 8) for left, width in shades], palette.FAILED)


def thresholds(pen: Pen, chart: Chart, upper: Panel, lower: Panel) -> None:
    """A dashed line for each threshold, with its value written on it."""
    limit = chart.latency_threshold_us if chart.curve is None else chart.curve.threshold
    if limit is not None:
        _threshold(pen, chart, upper, limit, threshold_words(chart))
    if chart.throughput_threshold is not None:
        _throughput_threshold(pen, chart, lower, chart.throughput_threshold)


def _throughput_threshold(pen: Pen, chart: Chart, panel: Panel, per_minute: float) -> None:
    """The line with its words above the panel: inside it they would hide the bars."""
    words = f"alert above {formatting.count(per_minute)}"
    left = RIGHT - pen.width_of(words, TYPE)
    pen.write(left, panel.top + 28, words, TYPE, palette.FAILED)
    if chart.empty or per_minute > panel.scale.high:
        pen.write(left - 40, panel.top + 28, "▲", TYPE, palette.FAILED)
        return
    for start, end, y in ((left - 68, left - 12, panel.top + 40), (LEFT, RIGHT, panel.y(per_minute))):
        pen.line([start, end], [y, y], palette.FAILED, 4, dash=(22, 12))


def _threshold(pen: Pen, chart: Chart, panel: Panel, value: float, words: str) -> None:
    if chart.empty or not panel.scale.low <= value <= panel.scale.high:
        # Too far from the data to be in view without pressing it flat: said, with the way to it.
        arrow = "▼" if value < panel.scale.low else "▲"
        pen.note(LEFT + 10, panel.top - 42, f"{arrow} {words}", TYPE, palette.FAILED)
        return
    y = panel.y(value)
    pen.line([LEFT, RIGHT], [y, y], palette.FAILED, 4, dash=(22, 12))
    width = pen.width_of(words, TYPE)
    places = [(left, y + offset) for offset in (14, -38) for left in (LEFT + 10, RIGHT - 10 - width)]
    inside = [place for place in places if panel.bottom <= place[1] <= panel.top - TYPE]
    x, baseline = min(inside, key=lambda place: _crowd(chart, panel, place, width))
    pen.note(x, baseline, words, TYPE, palette.FAILED)


def _crowd(chart: Chart, panel: Panel, place: tuple[float, float], width: float) -> int:
    """How many values words of this width, on this baseline, would hide."""
    left, baseline = place
    columns = [number for number, span in enumerate(spans(chart, panel)) if left <= sum(span) / 2 <= left + width]
    found = [ys[number] for ys in series.rows(chart, panel) for number in columns]
    return sum(y is not None and baseline - 10 <= y <= baseline + TYPE for y in found)


def markers(pen: Pen, chart: Chart, upper: Panel, lower: Panel) -> None:
    """A dotted line through both panels for each marker, with its name at the top where there is room."""
    shown = [one for one in sorted(chart.markers) if chart.since_us <= one[0] <= chart.until_us][-_MARKERS:]
    free_from = [float(LEFT)] * _MARKER_ROWS
    for number, (at_us, name) in enumerate(shown, start=1):
        x = upper.x(at_us)
        for panel in (upper, lower):
            pen.line([x, x], [panel.bottom, panel.top], palette.TEXT, 4, dash=(4, 8))
        words = pen.fonts.legible(formatting.clean(name), f"marker {number}")
        _marker_name(pen, upper, x, formatting.cut(words, 24), free_from)


def _marker_name(pen: Pen, panel: Panel, x: float, name: str, free_from: list[float]) -> None:
    """Writes a name left of its line, else right of it, in the first row that is free there."""
    width = pen.width_of(name, TYPE)
    for left in (x - 14 - width, x + 14):
        for row, taken_until in enumerate(free_from):
            if left >= taken_until and left + width <= RIGHT:
                pen.note(left, panel.top - 44 - row * _ROW, name, TYPE, palette.TEXT)
                free_from[row] = left + width + 24
                return
