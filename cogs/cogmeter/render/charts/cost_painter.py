"""Draws charts of costs: one matplotlib figure with one axes, which every picture uses again."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.collections import PolyCollection
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from cogmeter.render import formatting, palette
from cogmeter.render.charts.painter import chart_style, draw_png, heading, no_warnings, one_axes
from cogmeter.render.charts.ticks import money_scale, time_ticks

if TYPE_CHECKING:
    from cogmeter.render.charts.cost_chart import CostChart
    from cogmeter.render.charts.fonts import Fonts

# Apart for colour-blind readers and in greyscale, as in the dashboard.
COLOURS: Final = (palette.P50, palette.P99, "#4cb387", palette.P95)
OTHERS: Final = palette.BARS
_EDGE: Final = 0.02  # where titles and keys begin
_RIGHT, _BOTTOM, _TOP = 0.975, 0.085, 0.76  # of the axes, as shares of the picture
_RANGE_LETTERS: Final = 40
_KEY: Final = (0.862, 0.055, 0.025)  # the height of the first line, of a line, and the gap between two texts
_KEY_PT: Final = 23.0
_KEY_LETTERS: Final = 26
_BESIDE_PX: Final = 26  # between the labels of the axis and the axes
_BAR: Final = 0.82  # width of a bar as a share of its step
_SMALLEST_PX: Final = 4
_NOTE_LETTERS: Final = 60


class CostPainter:
    """Draws charts of costs one after the other."""

    def __init__(self, fonts: Fonts) -> None:
        self._fonts = fonts
        self._style = chart_style()
        with mpl.rc_context(self._style):
            self._figure, self._axes = one_axes((0.15, _BOTTOM, _RIGHT - 0.15, _TOP - _BOTTOM))
            for axis in (self._axes.xaxis, self._axes.yaxis):
                axis.set_minor_locator(NullLocator())
            self._axes.grid(visible=False, axis="x")
            self._title, self._range = heading(self._figure, _EDGE, _RIGHT)
            self._kept = set(self._figure.texts)

    def draw(self, chart: CostChart) -> bytes:
        """Return the chart as a PNG of 1600 x 900 pixels."""
        with mpl.rc_context(self._style), no_warnings():
            axes = self._axes
            for artist in (*axes.collections, *axes.texts, *self._figure.texts):
                if artist not in self._kept:
                    artist.remove()
            self._write_heading(chart)
            self._write_key(chart)
            self._set_axes(chart)
            if chart.note:
                text = "\n".join(textwrap.wrap(chart.note, _NOTE_LETTERS)[:5])
                axes.text(0.5, 0.5, text, size=26, transform=axes.transAxes, ha="center", va="center")
            else:
                self._draw_bars(chart)
            return draw_png(self._figure)

    def _write_heading(self, chart: CostChart) -> None:
        self._range.set_text(formatting.cut(chart.range_text, _RANGE_LETTERS))
        width = self._range.get_window_extent().x0 - self._title.get_window_extent().x0 - 32
        title = self._fonts.legible(chart.title, "Cost")
        self._title.set_text(title)
        while len(title) > 1 and self._title.get_window_extent().width > width:
            title = formatting.cut(title, len(title) - 1)
            self._title.set_text(title)

    def _write_key(self, chart: CostChart) -> None:
        """Write the groups in the colours of their bars; a text that does not fit begins the next line."""
        (height, line, gap), left = _KEY, _EDGE
        for number, layer in enumerate(chart.layers):
            name = self._fonts.legible(formatting.cut(layer.name, _KEY_LETTERS), "(a name)")
            label = self._figure.text(left, height, f"■ {name}", color=_colour(number), weight="bold", size=_KEY_PT)
            label.set_fontfamily(self._fonts.families(name))
            width = label.get_window_extent().width / self._figure.bbox.width
            if left > _EDGE and left + width > _RIGHT:
                left, height = _EDGE, height - line
                label.set_position((left, height))
            left += width + gap

    def _set_axes(self, chart: CostChart) -> None:
        axes = self._axes
        axes.set_xlim(chart.since_us, chart.until_us)
        times = time_ticks(chart.since_us, chart.until_us - 1)
        scale = money_scale([*_totals(chart).values()])
        shown = not chart.note
        axes.set_ylim(scale.low, scale.high)
        for axis, ticks in ((axes.xaxis, times), (axes.yaxis, scale.ticks if shown else ())):
            axis.set_major_locator(FixedLocator([tick.value for tick in ticks]))
            axis.set_major_formatter(FixedFormatter([tick.label for tick in ticks]))
        # As far to the right as the widest amount needs, such as "$1,000,000".
        labels = axes.get_yticklabels()
        width = max((label.get_window_extent().width for label in labels), default=0.0)
        left = _EDGE + (width + _BESIDE_PX) / self._figure.bbox.width
        axes.set_position((left, _BOTTOM, _RIGHT - left, _TOP - _BOTTOM))

    def _draw_bars(self, chart: CostChart) -> None:
        axes = self._axes
        least = _SMALLEST_PX * axes.viewLim.height / axes.bbox.height
        margin = (1 - _BAR) / 2 * chart.step_us
        heights: dict[int, float] = {}
        for number, layer in enumerate(chart.layers):
            corners = []
            for at_us, amount in layer.amounts:
                bottom = heights.get(at_us, 0.0)
                top = heights[at_us] = bottom + amount
                if not bottom and amount:
                    top = max(top, least)
                left, right = at_us + margin, at_us + chart.step_us - margin
                corners.append([(left, bottom), (left, top), (right, top), (right, bottom)])
            if corners:
                bars = PolyCollection(corners, facecolors=_colour(number), linewidths=0, zorder=3)
                axes.add_collection(bars, autolim=False)


def _colour(number: int) -> str:
    return COLOURS[number] if number < len(COLOURS) else OTHERS


def _totals(chart: CostChart) -> dict[int, int]:
    totals: dict[int, int] = {}
    for layer in chart.layers:
        for at_us, amount in layer.amounts:
            totals[at_us] = totals.get(at_us, 0) + amount
    return totals
