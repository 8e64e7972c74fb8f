"""What the requests of one server reach: the monitor, the guard, the live streams, and the API's description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from cogmeter.web.api.problems import Problem

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor
    from cogmeter.web.server.limits import Streams
    from cogmeter.web.server.security import Guard


@dataclass(frozen=True, slots=True)
class Shared:
    """What all servers of one bot have in common."""

    monitor: Monitor
    guard: Guard
    streams: Streams


@dataclass(frozen=True, slots=True)
class Description:
    """The API's description, as it is sent."""

    json: bytes
    page: str


class ServerContext:
    """What an application refers to. aiohttp caches the handlers of the last 1,024 applications, and with them the
    applications: one that has stopped must not keep its monitor alive.
    """

    def __init__(self, shared: Shared, description: Description) -> None:
        self._parts: tuple[Shared, Description] | None = shared, description

    def clear(self) -> None:
        """Forget everything; the server has stopped."""
        self._parts = None

    @property
    def shared(self) -> Shared:
        """What all servers of the bot have in common.

        Raises:
            Problem: 503; the server has stopped.
        """
        return self._present()[0]

    @property
    def description(self) -> Description:
        """The API's description.

        Raises:
            Problem: 503; the server has stopped.
        """
        return self._present()[1]

    def _present(self) -> tuple[Shared, Description]:
        if self._parts is None:
            raise Problem.of(503, "The server has stopped")
        return self._parts


SERVED: Final = web.AppKey("cogmeter.served", ServerContext)


def monitor_of(request: web.Request) -> Monitor:
    """Return the monitor that a request is about."""
    return request.app[SERVED].shared.monitor


def guard_of(request: web.Request) -> Guard:
    """Return the guard of the request's server."""
    return request.app[SERVED].shared.guard
