"""The slowest single operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.query.query import now_us
from cogmeter.schemas.slowest import Slowest, slowest
from cogmeter.web.api.params import Name, RangeParams, Services
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class SlowestParams(RangeParams):
    """Of which services, which operation of them, and how many."""

    services: Services | None = None
    operation: Annotated[Name | None, Field(description="Of operations of this name alone")] = None
    limit: Annotated[int, Field(ge=1, le=100, description="How many of the slowest")] = 20


async def read_slowest(monitor: Monitor, ask: SlowestParams) -> Slowest:
    """The slowest operations."""
    span = ask.span(now_us())
    return await slowest(monitor.query, span, services=ask.services, operation=ask.operation, limit=ask.limit)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/slowest",
        read_slowest,
        "The slowest operations, without what runs in the background unless it is named (the last 24 hours)",
        query=SlowestParams,
        answer=Slowest,
        problems=(404,),
    ),
)
