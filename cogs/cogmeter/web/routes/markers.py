"""Markers: moments worth knowing when figures change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.answers.changes import MarkerAnswer, Markers
from cogmeter.marks import MARK, cleaned
from cogmeter.query import now_us
from cogmeter.web.api import Body, Route
from cogmeter.web.asks import Limit, Name
from cogmeter.web.spans import SpanAsk
from cogmeter_storage.model import Marker

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class MarkersAsk(SpanAsk):
    """Which markers."""

    limit: Limit = 100


class MarkerBody(Body):
    """What happened now."""

    name: Annotated[Name, Field(examples=["deployed 1.4"])]


async def read_markers(monitor: Monitor, ask: MarkersAsk) -> Markers:
    """Markers of a stretch of time."""
    span = ask.span(now_us())
    found = await monitor.store.markers(span.since_us, span.until_us, limit=ask.limit)
    return Markers(markers=[MarkerAnswer.of(one) for one in found])


async def add_marker(monitor: Monitor, body: MarkerBody) -> MarkerAnswer:
    """Mark this moment, as ``cogmeter.mark()`` does; it is stored at once."""
    return MarkerAnswer.of(await monitor.store.add_marker(Marker(now_us(), MARK, cleaned(body.name))))


PATH: Final = "/api/performance/markers"
ROUTES: Final = (
    Route("GET", PATH, read_markers, "Markers in order of time (the last 24 hours)", query=MarkersAsk, answer=Markers),
    Route(
        "POST",
        PATH,
        add_marker,
        "Mark this moment on charts and in alerts",
        body=MarkerBody,
        answer=MarkerAnswer,
        status=201,
        changes=True,
    ),
)
