"""Draws the contents of a chart into matplotlib axes: values, thresholds, breaches and markers.

The horizontal axis counts microseconds since 1970. Limits and scales are set before: see ``painter``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.collections import PolyCollection

from cogmeter.render import formatting, palette
from cogmeter.render.charts.chart import threshold_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import BboxBase
    from numpy.typing import NDArray

    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.fonts import Fonts

# Name, colour, line width in points (0.72 is a pixel), line sample of the key.
PERCENTILES: Final = (
    ("p50", palette.P50, 5.04, "━━"),
    ("p95", palette.P95, 2.52, "──"),
    ("p99", palette.P99, 3.24, "━━"),
)
_THRESHOLD: Final[dict[str, Any]] = {"color": palette.FAILED, "linestyle": "--", "zorder": 4}
_BAND: Final = 0.3  # opacity
_SHADE: Final = 0.14  # opacity
_ISOLATED_BAND: Final = 13  # points: the width of a band that has one bin
_EDGE: Final = 4  # pixels
_SMALLEST: Final = 4  # pixels of a bar or a breach: one pixel where the picture is 400 pixels wide
KEY_PT: Final = 20  # points from the axes up to the baseline of their key
_MARKERS: Final = 12  # the latest ones
_MARKER_ROWS: Final = 3
_ROW: Final = 33  # points
_SAMPLE: Final = 8  # pixels


def latency(axes: Axes, chart: Chart) -> None:
    """Draw the band from p50 to p95, and a line for each percentile."""
    line = chart.timeline
    rows = [_inside(axes, values) for values in (line.p50_us, line.p95_us, line.p99_us)]
    for values, (_, colour, width, _) in zip(rows, PERCENTILES, strict=True):
        _line(axes, chart, values, colour, width)
    _area(axes, chart, rows[0], rows[1], palette.P50)


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
    """Draw a line with gaps, and a dot for each value between two gaps."""
    xs, isolated = _middles(chart), _isolated(values)
    axes.plot(xs, values, color=colour, linewidth=width, zorder=3, clip_on=False)
    if isolated.any():
        axes.plot(xs[isolated], values[isolated], "o", color=colour, zorder=3, clip_on=False)


def _area(axes: Axes, chart: Chart, low: NDArray[np.float64], high: NDArray[np.float64], colour: str) -> None:
    """Fill the area between two rows of values; where it is one bin wide, draw a short bar."""
    xs, isolated = _middles(chart), _isolated(low + high)
    axes.fill_between(xs, low, high, where=np.isfinite(low + high).tolist(), color=colour, alpha=_BAND, linewidth=0)
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
    axes.add_collection(
        PolyCollection(corners, facecolors=colour, linewidths=0, antialiaseds=False, snap=True), autolim=False
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


def markers(upper: Axes, lower: Axes, chart: Chart, fonts: Fonts, threshold_label: Annotation | None) -> None:
    """Draw a dotted line for each marker, with its name where it covers no other text and the least of the lines."""
    shown = [marker for marker in sorted(chart.markers) if chart.since_us <= marker[0] <= chart.until_us][-_MARKERS:]
    free_from = [float(upper.bbox.x0)] * _MARKER_ROWS
    taken = [threshold_label.get_window_extent()] if threshold_label else []
    points = _points(upper)
    for number, (at_us, name) in enumerate(shown, start=1):
        for axes in (upper, lower):
            axes.axvline(at_us, color=palette.TEXT, linestyle=":", zorder=4)
        text = formatting.cut(fonts.legible(formatting.clean(name), f"marker {number}"), 24)
        label = note(upper, text, (at_us, 1), ("data", "axes fraction"), palette.TEXT, fontfamily=fonts.families(text))
        if not _placed(upper, label, at_us, free_from, taken=taken, points=points):
            label.remove()


def _placed(
    axes: Axes,
    label: Annotation,
    at_us: float,
    free_from: list[float],
    *,
    taken: Sequence[BboxBase],
    points: NDArray[np.float64],
) -> bool:
    """Move a name to the left of its line, else to the right, into a row that is free; False if none is."""
    x, width = axes.transData.transform((at_us, 0))[0], label.get_window_extent().width
    for side, left in (("right", x - 14 - width), ("left", x + 14)):
        hidden = {}
        for row, taken_until in enumerate(free_from):
            if taken_until <= left <= axes.bbox.x1 - width:
                _move_to_row(label, side, row)
                box = label.get_window_extent()
                if not box.count_overlaps(taken):
                    hidden[row] = box.count_contains(points)
        if hidden:
            row = min(hidden, key=hidden.__getitem__)
            _move_to_row(label, side, row)
            free_from[row] = left + width + 24
            return True
    return False


def _move_to_row(label: Annotation, side: str, row: int) -> None:
    label.set(horizontalalignment=side, position=(-10 if side == "right" else 10, -8 - row * _ROW))


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


def thresholds(upper: Axes, lower: Axes, chart: Chart) -> Annotation | None:
    """Draw a dashed line for each threshold, and return the upper one's text."""
    if chart.throughput_threshold is not None:
        _throughput_threshold(lower, chart, chart.throughput_threshold)
    limit = chart.latency_threshold_us if chart.curve is None else chart.curve.threshold
    return None if limit is None else _threshold(upper, chart, limit)


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


def _threshold(axes: Axes, chart: Chart, value: float) -> Annotation:
    """Draw the line, with its text where that hides least: no breach if possible, then the least of other lines."""
    text, (low, high) = threshold_text(chart), axes.get_ylim()
    points, shaded = _points(axes), [patch.get_window_extent() for patch in axes.patches]
    if low <= value <= high and not chart.empty:
        axes.axhline(value, **_THRESHOLD)
        label = note(axes, text, (0, value), ("axes fraction", "data"), palette.FAILED)
        places = itertools.product((0, 1), ("bottom", "top"))
    else:  # the line would be far from the data: state the value, and the direction to it
        label = note(
            axes, f"{'▼' if value < low else '▲'} {text}", (0, 1), ("axes fraction", "axes fraction"), palette.FAILED
        )
        places = itertools.product((0, 1), ("top",))

    def cost(place: tuple[int, str]) -> tuple[bool, bool, int]:
        _move(label, *place)
        box = label.get_window_extent()
        outside = box.y0 < axes.bbox.y0 or box.y1 > axes.bbox.y1
        return outside, box.count_overlaps(shaded) > 0, box.count_contains(points)

    _move(label, *min(places, key=cost))
    return label


def _move(label: Annotation, side: int, vertical: str) -> None:
    """Move a text to the left (0) or right (1) end of the axes, with its bottom or top at its height."""
    label.xy = (side, label.xy[1])
    label.set(horizontalalignment=("left", "right")[side], verticalalignment=vertical)
    label.set_position(((7, -7)[side], 7 if vertical == "bottom" else -7))


def note(
    axes: Axes, text: str, place: tuple[float, float], coordinates: tuple[str, str], colour: str, **more: Any
) -> Annotation:
    """Write a text on a background that hides what it covers."""
    background = {"facecolor": palette.BACKGROUND, "alpha": 0.8, "linewidth": 0, "boxstyle": "square,pad=0.12"}
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
