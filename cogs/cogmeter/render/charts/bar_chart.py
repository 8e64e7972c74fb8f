"""Charts of horizontal bars: the waterfall of one run, and where the time of a command goes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cogmeter.query.time_parts import TimePart, part_of
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, RATE_LIMITS, REST, STALLS
from cogmeter.render import formatting
from cogmeter.render.charts.chart import DESCRIPTION_LIMIT, UTC, zone_or_utc, zone_text
from cogmeter.render.palette import PARTS
from cogmeter.render.slow_text import NO_TRACED_RUNS, part_lines

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
    from cogmeter.schemas.operations import SpanAnswer
    from cogmeter_storage.model import SpanRecord

MOST_ROWS: Final = 11
KIND: Final = "bars"  # of the request to the worker process
DEEPEST: Final = 4  # levels of indentation
NAME: Final = 60  # characters of a row's name that are sent; fewer are drawn
NOTHING_INSIDE: Final = "Nothing inside it was recorded: its own code is not broken down."
_INDENT: Final = "\N{NO-BREAK SPACE}" * 2
_PLACEHOLDER: Final = re.compile(r"\{\w+\}")
_PREFIXES: Final = {STALLS: "blocked: ", RATE_LIMITS: "wait: ", ACKNOWLEDGEMENT: "first response: ", REST: ""}


@dataclass(frozen=True, slots=True)
class Segment:
    """One coloured part of a bar; times in microseconds from the start of the axis."""

    start_us: float
    length_us: float
    colour: str
    text: str = ""  # written inside where it fits


@dataclass(frozen=True, slots=True)
class BarRow:
    """One line of the chart."""

    name: str
    segments: tuple[Segment, ...]
    value: str  # written next to the bar; a stacked bar has none
    failed: bool = False


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars on a common axis of time, from zero to ``whole_us``."""

    title: str
    range_text: str
    rows: tuple[BarRow, ...]
    whole_us: float
    key: tuple[tuple[str, str], ...] = ()  # texts and their colours
    mark_us: float | None = None  # a dotted line: the first output
    note: str = ""  # below the rows, or instead of them
    zone: str = UTC  # of the times in its texts

    @property
    def alt_text(self) -> str:
        """Implement ChartRequest.alt_text."""
        rows = "; ".join(f"{row.name.strip()} {row.value}".strip() for row in self.rows)
        key = ", ".join(text for text, _ in self.key)
        mark = "" if self.mark_us is None else f" First output after {formatting.duration(self.mark_us)}."
        parts = f"Chart of {self.title}, {self.range_text}. {key}.{mark} {rows}. {self.note}"
        return formatting.cut(formatting.clean(parts), DESCRIPTION_LIMIT)

    def in_zone(self, zone: str) -> BarChart:
        """Implement ChartRequest.in_zone; the texts of a waterfall are in its zone already."""
        return replace(self, zone=zone)

    def to_json(self) -> bytes:
        """Return the request as JSON for the worker process."""
        return json.dumps({"kind": KIND, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> BarChart:
        """Return the chart of a request."""
        values: dict[str, Any] = json.loads(data)
        rows = tuple(
            BarRow(**{**row, "segments": tuple(Segment(**segment) for segment in row["segments"])})
            for row in values["rows"]
        )
        key = tuple((text, colour) for text, colour in values["key"])
        rest = {name: value for name, value in values.items() if name not in {"kind", "rows", "key"}}
        return cls(rows=rows, key=key, **rest)

    def fingerprint(self) -> tuple[object, ...]:
        """Return a key that is equal for equal requests."""
        return (KIND, self)


def waterfall_chart(run: SlowRun, zone: str) -> BarChart:
    """Return the waterfall of a run: its time by part, then each part when it ran."""
    trace, whole_us = run.trace, max(run.trace.duration_us, 1)
    spans, left_out = _listed(run.spans)
    left_out += trace.left_out
    depths = depths_of(run.spans)
    rows = [_stacked("whole run", run.time.parts)]
    rows += [_span_row(span, min(depths[span.id], DEEPEST), whole_us) for span in spans]
    more = f"and {formatting.counted(left_out, 'more part')}" if left_out else ""
    return BarChart(
        title=f"{run.label}: {formatting.duration(trace.duration_us)}",
        range_text=f"{formatting.clock_time(trace.at_us, with_date=True, zone=zone_or_utc(zone))}, {zone_text(zone)}",
        rows=tuple(rows),
        whole_us=whole_us,
        key=_key(run.time.parts),
        mark_us=run.first_output_us if run.first_output_us is not None and run.first_output_us <= whole_us else None,
        note=more if spans else NOTHING_INSIDE,
    )


def profile_chart(report: SlowReport) -> BarChart:
    """Return where the time of a command goes: a typical and a slow run, each by part."""
    profile, label = report.profile, formatting.clean(report.range.label)
    title = f"Where the time goes: {report.label}"
    if profile is None:
        return BarChart(title, label, (), 1.0, note=NO_TRACED_RUNS)
    rows = (_stacked("typical (p50)", profile.p50), _stacked("slow (p95)", profile.p95))
    runs = f"{formatting.counted(profile.traced, 'traced run')} of {formatting.exact(profile.runs)}"
    whole_us = max(*(sum(parts.values()) for parts in (profile.p50, profile.p95)), 1.0)
    return BarChart(title, f"{label}, {runs}", rows, whole_us, key=_shares(profile))


def depths_of(spans: Collection[SpanRecord | SpanAnswer]) -> dict[int, int]:
    """Return the depth of each span by its id; 0 if its parent is not stored."""
    parents = {span.id: span.parent for span in spans}
    depths: dict[int, int] = {}
    for span_id in parents:
        seen: set[int] = set()
        current = span_id
        while parents.get(current, 0) in parents and current not in seen:
            seen.add(current)
            current = parents[current]
        depths[span_id] = len(seen)
    return depths


def _listed(spans: Sequence[SpanRecord]) -> tuple[list[SpanRecord], int]:
    """Return the longest spans in the order of their start, and how many are left out."""
    kept = sorted(spans, key=lambda span: -span.duration_us)[: MOST_ROWS - 1]
    return sorted(kept, key=lambda span: (span.start_us, span.id)), len(spans) - len(kept)


def _span_row(span: SpanRecord, depth: int, whole_us: int) -> BarRow:
    name = f"{_PREFIXES.get(span.service, f'{span.service} ')}{_short(span)}"
    start_us = min(max(span.start_us, 0), whole_us)
    end_us = min(max(span.start_us + span.duration_us, start_us), whole_us)
    return BarRow(
        name=_INDENT * depth + formatting.cut(formatting.clean(name), NAME),
        segments=(Segment(start_us, end_us - start_us, PARTS[part_of(span.service)]),),
        value=formatting.duration(span.duration_us) + (" failed" if span.outcome.failed else ""),
        failed=span.outcome.failed,
    )


def _short(span: SpanRecord) -> str:
    """Return the name of a span without what a picture has no room for: folders, and the names of ids in routes."""
    if span.service == STALLS:
        return span.operation.rpartition("/")[2]
    return _PLACEHOLDER.sub("*", span.operation) if span.service in {REST, RATE_LIMITS} else span.operation


def _stacked(name: str, parts: Mapping[TimePart, float]) -> BarRow:
    segments: list[Segment] = []
    at_us, whole_us = 0.0, sum(parts.values())
    for part in TimePart:
        if parts[part] > 0:
            text = formatting.percent(round(parts[part] / whole_us, 2))
            segments.append(Segment(at_us, parts[part], PARTS[part], text))
            at_us += parts[part]
    return BarRow(f"{name}: {formatting.duration(whole_us)}", tuple(segments), "")


def _key(parts: Mapping[TimePart, float]) -> tuple[tuple[str, str], ...]:
    return tuple((f"■ {part.title} {formatting.duration(parts[part])}", PARTS[part]) for part, _ in part_lines(parts))


def _shares(profile: TimeProfile) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"■ {part.title} {formatting.percent(round(profile.share(part), 2))}", PARTS[part])
        for part, _ in part_lines(profile.total)
    )
