"""The state of the whole bot: the same as ``/perf health``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cogmeter.schemas.state import BotStateAnswer
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.api.routing import Shared


async def read_state(_monitor: Monitor, shared: Shared) -> BotStateAnswer:
    """Return every component, shard, service, loop and dependency with its status."""
    return BotStateAnswer.of(await shared.health.state())


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/state",
        read_state,
        "Get the state of every component, shard, service, loop and dependency now, problems first",
        tag="health",
        response=BotStateAnswer,
    ),
)
