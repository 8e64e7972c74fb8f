"""Draws the contents of a chart into matplotlib axes: values, thresholds, breaches and markers.

The horizontal axis counts microseconds since 1970. Limits and scales are set before: see ``painter``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba_array

from cogmeter.render import formatting, palette
from cogmeter.render.charts.chart import AVERAGE, threshold_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import BboxBase
    from numpy.typing import NDArray

    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.fonts import Fonts


class LineStyle(NamedTuple):
    """The look of a statistic's line, and its sample in the key."""

    colour: str
    width: float  # in points; 0.72 is a pixel
    sample: str


LINES: Final[dict[str, LineStyle]] = {
    "p50": LineStyle(palette.P50, 5.04, "━━"),
    "p95": LineStyle(palette.P95, 2.52, "──"),
    "p99": LineStyle(palette.P99, 3.24, "━━"),
    AVERAGE: LineStyle(palette.MEAN, 4.32, "━━"),
}
MISSED: Final = "✕"
_THRESHOLD: Final[dict[str, Any]] = {"color": palette.FAILED, "linestyle": "--", "zorder": 4}
_UNFINISHED: Final = (0, (1.6, 1.1))  # the line to a bin that is still filling
_MISSED_AT: Final = 0.5  # share of the height
_MISSED_SIZE: Final = 16  # points
_BAND: Final = 0.3  # opacity
_FAINT: Final = 0.5  # opacity
_SHADE: Final = 0.14  # opacity
_ISOLATED_BAND: Final = 13  # points: the width of a band that has one bin
_EDGE: Final = 4  # pixels
_SMALLEST: Final = 4  # pixels of a bar or a breach: one pixel where the picture is 400 pixels wide
KEY_PT: Final = 20  # points from the axes up to the baseline of their key
_MARKERS: Final = 12  # the latest ones
_MARKER_ROWS: Final = 3
_MARKER_LETTERS: Final = 24
_APART: Final = 14  # pixels between markers with names of their own
_GAP: Final = 24  # pixels between names
_FIRST_ROW: Final = 8  # points
_ROW: Final = 29  # points
_POINT: Final = 0.72  # points of a pixel
_BESIDE: Final = {"right": -10, "left": 10}  # points from a marker's line to its name
_BESIDE_LINE: Final = {"right": -7, "center": 0, "left": 7}  # points from the end of a threshold to its text
_ALONG: Final = (0, 1, 0.25, 0.5, 0.75)  # the places of a threshold's text
_SAMPLE: Final = 8  # pixels


def latency(axes: Axes, chart: Chart) -> None:
    """Draw the band from p50 to p95, a line for each statistic, and a mark where first responses were missed."""
    rows = {name: _inside(axes, values) for name, values in chart.response_times.items()}
    for name, values in rows.items():
        _line(axes, chart, values, LINES[name].colour, LINES[name].width)
    _area(axes, chart, rows["p50"], rows["p95"], palette.P50)
    missed = _middles(chart)[np.array(chart.missed, dtype=bool)]
    if missed.size:
        # In the middle of the axes: the texts of markers and thresholds are at its top.
        axes.plot(
            missed,
            np.full_like(missed, _MISSED_AT),
            "X",
            color=palette.FAILED,
            markersize=_MISSED_SIZE,
            transform=axes.get_xaxis_transform(),
            zorder=4,
            clip_on=False,
        )


def curve(axes: Axes, chart: Chart) -> None:
    """Draw the chart's curve above a light area."""
    assert chart.curve is not None
    values, colour = _inside(axes, chart.curve.values), curve_colour(chart)
    _area(axes, chart, np.full_like(values, axes.get_ylim()[0]), values, colour)
    _line(axes, chart, values, colour, 4.32)


def curve_colour(chart: Chart) -> str:
    """Return the warm colour for shares of failures, the neutral one for quantities that are neither good nor bad."""
    return palette.FAILED if chart.curve and chart.curve.unit == "share" else palette.P50


def _inside(axes: Axes, values: Sequence[float | None]) -> NDArray[np.float64]:
    """Return the values clipped to the axis; NaN for missing values."""
    array = np.array(values, dtype=float)
    return np.where(np.isfinite(array), np.clip(array, *axes.get_ylim()), np.nan)


