"""The rectangles of a chart's picture, and how a timeline's bins become pixels in them.

Sizes are pixels of a 1600 x 900 picture; type is at least 34 high, so that it can be read at a quarter of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cogmeter.render import palette

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cogmeter.render.charts.chart import Chart
    from cogmeter.render.charts.ticks import Scale

WIDTH, HEIGHT = 1600, 900
LEFT, RIGHT = 172, 1568  # of both panels
TYPE = 34
TITLE = 48
PERCENTILES = (("p50", palette.P50, 7.0), ("p95", palette.P95, 3.5), ("p99", palette.P99, 4.5))


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle of the picture in which time runs to the right and a scale upwards."""

    bottom: float
    top: float
    since_us: int
    until_us: int
    scale: Scale

    def x(self, at_us: float) -> float:
        """The pixel of a time, held inside the panel."""
        share = (at_us - self.since_us) / (self.until_us - self.since_us)
        return LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        """The pixel of a value, held inside the panel."""
        return self.bottom + self.scale.place(value) * (self.top - self.bottom)


def finite(values: Sequence[float | None]) -> list[float]:
    """The values that can be drawn."""
    return [value for value in values if value is not None and math.isfinite(value)]


def spans(chart: Chart, panel: Panel) -> list[tuple[float, float]]:
    """The left and the right pixel of each bin; the last one ends where the range does."""
    line = chart.timeline
    return [(panel.x(edge), panel.x(min(edge + line.step_us, chart.until_us))) for edge in line.edges_us]


def heights(panel: Panel, values: Sequence[float | None]) -> list[float | None]:
    """The pixel of each value, None where there is none."""
    return [panel.y(value) if value is not None and math.isfinite(value) else None for value in values]


def runs(*rows: Sequence[float | None]) -> Iterator[slice]:
    """The stretches of bins in which every row has a value."""
    start = 0
    known = [all(value is not None for value in bins) for bins in zip(*rows, strict=True)]
    for end, has_value in enumerate([*known, False]):
        if not has_value:
            if end > start:
                yield slice(start, end)
            start = end + 1
