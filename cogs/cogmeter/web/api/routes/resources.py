"""The resources of the bot's process: the same as ``/perf resources``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.query.query import now_us
from cogmeter.query.records import Period
from cogmeter.schemas.resources import ResourcesAnswer
from cogmeter.web.api.params import RangeParams
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


async def read_resources(monitor: Monitor, params: RangeParams) -> ResourcesAnswer:
    """Return CPU, memory, event-loop lag, GC, network and open files with their growth."""
    span = params.span(now_us(), Period.DAY)
    grown = None if params.process else monitor.watcher.grown  # objects of this process
    return await ResourcesAnswer.read(await params.query_of(monitor), span, grown)


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/resources",
        read_resources,
        "Get CPU, memory, event-loop lag, GC, network and open files with their growth (default: last 24 hours)",
        tag="series",
        query=RangeParams,
        response=ResourcesAnswer,
        problems=(404,),
    ),
)
