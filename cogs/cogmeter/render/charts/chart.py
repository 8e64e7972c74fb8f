"""A chart: the request that goes to the worker process, and its description for screen readers."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from cogmeter.query.records import Range, Timeline
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, ACKNOWLEDGEMENT_LIMIT_US
from cogmeter.render import formatting
from cogmeter.render.charts.curve import Curve
from cogmeter.render.charts.ticks import duration_scale
from cogmeter.times import zone_of
from cogmeter_storage.model import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from _typeshed import DataclassInstance

    from cogmeter.render.charts.ticks import Scale

CHART_NAME = "chart.png"  # of the attachment in embeds
NO_CHART = "No chart:"
DESCRIPTION_LIMIT = 1024  # characters of an attachment's description
AVERAGE = "average"
STATISTICS = ("p50", "p95", "p99", AVERAGE)  # of the response time, in the order of the key
UTC = "UTC"
_LISTED = 3  # breaches and markers in the description


class ChartRequest(Protocol):
    """A request to the worker process: a ``Chart``, or another kind of picture (``worker.KINDS``)."""

    @property
    def zone(self) -> str:
        """The IANA time zone of all times that are written."""
        ...

    @property
    def alt_text(self) -> str:
        """The description for screen readers, at most DESCRIPTION_LIMIT characters."""
        ...

    def in_zone(self, zone: str) -> Self:
        """Return the request with another time zone."""
        ...

    def to_json(self) -> bytes:
        """Return the request as JSON; the member ``kind`` is a key of ``worker.KINDS``, without it a ``Chart``."""
        ...

    def fingerprint(self) -> tuple[object, ...]:
        """Return a key that is equal for requests with the same picture."""
        ...


@dataclass(frozen=True, slots=True)
class Chart:
    """Latency percentiles or one curve, operations per minute, thresholds, breaches and markers."""

    timeline: Timeline
    curve: Curve | None = None  # drawn instead of the latencies
    latency_threshold_us: float | None = None
    latency_statistic: str = ""  # the statistic that the threshold limits: average, p95
    throughput_threshold: float | None = None  # operations per minute
    breaches: tuple[tuple[int, int], ...] = ()  # (since_us, until_us), shaded
    markers: tuple[tuple[int, str], ...] = ()  # (at_us, name), such as a deploy
    zone: str = UTC  # the IANA time zone of all times that are written
    small: bool = False  # half the width and height

    @property
    def empty(self) -> bool:
        """True if no bin has an operation or a value of the curve."""
        line = self.timeline
        values = self.curve.values if self.curve else line.p50_us
        return not any(line.per_minute) and all(value is None for value in values)

    @property
    def times(self) -> tzinfo:
        """The time zone; UTC where this machine does not have it."""
        return zone_or_utc(self.zone)

    @property
    def alt_text(self) -> str:
        """Implement ChartRequest.alt_text."""
        return describe(self)

    def in_zone(self, zone: str) -> Chart:
        """Implement ChartRequest.in_zone."""
        return replace(self, zone=zone)

    @property
    def response_times(self) -> dict[str, list[float | None]]:
        """The lines of response times by statistic: the percentiles, and the average where a threshold limits it.

        A missed first response has no duration: it was recorded when the wait for it ended.
        """
        line = self.timeline
        averaged = self.judged == AVERAGE and line.mean_us
        names = [name for name in STATISTICS if name != AVERAGE or averaged]
        rows = {name: line.response_us(name) for name in names}
        if line.service == ACKNOWLEDGEMENT:
            rows = {name: [None if _is_missed(value) else value for value in row] for name, row in rows.items()}
        return rows

    @property
    def judged(self) -> str:
        """The statistic that the threshold of the response time limits; empty without that threshold."""
        return self.latency_statistic if self.curve is None and self.latency_threshold_us is not None else ""

    @property
    def upper_limit(self) -> float | None:
        """The threshold of the upper axes, in their unit."""
        return self.latency_threshold_us if self.curve is None else self.curve.threshold

    @property
    def scale(self) -> Scale:
        """The vertical scale of the upper axes."""
        if self.curve is not None:
            return self.curve.scale
        values = [value for row in self.response_times.values() for value in row]
        return duration_scale(finite(values), self.latency_threshold_us)

    @property
    def missed(self) -> list[bool]:
        """True for each bin in which first responses to interactions were missed."""
        line = self.timeline
        if line.service != ACKNOWLEDGEMENT or self.curve is not None:
            return [False] * len(line.edges_us)
        return [any(map(_is_missed, values)) for values in zip(line.p50_us, line.p95_us, line.p99_us, strict=True)]

    @property
    def since_us(self) -> int:
        """Where the picture begins: with the first bin.

        That is earlier than the range where only whole hours or days are stored, and later where nothing is.
        """
        return next(iter(self.timeline.edges_us), self.timeline.range.since_us)

    @property
    def until_us(self) -> int:
        """Where the picture ends."""
        return max(self.timeline.range.until_us, self.since_us + 1)

    @property
    def range_text(self) -> str:
        """The range in words, with the start of the data where that is later."""
        span = self.timeline.range
        if self.since_us <= span.since_us:
            return formatting.clean(span.label)
        long = self.until_us - self.since_us > DAY_US
        start = (formatting.day if long else formatting.clock_time)(self.since_us, zone=self.times)
        return f"{formatting.clean(span.label)}, data since {start}"

    @property
    def zone_text(self) -> str:
        """The time zone in words."""
        return zone_text(self.zone)

    def to_json(self) -> bytes:
        """Return the request as JSON for the worker process."""
        timeline = {**_shallow(self.timeline), "range": _shallow(self.timeline.range)}
        curve = asdict(self.curve) if self.curve else None
        return json.dumps({**_shallow(self), "timeline": timeline, "curve": curve}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Chart:
        """Return the chart of a request."""
        values = json.loads(data)
        timeline = values.pop("timeline")
        timeline["range"] = Range(**timeline["range"])
        curve_json = values.pop("curve")
        breaches = tuple((since_us, until_us) for since_us, until_us in values.pop("breaches"))
        markers = tuple((at_us, name) for at_us, name in values.pop("markers"))
        curve = Curve.from_json(curve_json) if curve_json else None
        return cls(Timeline(**timeline), curve, breaches=breaches, markers=markers, **values)

    def fingerprint(self) -> tuple[object, ...]:
        """Return a key that is equal for requests that differ only in the incomplete last bin."""
        line = self.timeline
        last = line.edges_us[-1] if line.edges_us else 0
        return (
            *(line.title, line.range.since_us, line.range.label, line.step_us, tuple(line.edges_us)),
            *(tuple(row[:-1]) for row in (line.per_minute, line.failures_per_minute)),
            *(tuple(row[:-1]) for row in (line.p50_us, line.p95_us, line.p99_us, line.mean_us)),
            *((self.curve.name, self.curve.threshold, self.curve.values[:-1]) if self.curve else ()),
            *(self.latency_threshold_us, self.latency_statistic, self.throughput_threshold),
            tuple((since_us, min(until_us, last)) for since_us, until_us in self.breaches),
            (tuple(self.markers), self.zone, self.small, line.service),
        )


def finite(values: Iterable[float | None]) -> list[float]:
    """Return the values that an axis can show."""
    return [value for value in values if value is not None and math.isfinite(value)]


def _is_missed(response_us: float | None) -> bool:
    """Return whether a first response took longer than Discord waits."""
    return response_us is not None and response_us >= ACKNOWLEDGEMENT_LIMIT_US


def _shallow(record: DataclassInstance) -> dict[str, Any]:
    """Return a record's fields by name; dataclasses.asdict would copy every number, which takes 5 ms."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def zone_or_utc(name: str) -> tzinfo:
    """Return a time zone; UTC where this machine does not have it."""
    try:
        return zone_of(name)
    except ValueError:
        return zone_of(UTC)


