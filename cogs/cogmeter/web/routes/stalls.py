"""What ails the bot's process: blocks of its event loop, and its background loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.answers.loops import Loops, loops
from cogmeter.answers.stalls import Stalls, stalls
from cogmeter.query import now_us
from cogmeter.web.api import Route
from cogmeter.web.spans import SpanAsk

if TYPE_CHECKING:
    from cogmeter.runtime import Monitor


class StallsAsk(SpanAsk):
    """Which stretch of time, and how many of the newest and longest."""

    limit: Annotated[int, Field(ge=1, le=100, description="How many of the newest, and of the longest")] = 20


async def read_stalls(monitor: Monitor, ask: StallsAsk) -> Stalls:
    """Blocks of the event loop."""
    return await stalls(monitor.query, ask.span(now_us()), limit=ask.limit)


async def read_loops(monitor: Monitor, ask: SpanAsk) -> Loops:
    """Background loops and jobs."""
    return await loops(monitor.query, ask.span(now_us()), monitor.watcher.loops())


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/stalls",
        read_stalls,
        "What blocked the event loop, with stacks (the last 24 hours)",
        query=StallsAsk,
        answer=Stalls,
    ),
    Route(
        "GET",
        "/api/performance/loops",
        read_loops,
        "Background loops and scheduled jobs, those that are not well first (the last 24 hours)",
        query=SpanAsk,
        answer=Loops,
    ),
)
