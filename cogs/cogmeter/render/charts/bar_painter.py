"""Draws charts of horizontal bars: one matplotlib figure with one axes, which every picture uses again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.collections import PolyCollection
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from cogmeter.render import formatting, palette
from cogmeter.render.charts.painter import chart_style, draw_png, heading, no_warnings, one_axes
from cogmeter.render.charts.ticks import duration_scale

if TYPE_CHECKING:
    from matplotlib.text import Annotation, Text

    from cogmeter.render.charts.bar_chart import BarChart, BarRow
    from cogmeter.render.charts.fonts import Fonts

_LEFT, _RIGHT, _BOTTOM, _TOP = 0.36, 0.95, 0.09, 0.745  # of the axes, as shares of the picture
_EDGE: Final = 0.02  # where the names begin
_RANGE_LETTERS: Final = 50
_KEY: Final = (0.862, 0.052, 0.022)  # the height of the first line, of a line, and the gap between two texts
_TALLEST: Final = 0.18  # of a row, as a share of the axes
_LEAST_US: Final = 10.0  # a shorter axis has no ticks
_BAR: Final = 0.62  # height of a bar as a share of its row
_SMALLEST_PX: Final = 4  # one pixel where the picture is 400 pixels wide
_BESIDE: Final = 0.012  # between a name and the axes, as a share of the picture
_POINT: Final = 0.72  # points of a pixel
_GAP_PX: Final = 12  # between a bar and its value
_ROW_PT: Final = 23.0  # the largest font size of a row
_INSIDE_PX: Final = 70  # a narrower segment has no text


class BarPainter:
    """Draws bar charts one after the other."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts
        self._style = chart_style()
        with mpl.rc_context(self._style):
            self._figure, self._axes = one_axes((_LEFT, _BOTTOM, _RIGHT - _LEFT, _TOP - _BOTTOM))
            self._axes.spines.bottom.set_visible(False)
            self._axes.grid(visible=False, axis="y")
            self._axes.yaxis.set_major_locator(NullLocator())
            self._axes.set_ylim(1, 0)
            self._title, self._range = heading(self._figure, _EDGE, 1 - _EDGE)
            self._kept = set(self._figure.texts)

    def draw(self, chart: BarChart) -> bytes:
        """Return the chart as a PNG of 1600 x 900 pixels."""
        with mpl.rc_context(self._style), no_warnings():
            self._remove_previous()
            self._write_heading(chart)
            self._write_key(chart)
            self._set_axis(chart)
            self._draw_rows(chart)
            return draw_png(self._figure)

    def _remove_previous(self) -> None:
        axes = self._axes
        for artist in (*axes.collections, *axes.lines, *axes.texts, *self._figure.texts):
            if artist not in self._kept:
                artist.remove()

    def _write_heading(self, chart: BarChart) -> None:
        self._range.set_text(formatting.cut(formatting.clean(chart.range_text), _RANGE_LETTERS))
        width = self._range.get_window_extent().x0 - self._title.get_window_extent().x0 - 32
        self._write_within(self._title, formatting.cut(formatting.clean(chart.title), 200), width)

    def _write_key(self, chart: BarChart) -> None:
        """Write the parts with their colours; a text that does not fit begins the next line."""
        (height, line, gap), left = _KEY, _EDGE
        for text, colour in chart.key:
            label = self._figure.text(left, height, text, color=colour, weight="bold", size=_ROW_PT)
            width = label.get_window_extent().width / self._figure.bbox.width
            if left > _EDGE and left + width > 1 - _EDGE:
                left, height = _EDGE, height - line
                label.set_position((left, height))
            left += width + gap

    def _set_axis(self, chart: BarChart) -> None:
        axes, empty = self._axes, not chart.rows
        axes.set_xlim(0, chart.whole_us)
        scale = duration_scale([chart.whole_us])
        shown = not empty and chart.whole_us >= _LEAST_US
        ticks = [tick for tick in scale.ticks if shown and tick.value <= chart.whole_us]
        axes.xaxis.set_major_locator(FixedLocator([tick.value for tick in ticks]))
        axes.xaxis.set_major_formatter(FixedFormatter([tick.label for tick in ticks]))
        if empty:
            axes.text(0.5, 0.5, chart.note, size=30, transform=self._figure.transFigure, ha="center")

    def _draw_rows(self, chart: BarChart) -> None:
        """Draw the rows from the top; the note is below them."""
        if not chart.rows:
            return
        height = min(1 / (len(chart.rows) + bool(chart.note)), _TALLEST)
        size = min(_ROW_PT, height * self._axes.bbox.height * _BAR * _POINT)
        for number, row in enumerate(chart.rows):
            self._draw_row(row, (number + 0.5) * height, height, size)
        bottom = len(chart.rows) * height
        if chart.note:
            self._name(chart.note, bottom + height / 2, size, palette.MUTED, _RIGHT)
        if chart.mark_us is not None:
            self._mark(chart.mark_us, bottom, size)

    def _draw_row(self, row: BarRow, middle: float, height: float, size: float) -> None:
        axes, half = self._axes, _BAR * height / 2
        pixel_us = axes.viewLim.width / axes.bbox.width
        corners = []
        for segment in row.segments:
            length = max(segment.length_us, _SMALLEST_PX * pixel_us)
            left = min(segment.start_us, axes.viewLim.x1 - length)
            right, top, bottom = left + length, middle - half, middle + half
            corners.append([(left, bottom), (left, top), (right, top), (right, bottom)])
            if segment.text and length >= _INSIDE_PX * pixel_us:
                self._write(segment.text, left + length / 2, middle, size, ha="center", color=palette.BACKGROUND)
        if corners:
            colours = [segment.colour for segment in row.segments]
            axes.add_collection(PolyCollection(corners, facecolors=colours, linewidths=0, zorder=3), autolim=False)
        colour = palette.FAILED if row.failed else palette.TEXT
        if row.value:
            self._value(row, middle, size, colour)
        self._name(row.name, middle, size, colour, _LEFT - _BESIDE)

    def _write(self, text: str, at_us: float, middle: float, size: float, **more: Any) -> Annotation:
        """Write a text into the axes, above the bars."""
        more = {"va": "center_baseline", "zorder": 5, "xytext": (0, 0), **more}
        return self._axes.annotate(text, (at_us, middle), textcoords="offset points", size=size, **more)

    def _value(self, row: BarRow, middle: float, size: float, colour: str) -> None:
        """Write the value to the right of the bar, else to its left, else inside."""
        axes = self._axes
        left = min(one.start_us for one in row.segments)
        right = max(one.start_us + one.length_us for one in row.segments)
        label = self._write(row.value, right, middle, size, color=colour, xytext=(_GAP_PX * _POINT, 0))
        width = label.get_window_extent().width + 2 * _GAP_PX
        scale = axes.bbox.width / axes.viewLim.width
        if right * scale + width <= axes.bbox.width:
            return
        label.set(horizontalalignment="right", position=(-_GAP_PX * _POINT, 0))
        if left * scale >= width:
            label.xy = (left, middle)
        else:
            label.set_color(palette.BACKGROUND)

    def _name(self, text: str, middle: float, size: float, colour: str, right: float) -> None:
        """Write a name at the left edge, cut to end before ``right``."""
        axes, figure = self._axes, self._figure
        height = axes.get_position().y0 + (1 - middle) * axes.get_position().height
        label = figure.text(_EDGE, height, "", color=colour, size=size, va="center_baseline")
        self._write_within(label, text, (right - _EDGE) * figure.bbox.width)

    def _mark(self, at_us: float, bottom: float, size: float) -> None:
        """Draw the line of the first output, with its text above the axes."""
        self._axes.plot([at_us, at_us], [0, bottom], color=palette.TEXT, linestyle=":", zorder=4)
        side = "left" if at_us < self._axes.viewLim.width / 2 else "right"
        text = f"first output {formatting.duration(at_us)}"
        self._write(text, at_us, 0, size, color=palette.TEXT, xytext=(0, 6), ha=side, va="bottom")

    def _write_within(self, label: Text, text: str, width: float) -> None:
        """Write a text with fonts that have its characters, cut to a width in pixels."""
        indent = text[: len(text) - len(text.lstrip())]
        text = indent + self._fonts.legible(text.strip(), "(a name)")
        label.set_fontfamily(self._fonts.families(text))
        label.set_text(text)
        while len(text) > 1 and (present := label.get_window_extent().width) > width:
            text = formatting.cut(text, min(len(text) - 1, int(len(text) * width / present)))
            label.set_text(text)