def zone_text(name: str) -> str:
    """Return a time zone in words."""
    return UTC if name.upper() == UTC else f"times in {zone_or_utc(name)}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart with its PNG, or with the reason why there is none."""

    chart: ChartRequest
    png: bytes = b""
    problem: str = ""

    @property
    def drawn(self) -> bool:
        """True if there is a PNG."""
        return bool(self.png)


def threshold_text(chart: Chart) -> str:
    """Return the label of the upper threshold, such as ``alert above 5 s (average)``; empty without one."""
    if chart.curve is not None:
        limit = chart.curve.threshold
        return "" if limit is None else f"alert above {chart.curve.format(limit)}"
    if chart.latency_threshold_us is None:
        return ""
    statistic = f" ({chart.latency_statistic})" if chart.latency_statistic else ""
    return f"alert above {formatting.duration(chart.latency_threshold_us)}{statistic}"


def describe(chart: Chart) -> str:
    """Return the chart's alt text, at most 1024 characters."""
    title = formatting.cut(formatting.clean(chart.timeline.title), 200) or "operations"
    head = f"Chart of {title}, {chart.range_text}, {chart.zone_text}."
    if chart.empty:
        return formatting.cut(f"{head} No operations in this period.", DESCRIPTION_LIMIT)
    upper = _latency_text(chart) if chart.curve is None else _curve_text(chart, chart.curve)
    parts = [head, upper, _volume_text(chart), *_notes(chart)]
    return formatting.cut(" ".join(part for part in parts if part), DESCRIPTION_LIMIT)


