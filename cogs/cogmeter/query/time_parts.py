"""Divides the time of a traced run among its parts: own code, Discord REST, hosts, database, waits, a blocked loop.

Every moment of the run counts once. While the event loop is blocked, nothing else counts. Where calls of several kinds
run at the same time, each kind gets an equal share. What no call covers is own code: it includes waits that nothing
measures, such as a user who is expected to press a button.
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cogmeter.recording.service_names import (
    ACKNOWLEDGEMENT,
    DATABASE,
    RATE_LIMITS,
    REST,
    STALLS,
    is_dependency,
    label,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from cogmeter_storage.model import SpanRecord, TraceRecord

# The routes whose first successful request is the first thing that a user sees.
_OUTPUTS: Final = ("POST /interactions/", "POST /channels/{channel_id}/messages", "POST /channels/{channel_id}/typing")


class TimePart(enum.Enum):
    """A part of a run's time: its key in JSON, and its name. The order is that of pictures and lists."""

    OWN = ("own_code", "own code")
    REST = ("rest", "Discord REST")
    HOST = ("hosts", "other hosts")
    DATABASE = ("database", "database")
    RATE_LIMIT = ("rate_limit", "rate-limit wait")
    BLOCKED = ("blocked", "loop blocked")

    def __init__(self, key: str, title: str) -> None:
        self.key = key
        self.title = title


@dataclass(frozen=True, slots=True)
class TimeShare:
    """How the time of one run is divided, in microseconds."""

    parts: Mapping[TimePart, float]  # all parts; their sum is the duration
    unnamed_us: float  # of own code: no recorded step covers it
    shared_us: float = 0.0  # calls of several kinds ran, or the loop was blocked during one

    @property
    def whole_us(self) -> float:
        """The duration of the run."""
        return sum(self.parts.values())


def part_of(service: str) -> TimePart:
    """Return the part that a span of this service belongs to."""
    if service in {REST, ACKNOWLEDGEMENT}:
        return TimePart.REST
    if service == RATE_LIMITS:
        return TimePart.RATE_LIMIT
    if service == STALLS:
        return TimePart.BLOCKED
    if service.startswith(DATABASE):
        return TimePart.DATABASE
    return TimePart.HOST if is_dependency(service) else TimePart.OWN


def time_share(duration_us: int, spans: Collection[SpanRecord]) -> TimeShare:
    """Return how a run of this duration is divided among the parts of its spans; what lies outside of it is cut off."""
    parts: dict[TimePart, float] = dict.fromkeys(TimePart, 0.0)
    running: Counter[TimePart] = Counter()
    unnamed_us, shared_us, at_us = 0.0, 0.0, 0
    for until_us, part, step in (*_borders(duration_us, spans), (duration_us, TimePart.OWN, 0)):
        length_us = until_us - at_us
        if length_us:
            calls: list[TimePart] = [one for one in TimePart if one is not TimePart.OWN and running[one]]
            if len(calls) > 1:
                shared_us += length_us
            if TimePart.BLOCKED in calls:
                calls = [TimePart.BLOCKED]
            for one in calls or (TimePart.OWN,):
                parts[one] += length_us / max(len(calls), 1)
            if not calls and not running[TimePart.OWN]:
                unnamed_us += length_us
        at_us = until_us
        running[part] += step
    return TimeShare(parts, unnamed_us, shared_us)


def covered_us(duration_us: int, spans: Collection[SpanRecord]) -> float:
    """Return the time in which at least one of these spans ran; spans that overlap count once."""
    covered, open_spans, since_us = 0, 0, 0
    for at_us, _, step in _borders(duration_us, spans):
        if not open_spans:
            since_us = at_us
        open_spans += step
        if not open_spans:
            covered += at_us - since_us
    return covered


def slowest_step(duration_us: int, spans: Collection[SpanRecord], part: TimePart) -> tuple[str, int] | None:
    """Return the operation with most of a part of a run, and its share of that part in microseconds.

    The innermost spans that run at once share the time equally, as the parts do in ``time_share``. Spans of one
    operation are added up. Return None if no span belongs to the part.
    """
    times: defaultdict[tuple[str, str], float] = defaultdict(float)
    borders = sorted({0, duration_us, *(at_us for at_us, _, _ in _borders(duration_us, spans))})
    for since_us, until_us in pairwise(borders):
        running = [one for one in spans if one.start_us <= since_us and one.start_us + one.duration_us >= until_us]
        calls = {part_of(one.service) for one in running} - {TimePart.OWN} or {TimePart.OWN}
        calls = {TimePart.BLOCKED} if TimePart.BLOCKED in calls else calls
        outer = {one.parent for one in running if part_of(one.service) is part}
        found = [one for one in running if part_of(one.service) is part and one.id not in outer]
        for one in found if part in calls else ():
            times[one.service, one.operation] += (until_us - since_us) / len(calls) / len(found)
    names = max(times, key=lambda one: times[one], default=None)
    return None if names is None else (label(*names), round(times[names]))


def first_response(trace: TraceRecord) -> SpanRecord | None:
    """Return the span of the first response to an interaction, sent or refused; None if none is known."""
    answers = [span for span in trace.spans if span.service == ACKNOWLEDGEMENT] or [
        span for span in trace.spans if span.service == REST and span.operation.startswith(_OUTPUTS[0])
    ]
    return min(answers, key=lambda span: span.start_us, default=None)


def first_output_us(trace: TraceRecord) -> int | None:
    """Return when the user saw something for the first time, from the start of the run; None if that is not known."""
    ends = [
        span.start_us + span.duration_us
        for span in trace.spans
        if not span.outcome.failed
        and (span.service == ACKNOWLEDGEMENT or (span.service == REST and span.operation.startswith(_OUTPUTS)))
    ]
    return max(min(ends), 0) if ends else None


def _borders(duration_us: int, spans: Collection[SpanRecord]) -> Iterator[tuple[int, TimePart, int]]:
    """Yield the time, the part and the step (1: start, -1: end) of each start and end inside the run, in order."""
    borders: list[tuple[int, int, TimePart]] = []
    for span in spans:
        start_us = min(max(span.start_us, 0), duration_us)
        end_us = min(max(span.start_us + span.duration_us, start_us), duration_us)
        if end_us > start_us:
            part = part_of(span.service)
            borders += ((start_us, 1, part), (end_us, -1, part))
    borders.sort(key=lambda border: (border[0], -border[1]))  # a start first: what follows at once is one stretch
    yield from ((at_us, part, step) for at_us, step, part in borders)
