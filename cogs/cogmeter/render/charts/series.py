"""Draws a chart's values: the band and the lines of latency or one curve, and the bars of operations below."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cogmeter.render import palette
from cogmeter.render.charts.layout import PERCENTILES, heights, runs, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.curve import Curve
    from cogmeter.render.charts.layout import Panel
    from cogmeter.render.charts.pen import Pen

_BAND = 0.3  # opacity
_EDGE = 4  # pixels
_LEAST = 4  # pixels of a bar that stands for something: one at a quarter of the size


def rows(chart: Chart, panel: Panel) -> list[list[float | None]]:
    """The pixels of each line in the upper panel, bin by bin."""
    line = chart.timeline
    drawn = (line.p50_us, line.p95_us, line.p99_us) if chart.curve is None else (chart.curve.values,)
    return [heights(panel, values) for values in drawn]


def upper(pen: Pen, chart: Chart, panel: Panel) -> None:
    """The p50-p95 band and a line for each percentile; or the curve, above a light ground."""
    xs = [(left + right) / 2 for left, right in spans(chart, panel)]
    drawn = rows(chart, panel)
    if chart.curve is None:
        styles = [(colour, width) for _, colour, width in PERCENTILES]
        band, colour = (drawn[0], drawn[1]), palette.P50
    else:
        colour = curve_colour(chart.curve)
        styles, band = [(colour, 6.0)], ([panel.bottom] * len(xs), drawn[0])
    for run in runs(*band):
        low, high = ([y or 0 for y in edge[run]] for edge in band)
        _band(pen, xs[run], low, high, colour)
    for ys, style in zip(drawn, styles, strict=True):
        for run in runs(ys):
            _curve(pen, xs[run], [y or 0 for y in ys[run]], *style)


def curve_colour(curve: Curve) -> str:
    """What fails is warm; a quantity that is neither good nor bad in itself is not."""
    return palette.FAILED if curve.unit == "share" else palette.P50


def _band(pen: Pen, xs: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> None:
    if len(xs) == 1:  # a lone bin has no width of its own: its band is a short bar
        pen.boxes([(xs[0] - 9, low[0], 18, high[0] - low[0])], colour, _BAND)
        return
    pen.area([*zip(xs, low, strict=True), *zip(reversed(xs), reversed(high), strict=True)], colour, _BAND)


def _curve(pen: Pen, xs: Sequence[float], ys: Sequence[float], colour: str, width: float) -> None:
    if len(xs) == 1:
        pen.dots(xs, ys, colour, 18)
    else:
        pen.line(xs, ys, colour, width)


def operations(pen: Pen, chart: Chart, panel: Panel) -> None:
    """Bars of operations a minute, and the failures among them in front, from the same ground."""
    line = chart.timeline
    pen.boxes(_bars(chart, panel, line.per_minute), palette.BARS)
    failed = _bars(chart, panel, line.failures_per_minute)
    # A dark edge above the failures: to some eyes their colour is no brighter than the bars'.
    pen.boxes([(left, bottom, width, height + _EDGE) for left, bottom, width, height in failed], palette.BACKGROUND)
    pen.boxes(failed, palette.FAILED)


def _bars(chart: Chart, panel: Panel, rates: Sequence[float]) -> list[tuple[float, float, float, float]]:
    return [
        _bar(panel, left, right, rate)
        for (left, right), rate in zip(spans(chart, panel), rates, strict=True)
        if math.isfinite(rate) and rate > 0
    ]


def _bar(panel: Panel, left: float, right: float, rate: float) -> tuple[float, float, float, float]:
    gap = min(3.0, (right - left) * 0.25) if right - left >= 4 else 0.0
    return (left + gap / 2, panel.bottom, max(right - left - gap, 1.0), max(panel.y(rate) - panel.bottom, _LEAST))
