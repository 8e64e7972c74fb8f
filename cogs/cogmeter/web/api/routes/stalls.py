"""What ails the bot's process: blocks of its event loop, and its background loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.query.query import now_us
from cogmeter.schemas.loops import Loops, loops
from cogmeter.schemas.stalls import Stalls, stalls
from cogmeter.web.api.params import RangeParams
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class StallsParams(RangeParams):
    """Which stretch of time, and how many of the newest and longest."""

    limit: Annotated[int, Field(ge=1, le=100, description="How many of the newest, and of the longest")] = 20


async def read_stalls(monitor: Monitor, ask: StallsParams) -> Stalls:
    """Blocks of the event loop."""
    return await stalls(monitor.query, ask.span(now_us()), limit=ask.limit)


async def read_loops(monitor: Monitor, ask: RangeParams) -> Loops:
    """Background loops and jobs."""
    return await loops(monitor.query, ask.span(now_us()), monitor.watcher.loops())


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/stalls",
        read_stalls,
        "What blocked the event loop, with stacks (the last 24 hours)",
        query=StallsParams,
        answer=Stalls,
    ),
    Route(
        "GET",
        "/api/performance/loops",
        read_loops,
        "Background loops and scheduled jobs, those that are not well first (the last 24 hours)",
        query=RangeParams,
        answer=Loops,
    ),
)