def _middles(chart: Chart) -> NDArray[np.float64]:
    starts, ends = _spans(chart)
    return (starts + ends) / 2


def _spans(chart: Chart) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the start and the end of each bin; the last one ends where the picture does."""
    starts = np.array(chart.timeline.edges_us, dtype=float)
    return starts, np.minimum(starts + chart.timeline.step_us, chart.until_us)


def _isolated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a value has a gap on either side, so that a line does not show it."""
    known: NDArray[np.bool_] = np.pad(np.isfinite(values), 1)
    return known[1:-1] & ~(known[:-2] | known[2:])


def _line(axes: Axes, chart: Chart, values: NDArray[np.float64], colour: str, width: float) -> None:
    """Draw a line with gaps, dashed to a last bin that is still filling, and a dot for each value between two gaps."""
    xs, isolated, whole = _middles(chart), _isolated(values), _whole(chart)
    look: dict[str, Any] = {"color": colour, "zorder": 3, "clip_on": False}
    axes.plot(xs[:whole], values[:whole], linewidth=width, **look)
    if whole < len(values):
        axes.plot(xs[-2:], values[-2:], linewidth=width, linestyle=_UNFINISHED, **look)
    if isolated.any():
        axes.plot(xs[isolated], values[isolated], "o", **look)


def _whole(chart: Chart) -> int:
    """Return how many bins are complete; the only bin counts as complete."""
    bins = len(chart.timeline.edges_us)
    return bins - 1 if chart.timeline.partial and bins > 1 else bins


def _area(axes: Axes, chart: Chart, low: NDArray[np.float64], high: NDArray[np.float64], colour: str) -> None:
    """Fill the area between two rows of values; where it is one bin wide, draw a short bar."""
    xs, isolated = _middles(chart), _isolated(low + high)
    filled = np.isfinite(low + high) & (np.arange(len(xs)) < _whole(chart))
    axes.fill_between(xs, low, high, where=filled.tolist(), color=colour, alpha=_BAND, linewidth=0)
    if isolated.any():
        axes.vlines(xs[isolated], low[isolated], high[isolated], colors=colour, alpha=_BAND, linewidth=_ISOLATED_BAND)


def operations(axes: Axes, chart: Chart) -> None:
    """Draw bars of operations per minute, and the failures among them in front."""
    _bars(axes, chart, chart.timeline.per_minute, palette.BARS)
    # A dark edge above the failures: to some eyes their colour is no brighter than the bars'.
    _bars(axes, chart, chart.timeline.failures_per_minute, palette.BACKGROUND, more=_EDGE)
    _bars(axes, chart, chart.timeline.failures_per_minute, palette.FAILED)


def _bars(axes: Axes, chart: Chart, rates: Sequence[float], colour: str, *, more: float = 0) -> None:
    """Draw bars on whole pixels, ``more`` pixels higher; one collection, because ``bar()`` makes a patch for each."""
    values = np.asarray(rates, dtype=float)
    starts, ends = _spans(chart)
    shown = np.isfinite(values) & (values > 0)
    per_pixel_us, per_pixel = _pixel(axes)
    widths = ends - starts
    gaps = np.where(widths >= 4 * per_pixel_us, np.minimum(3 * per_pixel_us, widths / 4), 0)
    left, right = (starts + gaps / 2)[shown], (ends - gaps / 2)[shown]
    high = np.maximum(np.minimum(values[shown], axes.get_ylim()[1]), _SMALLEST * per_pixel) + more * per_pixel
    low = np.zeros_like(high)
    corners: Any = np.stack([left, low, left, high, right, high, right, low], axis=1).reshape(-1, 4, 2)
    # The bar of a bin that is still filling is fainter.
    opacity = np.where(np.arange(len(values)) < _whole(chart), 1.0, _FAINT)[shown]
    colours = to_rgba_array([colour] * len(opacity), opacity)
    axes.add_collection(
        PolyCollection(corners, facecolors=colours, linewidths=0, antialiaseds=False, snap=True), autolim=False
    )


