"""Limits of connections, live streams, idle clients and requests, so that the web cannot exhaust the bot."""

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

CONNECTIONS: Final = 100  # open at once, per server
STREAMS: Final = 64  # live streams at once, over all servers
HEAD_S: Final = 30.0  # a new client without a complete request for this long is disconnected
IDLE_S: Final = 75.0  # the same after its first request; longer than scrape intervals and proxies' keep-alive
STUCK_S: Final = 30.0  # a client that reads nothing for this long is disconnected
SWEEP_S: Final = 5.0
LINE_BYTES: Final = 32_768  # size of the request line, and of each header
HEADERS: Final = 64  # headers of one request
HEAD_BYTES: Final = 131_072  # of a request's line and headers together
ADDRESSES: Final = 1_000  # addresses whose requests are counted; the oldest is dropped first

FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class StreamLimit:
    """Counts live streams, and signals them to end."""

    def __init__(self, most: int = STREAMS) -> None:
        self.most = most
        self.open = 0
        self.ended = asyncio.Event()  # set when the servers stop; each stream then ends

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Count one stream while it is open.

        Raises:
            Problem: 503; too many streams are open.
        """
        if self.open >= self.most or self.ended.is_set():
            detail = f"{self.open} live streams are open. At most {self.most} are allowed"
            raise Problem.of(503, detail, headers={"Retry-After": "30"})
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


class RateLimit:
    """Counts requests by address: at most ``most`` of each within ``within_s``."""

    def __init__(self, most: int, within_s: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._most = most
        self._within_s = within_s
        self._clock = clock
        self._counted: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> int:
        """Count a request; return the seconds to wait after too many of them, else 0."""
        now_s = self._clock()
        times = self._counted.setdefault(address, deque(maxlen=self._most))
        self._counted.move_to_end(address)
        while len(self._counted) > ADDRESSES:
            self._counted.popitem(last=False)
        while times and now_s - times[0] >= self._within_s:
            times.popleft()
        if len(times) == self._most:
            return max(1, round(self._within_s - (now_s - times[0])))
        times.append(now_s)
        return 0


class TrackedConnection(web.RequestHandler):
    """aiohttp's connection with idle time; its error responses do not reveal the server's software."""

    __slots__ = ("_awaited", "_head", "_idle_ns", "_stuck_ns")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stuck_ns: int | None = None
        self._awaited: object = None  # the waiter of aiohttp at the last check, and since when
        self._idle_ns = 0
        self._head = 0  # bytes of a request with an incomplete head

    def data_received(self, data: bytes) -> None:
        """Accept at most HEAD_BYTES without a complete head; aiohttp would buffer every header up to its own limit."""
        super().data_received(data)
        waiting = self._waiter is not None and not self._waiter.done()
        self._head = self._head + len(data) if waiting else 0
        if self._head > HEAD_BYTES and isinstance(self.transport, asyncio.WriteTransport):
            self.transport.write(LARGE)
            self.force_close()

    def pause_writing(self) -> None:
        """Note that the client reads too slowly."""
        self._stuck_ns = time.perf_counter_ns()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._stuck_ns = None
        super().resume_writing()

    def disconnect_if_idle(self) -> None:
        """Disconnect a client that read nothing for STUCK_S, or sent no complete request for HEAD_S or IDLE_S."""
        now_ns = time.perf_counter_ns()
        if self._waiter is not self._awaited:  # aiohttp makes a new one for each request that it waits for
            self._awaited, self._idle_ns = self._waiter, now_ns
        timeout_s = IDLE_S if self._request_count and not self._head else HEAD_S
        idle = self._awaited is not None and now_ns - self._idle_ns >= timeout_s * 1e9
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
        """Return a problem document for invalid HTTP, in place of aiohttp's page with its version."""
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response has been sent")
        if status >= 500:
            self.log_exception("A request failed outside its handler", exc_info=exc)
        response = _unread_problem(status, exc).response("")
        response.headers["Server"] = "cogmeter"  # else aiohttp would name itself and its version
        response.force_close()
        return response


def _unread_problem(status: int, error: BaseException | None) -> Problem:
    """Return the problem for a request that did not reach a handler."""
    if isinstance(error, LineTooLong):
        return Problem.of(414, f"The URL or a header is too long. At most {LINE_BYTES} bytes are allowed")
    return Problem.of(500 if status >= 500 else 400, "The request is not valid HTTP")


class ConnectionRefusal(asyncio.Protocol):
    """The protocol of a client beyond the limit of connections."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send 503 and close the connection."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(FULL)
        transport.close()


def connections(server: web.Server, **options: Any) -> Callable[[], asyncio.Protocol]:
    """Return the factory of the protocol of each new connection; it serves at most CONNECTIONS at once."""
    loop = asyncio.get_running_loop()

    def make() -> asyncio.Protocol:
        return (
            ConnectionRefusal()
            if len(server.connections) >= CONNECTIONS
            else TrackedConnection(server, loop=loop, **options)
        )

    return make


async def sweep(servers: Callable[[], list[web.Server]]) -> None:
    """Disconnect idle clients, forever."""
    while True:
        await asyncio.sleep(SWEEP_S)
        for server in servers():
            for connection in server.connections:
                if isinstance(connection, TrackedConnection):
                    connection.disconnect_if_idle()
