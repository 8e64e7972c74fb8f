"""Slow interactions as waterfalls: what ran inside each, when, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cogmeter_storage.base import Store
    from cogmeter_storage.model import SpanRecord, TraceRecord

LOOKED_AT: Final = 50  # the slowest traces, of which those are shown that the service has a part in
SHOWN: Final = 5
DEEPEST: Final = 8  # levels that are set in


@dataclass(frozen=True, slots=True)
class Bar:
    """One operation inside: its place in thousandths of the whole."""

    span: SpanRecord
    depth: int
    left: int
    wide: int


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One interaction."""

    trace: TraceRecord
    bars: list[Bar]


async def waterfalls(store: Store, service: str, operation: str | None, since_us: int) -> list[Waterfall]:
    """The slowest interactions that the service, or one operation of it, was or had a part in.

    Raises:
        StorageError: the store cannot be read now.
    """
    own = await store.traces(service, operation, since_us, limit=SHOWN)
    found = own or [
        one
        for one in await store.traces(None, None, since_us, limit=LOOKED_AT)
        if any(span.service == service and operation in {None, span.operation} for span in one.spans)
    ]
    return [waterfall(one) for one in found[:SHOWN]]


def waterfall(trace: TraceRecord) -> Waterfall:
    """The bars of a trace, in the order of their start, each below the one that it ran in."""
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
    """How deep each span stands; one whose parent is not kept stands at the top."""
    parents = {span.id: span.parent for span in spans}
    depths: dict[int, int] = {}
    for one in parents:
        seen: set[int] = set()
        at = one
        while parents.get(at, 0) in parents and at not in seen:
            seen.add(at)
            at = parents[at]
        depths[one] = len(seen)
    return depths