def _pixel(axes: Axes) -> tuple[float, float]:
    """Return how much of both (linear) axes one pixel is."""
    (since, until), (low, high), box = axes.get_xlim(), axes.get_ylim(), axes.bbox
    return (until - since) / box.width, (high - low) / box.height


def breaches(upper: Axes, lower: Axes, chart: Chart) -> None:
    """Shade the time of each breach in both axes, with a strip at the top."""
    smallest_us = 2 * _SMALLEST * _pixel(upper)[0]
    for since_us, until_us in chart.breaches:
        if until_us <= chart.since_us or since_us >= chart.until_us:
            continue
        left = min(max(since_us, chart.since_us), chart.until_us - smallest_us)
        right = max(min(until_us, chart.until_us), left + smallest_us)
        for axes in (upper, lower):
            axes.axvspan(left, right, color=palette.FAILED, alpha=_SHADE, linewidth=0, zorder=0.6)
        # The shade alone is lost in greyscale and at small sizes.
        upper.axvspan(left, right, 1, 1.02, color=palette.FAILED, linewidth=0, clip_on=False)


class MarkerNames:
    """The texts at the top of the upper axes, in rows that values stay below: of markers, of a threshold out of view.

    They are placed before the axes have a scale, because that leaves room for their rows.
    """

    def __init__(self, upper: Axes, lower: Axes, chart: Chart, fonts: Fonts) -> None:
        """Write the names of ``chart`` into ``upper``, and draw the lines of its markers into both axes."""
        self._axes = upper
        self._rows: list[list[BboxBase]] = [[] for _ in range(_MARKER_ROWS)]
        text = _out_of_view(chart)
        if text:
            place = note(upper, text, (0, 1), ("axes fraction", "axes fraction"), palette.FAILED)
            self._place(place, [("left", float(upper.bbox.x0))])
        for number, (at_us, names) in enumerate(_marker_groups(upper, chart), start=1):
            for axes in (upper, lower):
                axes.axvline(at_us, color=palette.TEXT, linestyle=":", zorder=4)
            others = f" +{len(names) - 1}" if len(names) > 1 else ""
            legible = fonts.legible(formatting.clean(names[0]), f"marker {number}")
            text = formatting.cut(legible, _MARKER_LETTERS - len(others)) + others
            families = fonts.families(text)
            label = note(upper, text, (at_us, 1), ("data", "axes fraction"), palette.TEXT, fontfamily=families)
            x, width = float(upper.transData.transform((at_us, 0))[0]), label.get_window_extent().width
            if not self._place(label, [("right", x - 14 - width), ("left", x + 14)]):
                label.remove()

    @property
    def boxes(self) -> list[BboxBase]:
        """Where the texts are, in pixels."""
        return [box for boxes in self._rows for box in boxes]

    @property
    def share(self) -> float:
        """The share of the axes' height that the rows take."""
        rows = max((number for number, boxes in enumerate(self._rows, start=1) if boxes), default=0)
        return (_ROW * rows + _FIRST_ROW) / _POINT / self._axes.bbox.height if rows else 0.0

    def _place(self, label: Annotation, sides: Sequence[tuple[str, float]]) -> bool:
        """Move a text into the first row with room at one of the sides; False if there is none."""
        width = label.get_window_extent().width
        for row, boxes in enumerate(self._rows):
            for side, left in sides:
                right = left + width
                inside = self._axes.bbox.x0 <= left <= self._axes.bbox.x1 - width
                if inside and all(right + _GAP <= box.x0 or box.x1 + _GAP <= left for box in boxes):
                    label.set(horizontalalignment=side, position=(_BESIDE[side], -_FIRST_ROW - row * _ROW))
                    boxes.append(label.get_window_extent())
                    return True
        return False


def _marker_groups(axes: Axes, chart: Chart) -> list[tuple[int, list[str]]]:
    """Return the latest moments with markers, and their names; markers of almost the same place are one moment."""
    groups: list[tuple[int, list[str]]] = []
    apart_us = _APART * _pixel(axes)[0]
    for at_us, name in sorted(chart.markers):
        if not chart.since_us <= at_us <= chart.until_us:
            continue
        if groups and at_us - groups[-1][0] < apart_us:
            groups[-1][1].append(name)
        else:
            groups.append((at_us, [name]))
    return groups[-_MARKERS:]


