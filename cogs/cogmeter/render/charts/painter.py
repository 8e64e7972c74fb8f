"""Draws whole charts: one matplotlib figure with two axes, which every picture uses again."""

from __future__ import annotations

import importlib.resources
import math
import warnings
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, Formatter, Locator, NullLocator

from cogmeter.render import formatting, palette
from cogmeter.render.charts import plots
from cogmeter.render.charts.chart import finite
from cogmeter.render.charts.fonts import Fonts
from cogmeter.render.charts.png import encode_png
from cogmeter.render.charts.ticks import rate_scale, time_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from numpy.typing import NDArray

    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.ticks import Scale, Tick

# Left, bottom, width and height as shares of the picture.
_UPPER: Final = (0.1075, 0.4, 0.855, 0.418)
_LOWER: Final = (0.1075, 0.0956, 0.855, 0.1845)
_HEADING: Final = 0.927  # the height of its baseline
_TITLE_PT: Final = 34.5
_RANGE_LETTERS: Final = 57  # of the range and its time zone


class Painter:
    """Draws charts one after the other.

    A new figure and a layout by matplotlib for each picture would take several times as long.
    """

    def __init__(self) -> None:
        self.fonts = Fonts()
        self._style = chart_style()
        with mpl.rc_context(self._style):
            self._figure = Figure()
            FigureCanvasAgg(self._figure)
            self._upper = self._figure.add_axes(_UPPER)
            self._lower = self._figure.add_axes(_LOWER, sharex=self._upper)
            for axis in (self._upper.xaxis, self._upper.yaxis, self._lower.xaxis, self._lower.yaxis):
                axis.set_label_coords(0, 0)  # no axis has a label, so that none must be placed beside the tick labels
            self._upper.spines.bottom.set_visible(False)
            self._upper.tick_params(labelbottom=False)
            self._times = TimeFormatter()
            self._locator = TimeLocator()
            self._lower.xaxis.set_major_locator(self._locator)
            self._lower.xaxis.set_major_formatter(self._times)
            self._title = self._figure.text(0.02, _HEADING, "", size=_TITLE_PT, weight="bold")
            self._range = self._figure.text(
                _UPPER[0] + _UPPER[2], _HEADING, "", color=palette.MUTED, horizontalalignment="right"
            )

    @property
    def missing_glyphs(self) -> frozenset[str]:
        """The characters of names that no font of the machine has: those names are replaced."""
        return frozenset(self.fonts.missing_glyphs)

    def draw(self, chart: Chart) -> bytes:
        """Return the chart as a PNG of 1600 x 900 pixels, or half of that."""
        with mpl.rc_context(self._style), no_warnings():
            self._remove_previous()
            names = self._set_axes(chart)
            self._write_heading(chart)
            self._write_keys(chart)
            if not chart.empty:
                plots.operations(self._lower, chart)
                (plots.curve if chart.curve else plots.latency)(self._upper, chart)
            plots.breaches(self._upper, self._lower, chart)
            plots.thresholds(self._upper, self._lower, chart, names)
            return draw_png(self._figure, small=chart.small)

    def _remove_previous(self) -> None:
        """Remove the previous picture's content; ``Axes.clear`` would build every tick and spine again."""
        for axes in (self._upper, self._lower):
            for artist in (*axes.lines, *axes.collections, *axes.patches, *axes.texts):
                artist.remove()

    def _set_axes(self, chart: Chart) -> plots.MarkerNames:
        """Set the scales, and return the names at the top of the upper axes."""
        self._locator.zone = self._times.zone = chart.times
        self._upper.set_xlim(chart.since_us, chart.until_us)
        names = plots.MarkerNames(self._upper, self._lower, chart, self.fonts)
        set_scale(self._upper, chart.scale.with_headroom(0.0 if chart.empty else names.share))
        set_scale(self._lower, rate_scale(finite(chart.timeline.per_minute), chart.throughput_threshold))
        for axes in (self._upper, self._lower):
            axes.yaxis.set_visible(not chart.empty)
        for label, tick in zip(self._lower.get_xticklabels(), self._times.ticks(), strict=False):
            label.set_color(palette.TEXT if tick.strong else palette.MUTED)
        return names

    def _write_heading(self, chart: Chart) -> None:
        zone, range_text = chart.zone_text, chart.range_text
        if len(range_text) + len(zone) > _RANGE_LETTERS:
            range_text = formatting.clean(chart.timeline.range.label)
        self._range.set_text(f"{formatting.cut(range_text, _RANGE_LETTERS - len(zone))}, {zone}")
        title = self.fonts.legible(formatting.clean(chart.timeline.title), chart.timeline.alias or "this service")
        self._title.set_fontfamily(self.fonts.families(title))
        available = self._range.get_window_extent().x0 - self._title.get_window_extent().x0 - 32
        title = formatting.cut(title, 200)
        self._title.set_text(title)
        while len(title) > 1 and (width := self._title.get_window_extent().width) > available:
            title = formatting.cut(title, min(len(title) - 1, math.floor(len(title) * available / width)))
            self._title.set_text(title)

    def _write_keys(self, chart: Chart) -> None:
        """Write above the axes what they show, each name in the colour of its line: no legend is needed."""
        if chart.empty:
            self._upper.text(
                *(0.5, 0.5, "No operations in this period."),
                size=30,
                transform=self._upper.transAxes,
                horizontalalignment="center",
            )
        if chart.curve:
            _write_key(self._upper, [(chart.curve.name, plots.curve_colour(chart), "bold")])
        else:
            lines = [(f"{plots.LINES[name].sample} {name}", plots.LINES[name].colour) for name in chart.response_times]
            missed = [(f"{plots.MISSED} missed", palette.FAILED)] if any(chart.missed) else []
            named = [(text, colour, "bold") for text, colour in (*lines, *missed)]
            _write_key(self._upper, [("response time", palette.MUTED, "normal"), *named])
        if self._upper.get_yscale() == "log":
            _write(self._upper, "log scale", (1, 1), "axes fraction", color=palette.MUTED, ha="right")
        _write_key(self._lower, [("operations/min", palette.MUTED, "normal"), ("■ failed", palette.FAILED, "bold")])


