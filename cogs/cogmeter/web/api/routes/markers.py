"""Markers: moments worth knowing when figures change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.query.query import now_us
from cogmeter.recording.markers import MARK, cleaned
from cogmeter.schemas.changes import MarkerAnswer, Markers
from cogmeter.web.api.params import Limit, Name, RangeParams
from cogmeter.web.api.routing import Body, Route
from cogmeter_storage.model import Marker

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class MarkersParams(RangeParams):
    """Which markers."""

    limit: Limit = 100


class MarkerBody(Body):
    """What happened now."""

    name: Annotated[Name, Field(examples=["deployed 1.4"])]


async def read_markers(monitor: Monitor, ask: MarkersParams) -> Markers:
    """Markers of a stretch of time."""
    span = ask.span(now_us())
    found = await monitor.store.markers(span.since_us, span.until_us, limit=ask.limit)
    return Markers(markers=[MarkerAnswer.of(one) for one in found])


async def add_marker(monitor: Monitor, body: MarkerBody) -> MarkerAnswer:
    """Mark this moment, as ``cogmeter.mark()`` does; it is stored at once."""
    return MarkerAnswer.of(await monitor.store.add_marker(Marker(now_us(), MARK, cleaned(body.name))))


PATH: Final = "/api/performance/markers"
ROUTES: Final = (
    Route(
        "GET", PATH, read_markers, "Markers in order of time (the last 24 hours)", query=MarkersParams, answer=Markers
    ),
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