def _out_of_view(chart: Chart) -> str:
    """Return the text of an upper threshold whose line would be far from the values, with the direction to it."""
    limit, scale = chart.upper_limit, chart.scale
    if limit is None or (scale.low <= limit <= scale.high and not chart.empty):
        return ""
    return f"{'▼' if limit < scale.low else '▲'} {threshold_text(chart)}"


def _points(axes: Axes) -> NDArray[np.float64]:
    """Return points of all lines of the axes, in pixels, so close that a text which covers a line covers some."""
    points = [np.empty((0, 2))]
    for line in axes.lines:
        corners = line.get_transform().transform(line.get_xydata())
        points.append(corners)
        if line.get_linestyle() != "None":  # dots are not connected
            # A threshold's line counts for less: it is straight, so what a text hides of it is no loss.
            xs = np.arange(axes.bbox.x0, axes.bbox.x1, 4 * _SAMPLE if line.is_dashed() else _SAMPLE)
            ys = np.interp(xs, corners[:, 0], corners[:, 1], left=np.nan, right=np.nan)
            points.append(np.column_stack([xs, ys]))
    return np.concatenate(points)


def thresholds(upper: Axes, lower: Axes, chart: Chart, names: MarkerNames) -> None:
    """Draw a dashed line for each threshold in view, with its text apart from the names."""
    if chart.throughput_threshold is not None:
        _throughput_threshold(lower, chart, chart.throughput_threshold)
    if chart.upper_limit is not None and not _out_of_view(chart):
        _threshold(upper, chart, chart.upper_limit, names.boxes)


def _throughput_threshold(axes: Axes, chart: Chart, per_minute: float) -> None:
    """Draw the line, with its text above the axes: inside, it would hide the bars."""
    in_view = not chart.empty and per_minute <= axes.get_ylim()[1]
    text = f"{'─ ─' if in_view else '▲'} alert above {formatting.count(per_minute)}"
    axes.annotate(
        text,
        (1, 1),
        xycoords="axes fraction",
        xytext=(0, KEY_PT),
        textcoords="offset points",
        color=palette.FAILED,
        horizontalalignment="right",
    )
    if in_view:
        axes.axhline(per_minute, **_THRESHOLD)


def _threshold(axes: Axes, chart: Chart, value: float, taken: Sequence[BboxBase]) -> None:
    """Draw the line, with its text where that hides least: no other text, no breach, then the least of other lines."""
    points = _points(axes)
    shaded = [patch.get_window_extent() for patch in axes.patches]
    axes.axhline(value, **_THRESHOLD)
    label = note(axes, threshold_text(chart), (0, value), ("axes fraction", "data"), palette.FAILED)

    def cost(place: tuple[float, str]) -> tuple[int, bool, bool, int]:
        _move(label, *place)
        box = label.get_window_extent()
        outside = box.y0 < axes.bbox.y0 or box.y1 > axes.bbox.y1
        return box.count_overlaps(taken), outside, box.count_overlaps(shaded) > 0, box.count_contains(points)

    _move(label, *min(itertools.product(_ALONG, ("bottom", "top")), key=cost))


def _move(label: Annotation, along: float, vertical: str) -> None:
    """Move a text along its line, 0 to 1, with its bottom or top at the height of the line."""
    label.xy = (along, label.xy[1])
    side = "left" if along == 0 else "right" if along == 1 else "center"
    label.set(horizontalalignment=side, verticalalignment=vertical)
    label.set_position((_BESIDE_LINE[side], 7 if vertical == "bottom" else -7))


def note(
    axes: Axes, text: str, place: tuple[float, float], coordinates: tuple[str, str], colour: str, **more: Any
) -> Annotation:
    """Write a text on a background that hides what it covers."""
    background = {"facecolor": palette.BACKGROUND, "alpha": 0.88, "linewidth": 0, "boxstyle": "square,pad=0.12"}
    return axes.annotate(
        text,
        place,
        xycoords=coordinates,
        xytext=(0, 0),
        textcoords="offset points",
        color=colour,
        verticalalignment="top",
        bbox=background,
        zorder=5,
        **more,
    )