class TimeLocator(Locator):
    """Round times of a zone on an axis of microseconds since 1970."""

    zone: tzinfo = UTC
    most = 7.2  # ticks, about

    def __call__(self) -> list[float]:
        """Return the ticks of the visible range."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Return the ticks of this range."""
        return [tick.value for tick in time_ticks(round(vmin), round(vmax), self.most, zone=self.zone)]


class TimeFormatter(Formatter):
    """Times of day of a zone, with the date on one of them; or dates alone over several days."""

    zone: tzinfo = UTC
    most = 7.2  # as of the locator

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - matplotlib's signature
        """Return the label of one tick."""
        return next((tick.label for tick in self.ticks() if tick.value == x), "")

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of all ticks."""
        labels = {tick.value: tick.label for tick in self.ticks()}
        return [labels.get(value, "") for value in values]

    def ticks(self) -> list[Tick]:
        """Return the ticks of the visible range."""
        assert self.axis is not None
        since, until = self.axis.get_view_interval()
        return time_ticks(round(since), round(until), self.most, zone=self.zone)


def set_scale(axes: Axes, scale: Scale) -> None:
    """Set the limits, the ticks and the kind of the vertical axis."""
    kind = "log" if scale.logarithmic else "linear"
    if axes.get_yscale() != kind:
        axes.set_yscale(kind)
    axes.set_ylim(scale.low, scale.high)
    axes.yaxis.set_major_locator(FixedLocator([tick.value for tick in scale.ticks]))
    axes.yaxis.set_major_formatter(FixedFormatter([tick.label for tick in scale.ticks]))
    axes.yaxis.set_minor_locator(NullLocator())


def _write_key(axes: Axes, parts: Sequence[tuple[str, str, str]]) -> None:
    """Write texts of a colour and a weight above the axes, each to the right of the one before."""
    previous: Any = "axes fraction"
    place, gap = (0, 1), 0
    for text, colour, weight in parts:
        label = _write(axes, text, place, (previous, "axes fraction"), gap, color=colour, weight=weight)
        place, previous, gap = (1, 1), label, 32


def _write(
    axes: Axes, text: str, place: tuple[float, float], coordinates: Any, gap: float = 0, **more: Any
) -> Annotation:
    """Write a text above the axes, ``gap`` points to the right of a place."""
    offset = (gap, plots.KEY_PT)
    return axes.annotate(text, place, xycoords=coordinates, xytext=offset, textcoords="offset points", **more)


def one_axes(place: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    """Return a figure with one axes: left, bottom, width and height are shares of the picture. No axis has a label."""
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_axes(place)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_label_coords(0, 0)
    return figure, axes


def heading(figure: Figure, left: float, right: float) -> tuple[Text, Text]:
    """Return the empty title and the empty text of the range, at these edges of the picture (as shares)."""
    title = figure.text(left, _HEADING, "", size=_TITLE_PT, weight="bold")
    return title, figure.text(right, _HEADING, "", color=palette.MUTED, ha="right")


def draw_png(figure: Figure, *, small: bool = False) -> bytes:
    """Return a figure as PNG, ``small`` in half its size, and free its pixels: the process may be idle after it."""
    canvas: Any = figure.canvas  # its methods have no annotations
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    png = encode_png(_halved(pixels) if small else pixels)
    FigureCanvasAgg(figure)  # takes the place of the present one
    for text in figure.findobj(Text):
        text._renderer = None  # type: ignore[attr-defined]  # noqa: SLF001 - each text keeps the last one
    return png


def chart_style() -> Any:
    """Return the settings of matplotlib for all pictures."""
    file = importlib.resources.files("cogmeter.render.charts") / "cogmeter.mplstyle"
    with importlib.resources.as_file(file) as path:  # the package may be in a zip file
        return mpl.rc_params_from_file(path, use_default_template=False)


def no_warnings() -> warnings.catch_warnings[None]:
    """Ignore matplotlib's warnings, such as those of missing glyphs, which ``Fonts.legible`` has replaced already."""
    return warnings.catch_warnings(action="ignore")


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of half the width and height: each pixel is the mean of four."""
    wide = pixels.astype(np.uint16)
    mean = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]) // 4
    return mean.astype(np.uint8)
