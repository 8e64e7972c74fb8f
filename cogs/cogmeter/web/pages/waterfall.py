"""Waterfalls of slow runs, and where the time of a command goes: bars in thousandths of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.query.time_parts import TimePart, part_of
from cogmeter.render.charts.bar_chart import depths_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cogmeter.query.slow import SlowReport, SlowRun, TimeProfile
    from cogmeter_storage.model import SpanRecord

DEEPEST: Final = 8  # levels of indentation


@dataclass(frozen=True, slots=True)
class Bar:
    """One operation inside an interaction; position and width are in thousandths of the interaction."""

    span: SpanRecord
    part: TimePart
    depth: int
    left: int
    width: int


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One run."""

    run: SlowRun
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class StackedBar:
    """The time of a run by part; (part, left, width) in thousandths of the longest bar."""

    title: str
    whole_us: float
    pieces: list[tuple[TimePart, int, int]]


def waterfalls(report: SlowReport) -> list[Waterfall]:
    """Return the waterfalls of the runs that have a trace."""
    return [Waterfall(run, bars_of(run.trace.duration_us, run.spans)) for run in report.runs if run.traced]


def bars_of(duration_us: int, spans: Collection[SpanRecord]) -> list[Bar]:
    """Return the bars of a run in the order of their start; a span that outlasts the run ends inside the picture."""
    whole_us = max(duration_us, *(span.start_us + span.duration_us for span in spans), 1)
    depths = depths_of(spans)
    return [
        Bar(
            span,
            part_of(span.service),
            min(depths[span.id], DEEPEST),
            round(1000 * max(span.start_us, 0) / whole_us),
            max(round(1000 * span.duration_us / whole_us), 4),
        )
        for span in sorted(spans, key=lambda span: (span.start_us, span.id))
    ]


def profile_bars(profile: TimeProfile | None) -> list[StackedBar]:
    """Return the bars of a typical and of a slow run; none without traces."""
    if profile is None:
        return []
    longest_us = max(sum(profile.p50.values()), sum(profile.p95.values()), 1.0)
    return [
        _stacked("Typical traced run (p50)", profile.p50, longest_us),
        _stacked("Slow traced run (p95)", profile.p95, longest_us),
    ]


def _stacked(title: str, parts: Mapping[TimePart, float], longest_us: float) -> StackedBar:
    pieces: list[tuple[TimePart, int, int]] = []
    at_us = 0.0
    for part in TimePart:
        left, right = round(1000 * at_us / longest_us), round(1000 * (at_us + parts[part]) / longest_us)
        if right > left:
            pieces.append((part, left, right - left))
        at_us += parts[part]
    return StackedBar(title, at_us, pieces)
