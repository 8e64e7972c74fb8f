"""The live stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.web.api.live import live_of
from cogmeter.web.api.routing import CALLER, Route
from cogmeter.web.server.context import SERVED

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


async def stream_live(monitor: Monitor, request: web.Request) -> web.StreamResponse:
    """Send events until the client leaves, its session ends or the server stops.

    What it says of its last event is not needed.
    """
    shared, caller = request.app[SERVED].shared, CALLER.get()
    streams, guard = shared.streams, shared.guard
    with streams.one():
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        live = live_of(monitor)
        listening = live.join()
        ending = asyncio.create_task(streams.ended.wait(), name="cogmeter live end")
        ending.add_done_callback(listening.end)
        try:
            async for piece in listening.pieces():
                if not guard.holds(caller):
                    break
                await response.write(piece)
            await response.write_eof()
        finally:
            live.leave(listening)
            ending.cancel()
    return response


ROUTES: Final = (
    Route(
        "GET",
        "/api/performance/live",
        stream_live,
        "What happens now: server-sent events snapshot (each second), alert and marker, until the client leaves",
        media={"text/event-stream": "Server-sent events; the data of each is JSON"},
    ),
)
