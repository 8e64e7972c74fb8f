"""Draws the picture of the bot's resources: six small charts with a common time axis."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cogmeter.render import formatting, palette
from cogmeter.render.charts.chart import finite, zone_or_utc, zone_text
from cogmeter.render.charts.curve import UNITS
from cogmeter.render.charts.painter import (
    TimeFormatter,
    TimeLocator,
    chart_style,
    draw_png,
    no_warnings,
    set_scale,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cogmeter.render.charts.fonts import Fonts
    from cogmeter.render.charts.resources import Panel, PanelLine, ResourcesChart
    from cogmeter.render.charts.ticks import Scale

_SIZE: Final = (16, 12)  # inches of 100 pixels
_COLUMNS: Final = (0.11, 0.61)  # the left end of the axes
_WIDTH: Final = 0.35
_BOTTOMS: Final = (0.69, 0.385, 0.08)
_HEIGHT: Final = 0.165
_HEADING: Final = 0.945
_TITLE_PT: Final = 34.5
_COLOURS: Final = (palette.P50, palette.P99)
_BAND: Final = 0.25  # opacity
_MOST_TICKS: Final = 3.2  # of the time axis of a panel, about
_KEY_PT: Final = 12  # points from the axes up to their title


class ResourcesPainter:
    """Draws pictures of resources one after the other into one figure."""

    def __init__(self, fonts: Fonts) -> None:
        del fonts  # nothing on this picture is named by users but markers, whose names are left out
        self._style = chart_style()
        with mpl.rc_context(self._style):
            self._figure = Figure(figsize=_SIZE)
            FigureCanvasAgg(self._figure)
            self._title = self._figure.text(0.025, _HEADING, "Resources", size=_TITLE_PT, weight="bold")
            self._range = self._figure.text(0.97, _HEADING, "", color=palette.MUTED, ha="right")
            self._axes: list[Any] = [
                self._figure.add_axes((left, bottom, _WIDTH, _HEIGHT)) for bottom in _BOTTOMS for left in _COLUMNS
            ]
            self._clocks = [(TimeLocator(), TimeFormatter()) for _ in self._axes]
            for axes, (locator, formatter) in zip(self._axes, self._clocks, strict=True):
                axes.xaxis.set_major_locator(locator)
                axes.xaxis.set_major_formatter(formatter)
                for axis in (axes.xaxis, axes.yaxis):
                    axis.set_label_coords(0, 0)

    def draw(self, chart: ResourcesChart) -> bytes:
        """Return the resources as a PNG of 1600 x 1200 pixels."""
        with mpl.rc_context(self._style), no_warnings():
            self._range.set_text(f"{formatting.cut(formatting.clean(chart.range.label), 50)}, {zone_text(chart.zone)}")
            for number, axes in enumerate(self._axes):
                for artist in (*axes.lines, *axes.collections, *axes.texts):
                    artist.remove()
                axes.set_visible(number < len(chart.panels) or (number == 0 and not chart.panels))
            for axes, clock, panel in zip(self._axes, self._clocks, chart.panels, strict=False):
                for part in clock:
                    part.zone, part.most = zone_or_utc(chart.zone), _MOST_TICKS
                self._panel(axes, chart, panel)
            if not chart.panels:
                self._nothing(self._axes[0])
            return draw_png(self._figure)

    def _nothing(self, axes: Any) -> None:
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        axes.text(0, 0.5, "No samples in this period.", size=30, transform=axes.transAxes)

    def _panel(self, axes: Any, chart: ResourcesChart, panel: Panel) -> None:
        axes.xaxis.set_visible(True)
        axes.yaxis.set_visible(True)
        axes.set_xlim(chart.edges_us[0], chart.until_us)
        values = [value for line in panel.lines for value in finite([*line.values, *line.highest])]
        set_scale(axes, _few_ticks(UNITS[panel.unit].scale(values, None)))
        starts = np.array(chart.edges_us, dtype=float)
        middles = (starts + np.minimum(starts + chart.step_us, chart.until_us)) / 2
        for line, colour in zip(panel.lines, _COLOURS, strict=False):
            _line(axes, middles, line, colour)
        for at_us, _ in chart.markers:
            if chart.edges_us[0] <= at_us <= chart.until_us:
                axes.axvline(at_us, color=palette.TEXT, linestyle=":", linewidth=2, zorder=1)
        _write_title(axes, panel)


def _few_ticks(scale: Scale) -> Scale:
    """Return a scale with at most four ticks: the panel is low."""
    every = -(-len(scale.ticks) // 4)
    return dataclasses.replace(scale, ticks=scale.ticks[::every])


def _line(axes: Any, xs: NDArray[np.float64], line: PanelLine, colour: str) -> None:
    low, high = axes.get_ylim()
    values, lowest, highest = (
        np.clip(np.array(row, dtype=float), low, high) for row in (line.values, line.lowest, line.highest)
    )
    axes.fill_between(xs, lowest, highest, where=np.isfinite(lowest + highest), color=colour, alpha=_BAND, linewidth=0)
    axes.plot(xs, values, color=colour, linewidth=3.6, zorder=3, clip_on=False)
    known = np.pad(np.isfinite(values), 1)
    isolated = known[1:-1] & ~(known[:-2] | known[2:])
    if isolated.any():
        axes.plot(xs[isolated], values[isolated], "o", color=colour, zorder=3, clip_on=False)


def _write_title(axes: Any, panel: Panel) -> None:
    look: Any = {"textcoords": "offset points", "xytext": (0, _KEY_PT)}
    title = axes.annotate(panel.title, (0, 1), xycoords="axes fraction", weight="bold", **look)
    if len(panel.lines) < 2:
        axes.annotate(panel.latest, (1, 1), xycoords="axes fraction", color=palette.MUTED, ha="right", **look)
        return
    previous = title
    for line, colour in zip(panel.lines, _COLOURS, strict=False):
        following = {**look, "xytext": (22, _KEY_PT)}
        text = f"━━ {line.name}"
        previous = axes.annotate(text, (1, 1), xycoords=(previous, "axes fraction"), color=colour, **following)
