"""Waterfalls of slow interactions: the operations inside each, their start and duration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SpanRecord, TraceRecord

SEARCHED: Final = 50  # slowest traces that are searched for the service
SHOWN: Final = 5
DEEPEST: Final = 8  # levels of indentation


@dataclass(frozen=True, slots=True)
class Bar:
    """One operation inside an interaction; position and width are in thousandths of the interaction."""

    span: SpanRecord
    depth: int
    left: int
    width: int


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One interaction."""

    trace: TraceRecord
    bars: list[Bar]


async def waterfalls(store: Store, service: str, operation: str | None, since_us: int) -> list[Waterfall]:
    """Return the slowest interactions that involve the service or operation.

    Raises:
        StorageError: the store cannot be read.
    """
    own = await store.traces(service, operation, since_us, limit=SHOWN)
    involved = own or [
        trace
        for trace in await store.traces(None, None, since_us, limit=SEARCHED)
        if any(span.service == service and operation in {None, span.operation} for span in trace.spans)
    ]
    return [waterfall(trace) for trace in involved[:SHOWN]]


def waterfall(trace: TraceRecord) -> Waterfall:
    """Return the bars of a trace in the order of their start."""
    whole_us = max(trace.duration_us, *(span.start_us + span.duration_us for span in trace.spans), 1)
    depths = _depths(trace.spans)
    bars = [
        Bar(
            span,
            min(depths[span.id], DEEPEST),
            round(1000 * max(span.start_us, 0) / whole_us),
            max(round(1000 * span.duration_us / whole_us), 4),
        )
        for span in sorted(trace.spans, key=lambda span: (span.start_us, span.id))
    ]
    return Waterfall(trace, bars)


def _depths(spans: Iterable[SpanRecord]) -> dict[int, int]:
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
