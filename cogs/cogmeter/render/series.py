"""Draws a timeline's values: the band and the lines of latency, the bars of operations with their failures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cogmeter.render import palette
from cogmeter.render.layout import PERCENTILES, heights, runs, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter.render.chart import Chart
    from cogmeter.render.layout import Panel
    from cogmeter.render.pen import Pen

_BAND = 0.3  # opacity
_EDGE = 4  # pixels
_LEAST = 4  # pixels of a bar that stands for something: one at a quarter of the size


def latencies(pen: Pen, chart: Chart, panel: Panel) -> None:
    """The p50-p95 band, and a line for each percentile."""
    line = chart.timeline
    xs = [(left + right) / 2 for left, right in spans(chart, panel)]
    rows = [heights(panel, values) for values in (line.p50_us, line.p95_us, line.p99_us)]
    for run in runs(rows[0], rows[1]):
        _band(pen, xs[run], [y or 0 for y in rows[0][run]], [y or 0 for y in rows[1][run]])
    for ys, (_, colour, width) in zip(rows, PERCENTILES, strict=True):
        for run in runs(ys):
            _curve(pen, xs[run], [y or 0 for y in ys[run]], colour, width)


def _band(pen: Pen, xs: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
    if len(xs) == 1:  # a lone bin has no width of its own: its band is a short bar
        pen.boxes([(xs[0] - 9, low[0], 18, high[0] - low[0])], palette.P50, _BAND)
        return
    pen.area([*zip(xs, low, strict=True), *zip(reversed(xs), reversed(high), strict=True)], palette.P50, _BAND)


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
