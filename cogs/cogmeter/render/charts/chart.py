"""A chart request: what is drawn, how it travels to the worker process, and its words for screen readers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from cogmeter.query.records import Range, Timeline
from cogmeter.render import formatting
from cogmeter.render.charts.curve import Curve
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import DataclassInstance

CHART_NAME = "chart.png"  # of the attachment that embeds show
NO_CHART = "There is no chart this time:"
DESCRIPTION_LIMIT = 1024  # characters of an attachment's description
_SAID = 3  # breaches and markers that the description names


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: latency percentiles, or one curve, over operations a minute, and what an operator should see."""

    timeline: Timeline
    curve: Curve | None = None  # drawn instead of the latencies
    latency_threshold_us: float | None = None
    latency_statistic: str = ""  # what the threshold is compared with: average, p95
    throughput_threshold: float | None = None  # operations a minute
    breaches: tuple[tuple[int, int], ...] = ()  # (since_us, until_us), shaded
    markers: tuple[tuple[int, str], ...] = ()  # (at_us, name), a deploy for one

    @property
    def empty(self) -> bool:
        """Whether no bin has an operation, or a value of the curve."""
        line = self.timeline
        values = self.curve.values if self.curve else line.p50_us
        return not any(line.per_minute) and all(value is None for value in values)

    @property
    def since_us(self) -> int:
        """Where the picture begins: the range, or earlier when only whole hours or days are kept of that time."""
        return min([self.timeline.range.since_us, *self.timeline.edges_us[:1]])

    @property
    def until_us(self) -> int:
        """Where the picture ends."""
        return max(self.timeline.range.until_us, self.since_us + 1)

    def to_json(self) -> bytes:
        """The request as it goes through the pipe."""
        timeline = {**_shallow(self.timeline), "range": _shallow(self.timeline.range)}
        curve = asdict(self.curve) if self.curve else None
        return json.dumps({**_shallow(self), "timeline": timeline, "curve": curve}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Chart:
        """The request as it came out of the pipe."""
        values: dict[str, Any] = json.loads(data)
        timeline = values.pop("timeline")
        timeline["range"] = Range(**timeline["range"])
        curve = Curve.from_json(found) if (found := values.pop("curve")) else None
        breaches = tuple((since, until) for since, until in values.pop("breaches"))
        markers = tuple((at, name) for at, name in values.pop("markers"))
        return cls(Timeline(**timeline), curve, breaches=breaches, markers=markers, **values)

    def fingerprint(self) -> tuple[object, ...]:
        """Equal, and hashed equally, for requests that differ only in the bin that is still filling."""
        line = self.timeline
        last = line.edges_us[-1] if line.edges_us else 0
        return (
            *(line.title, line.range.since_us, line.range.label, line.step_us, tuple(line.edges_us)),
            *(tuple(row[:-1]) for row in (line.per_minute, line.failures_per_minute)),
            *(tuple(row[:-1]) for row in (line.p50_us, line.p95_us, line.p99_us)),
            *((self.curve.name, self.curve.threshold, self.curve.values[:-1]) if self.curve else ()),
            *(self.latency_threshold_us, self.latency_statistic, self.throughput_threshold),
            tuple((since, min(until, last)) for since, until in self.breaches),
            tuple(self.markers),
        )


def _shallow(record: DataclassInstance) -> dict[str, Any]:
    """A record's fields by name; dataclasses.asdict would copy every number, which is 5 ms of the bot's loop."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart and what became of it: the PNG, or why there is none."""

    chart: Chart
    png: bytes = b""
    trouble: str = ""

    @property
    def drawn(self) -> bool:
        """Whether there is a PNG."""
        return bool(self.png)


def threshold_words(chart: Chart) -> str:
    """What the dashed line in the upper panel means, ``alert above 5 s (average)``; empty without one."""
    if chart.curve is not None:
        limit = chart.curve.threshold
        return "" if limit is None else f"alert above {chart.curve.said(limit)}"
    if chart.latency_threshold_us is None:
        return ""
    statistic = f" ({chart.latency_statistic})" if chart.latency_statistic else ""
    return f"alert above {formatting.duration(chart.latency_threshold_us)}{statistic}"


def describe(chart: Chart) -> str:
    """What the chart shows, for people who do not see it: at most 1024 characters."""
    line = chart.timeline
    head = (
        f"Chart of {formatting.cut(formatting.clean(line.title), 200) or 'operations'},"
        f" {formatting.clean(line.range.label)}, UTC."
    )
    if chart.empty:
        return formatting.cut(f"{head} No operations in this time.", DESCRIPTION_LIMIT)
    upper = _latency_words(chart) if chart.curve is None else _curve_words(chart, chart.curve)
    parts = [head, upper, _volume_words(chart), *_notes(chart)]
    return formatting.cut(" ".join(part for part in parts if part), DESCRIPTION_LIMIT)


def _latency_words(chart: Chart) -> str:
    line = chart.timeline
    typical = [value for value in line.p50_us if value is not None]
    peak, at = _peak(line.p99_us, line.edges_us)
    if not typical or peak is None:
        return ""
    return (
        f"Response time: the median lies between {formatting.duration(min(typical))}"
        f" and {formatting.duration(max(typical))}, "
        f"p95 reaches {formatting.duration(_peak(line.p95_us, line.edges_us)[0])}, "
        f"p99 reaches {formatting.duration(peak)} at {_at(chart, at)}."
    )


def _curve_words(chart: Chart, curve: Curve) -> str:
    peak, at = _peak(curve.values, chart.timeline.edges_us)
    name = formatting.cut(formatting.clean(curve.name), 60).capitalize()
    return "" if peak is None else f"{name}: up to {curve.said(peak)}, at {_at(chart, at)}."


def _volume_words(chart: Chart) -> str:
    line = chart.timeline
    busiest, at = _peak(line.per_minute, line.edges_us)
    failed, failed_at = _peak(line.failures_per_minute, line.edges_us)
    words = f"At most {formatting.rate(busiest or 0)}, at {_at(chart, at)}; "
    if not failed:
        return f"{words}none failed."
    return f"{words}failures reach {formatting.rate(failed)} at {_at(chart, failed_at)}."


def _notes(chart: Chart) -> list[str]:
    limits = [words] if (words := threshold_words(chart)) else []
    if chart.throughput_threshold is not None:
        limits.append(f"alert above {formatting.rate(chart.throughput_threshold)}")
    breaches = [f"{_at(chart, since)} to {_at(chart, until)}" for since, until in chart.breaches[:_SAID]]
    markers = [
        f"{formatting.cut(formatting.clean(name), 60)} at {_at(chart, at)}" for at, name in chart.markers[:_SAID]
    ]
    lists = (("Limits", limits), ("Above the threshold", breaches), ("Marked", markers))
    return [f"{name}: {'; '.join(words)}." for name, words in lists if words]


def _peak(values: Sequence[float | None], edges_us: Sequence[int]) -> tuple[float | None, int]:
    """The highest value and the start of its bin."""
    known = [(value, edge) for value, edge in zip(values, edges_us, strict=False) if value is not None]
    return max(known, key=lambda pair: pair[0], default=(None, 0))


def _at(chart: Chart, at_us: int) -> str:
    return formatting.clock_time(at_us, with_date=chart.until_us - chart.since_us > DAY_US)