def _latency_text(chart: Chart) -> str:
    edges_us, rows, missed = chart.timeline.edges_us, chart.response_times, sum(chart.missed)
    typical = [value for value in rows["p50"] if value is not None]
    peak, at = _peak(rows["p99"], edges_us)
    lost = f" First responses were missed in {missed} of {len(edges_us)} intervals." if missed else ""
    if not typical or peak is None:
        return lost.strip()
    average = _peak(rows[AVERAGE], edges_us)[0] if AVERAGE in rows else None
    judged = "" if average is None else f"the average reaches {formatting.duration(average)}, "
    return (
        f"Response time: the median is between {formatting.duration(min(typical))}"
        f" and {formatting.duration(max(typical))}, "
        f"{judged}p95 reaches {formatting.duration(_peak(rows['p95'], edges_us)[0])}, "
        f"p99 reaches {formatting.duration(peak)} at {_at(chart, at)}.{lost}"
    )


def _curve_text(chart: Chart, curve: Curve) -> str:
    peak, at = _peak(curve.values, chart.timeline.edges_us)
    name = formatting.sentence(formatting.cut(formatting.clean(curve.name), 60))
    return "" if peak is None else f"{name}: up to {curve.format(peak)}, at {_at(chart, at)}."


def _volume_text(chart: Chart) -> str:
    line = chart.timeline
    busiest, at = _peak(line.per_minute, line.edges_us)
    failed, failed_at = _peak(line.failures_per_minute, line.edges_us)
    operations = f"At most {formatting.rate(busiest or 0)}, at {_at(chart, at)}; "
    if not failed:
        return f"{operations}no failures."
    return f"{operations}failures reach {formatting.rate(failed)} at {_at(chart, failed_at)}."


def _notes(chart: Chart) -> list[str]:
    limits = [text] if (text := threshold_text(chart)) else []
    if chart.throughput_threshold is not None:
        limits.append(f"alert above {formatting.rate(chart.throughput_threshold)}")
    breaches = [f"{_at(chart, since)} to {_at(chart, until)}" for since, until in chart.breaches[:_LISTED]]
    markers = [
        f"{formatting.cut(formatting.clean(name), 60)} at {_at(chart, at)}" for at, name in chart.markers[:_LISTED]
    ]
    lists = (("Thresholds", limits), ("Above the threshold", breaches), ("Markers", markers))
    return [f"{name}: {'; '.join(texts)}." for name, texts in lists if texts]


def _peak(values: Sequence[float | None], edges_us: Sequence[int]) -> tuple[float | None, int]:
    """Return the highest value and the start of its bin."""
    known = [(value, edge) for value, edge in zip(values, edges_us, strict=False) if value is not None]
    return max(known, key=lambda pair: pair[0], default=(None, 0))


def _at(chart: Chart, at_us: int) -> str:
    return formatting.clock_time(at_us, with_date=chart.until_us - chart.since_us > DAY_US, zone=chart.times)
