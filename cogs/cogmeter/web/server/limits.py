"""What the web may take of the bot: connections, live streams, tries at the token, and time."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from cogmeter.web.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECTIONS: Final = 100  # open at once, of each server
STREAMS: Final = 64  # live streams at once, of all servers
TRIES: Final = 10  # wrong tokens from one address within TRIES_S
TRIES_S: Final = 60.0
ADDRESSES: Final = 1_000  # remembered with their tries; the oldest goes first
HEAD_S: Final = 30.0  # a client that brings no whole request for so long is cut
IDLE_S: Final = 75.0  # one that has brought some; longer than scrapers pause and proxies keep a connection
STUCK_S: Final = 30.0  # a client that takes nothing for so long is cut
SWEEP_S: Final = 5.0
LINE_BYTES: Final = 32_768  # of the request's first line, and of a header
HEADERS: Final = 64  # of a request
HEAD_BYTES: Final = 131_072  # of a request's line and headers together

FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Streams:
    """Counts live streams, and tells them when to end."""

    def __init__(self, most: int = STREAMS) -> None:
        self.most = most
        self.open = 0
        self.ended = asyncio.Event()  # set when the servers stop: a stream then says good-bye and ends

    @contextmanager
    def one(self) -> Iterator[None]:
        """The place of one stream.

        Raises:
            Problem: 503; all places are taken.
        """
        if self.open >= self.most or self.ended.is_set():
            detail = f"{self.open} live streams are open, and no more than {self.most} may be"
            raise Problem.of(503, detail, headers={"Retry-After": "30"})
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class LoginAttempts:
    """Counts wrong tokens by address."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def failed(self, address: str) -> int:
        """Note a wrong token; 0, or the seconds to wait when there were too many before it."""
        now = self._clock()
        tries = self._failed.setdefault(address, deque(maxlen=TRIES))
        self._failed.move_to_end(address)
        while len(self._failed) > ADDRESSES:
            self._failed.popitem(last=False)
        while tries and now - tries[0] >= TRIES_S:
            tries.popleft()
        if len(tries) == TRIES:
            return max(1, round(TRIES_S - (now - tries[0])))
        tries.append(now)
        return 0


class TrackedConnection(web.RequestHandler):
    """aiohttp's connection, which knows since when its client does nothing, and says nothing of what serves it."""

    __slots__ = ("_awaited", "_head", "_idle_ns", "_stuck_ns")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stuck_ns: int | None = None
        self._awaited: object = None  # what aiohttp waited for when it was last looked at, and since when
        self._idle_ns = 0
        self._head = 0  # bytes of a request whose head is not whole yet

    def data_received(self, data: bytes) -> None:
        """Take what comes, up to HEAD_BYTES without a whole head: aiohttp would hold all that its headers may have."""
        super().data_received(data)
        waiting = self._waiter is not None and not self._waiter.done()
        self._head = self._head + len(data) if waiting else 0
        if self._head > HEAD_BYTES and isinstance(self.transport, asyncio.WriteTransport):
            self.transport.write(LARGE)
            self.force_close()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._stuck_ns = time.perf_counter_ns()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._stuck_ns = None
        super().resume_writing()

    def look(self) -> None:
        """Give up on a client that has taken nothing for STUCK_S, or brought no whole request for HEAD_S or IDLE_S."""
        now_ns = time.perf_counter_ns()
        if self._waiter is not self._awaited:  # aiohttp makes a new one for each request that it waits for
            self._awaited, self._idle_ns = self._waiter, now_ns
        patience_s = IDLE_S if self._request_count and not self._head else HEAD_S
        idle = self._awaited is not None and now_ns - self._idle_ns >= patience_s * 1e9
        stuck = self._stuck_ns is not None and now_ns - self._stuck_ns >= STUCK_S * 1e9
        if (idle or stuck) and isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; its text echoes the request
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, in place of aiohttp's page with its version."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        if status >= 500:
            self.log_exception("A request failed outside of its handler", exc_info=exc)
        response = _unread(status, exc).response("")
        response.headers["Server"] = "cogmeter"  # else aiohttp would name itself and its version
        response.force_close()
        return response


def _unread(status: int, error: BaseException | None) -> Problem:
    """Why a request never got to a handler."""
    if isinstance(error, LineTooLong):
        return Problem.of(414, f"The address and each header may have {LINE_BYTES} bytes")
    return Problem.of(500 if status >= 500 else 400, "The request is no HTTP that is understood here")


class ConnectionRefusal(asyncio.Protocol):
    """What a client finds when as many as may are connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and hang up."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(FULL)
        transport.close()


def connections(server: web.Server, **options: Any) -> Callable[[], asyncio.Protocol]:
    """What makes the protocol of each new connection; no more than CONNECTIONS are served at once."""
    loop = asyncio.get_running_loop()

    def make() -> asyncio.Protocol:
        return (
            ConnectionRefusal()
            if len(server.connections) >= CONNECTIONS
            else TrackedConnection(server, loop=loop, **options)
        )

    return make


async def sweep(servers: Callable[[], list[web.Server]]) -> None:
    """Cut the clients that do nothing, for ever."""
    while True:
        await asyncio.sleep(SWEEP_S)
        for server in servers():
            for connection in server.connections:
                if isinstance(connection, TrackedConnection):
                    connection.look()
