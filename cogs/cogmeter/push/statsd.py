"""DogStatsD over UDP: the metrics of ``tagged`` as datagrams to a Datadog Agent.

Each line has the time of its minute, so minutes that waited arrive where they belong: DogStatsD protocol v1.3, Agents
6.40 and 7.40 or newer, which pass such counts and gauges on unchanged. Alerts and markers are not sent. UDP confirms
nothing: what is lost on the way is not counted. Only an address where nothing listens is noticed, on the same machine.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from cogmeter.push.base import PushError, PushTarget, Rejection, Request, sample_batch
from cogmeter.push.tagged import OLDEST_US, TaggedPoint, TaggedPoints
from cogmeter.settings import SettingsError, env_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cogmeter.push.base import Origin, PushBatch
    from cogmeter.settings import Settings

PACKET: Final = 1432  # bytes: what Datadog's own clients send in one piece
BURST: Final = 20  # packets; then a pause, because a socket's default buffer on Linux holds 92 of them (measured)
PAUSE_S: Final = 0.01


def build(settings: Settings, origin: Origin) -> StatsdTarget:
    """Return the target of the setting.

    Raises:
        SettingsError: its port is not a port.
    """
    host, _, port = (settings.export_statsd or "").rpartition(":")
    if not 0 < int(port or 0) < 65_536:
        raise SettingsError(f"{env_name('export_statsd')}={settings.export_statsd} has no port from 1 to 65,535")
    return StatsdTarget(host.strip("[]"), int(port), origin)


class StatsdTarget(PushTarget):
    """One Agent."""

    name = "statsd"
    label = "DogStatsD"
    oldest_us = OLDEST_US

    def __init__(self, host: str, port: int, origin: Origin) -> None:
        self._address = host, port
        self._points = TaggedPoints(origin)

    def encode(self, batch: PushBatch) -> list[Request]:
        """Return one request with all lines of a batch."""
        body = b"\n".join(_line(point) for point in self._points.of(batch))
        return [Request("{}:{}".format(*self._address), body)] if body else []

    async def send(self, request: Request) -> Rejection | None:
        """Send the packets of a request, with pauses."""
        try:
            await self._send(request.body)
        except OSError as error:
            failure = PushError(f"{env_name('export_statsd')}: {error.strerror or type(error).__name__}")
        else:
            return None
        raise failure

    def accepted(self, batch: PushBatch) -> None:
        """Note that the batch is not sent again."""
        self._points.accepted(batch)

    async def check(self) -> str:
        """Send one gauge, and return where it was sent."""
        (request,) = self.encode(sample_batch())
        await self.send(request)
        return f"one sample of cogmeter.process.thread.count was sent to {request.url}; UDP confirms nothing"

    async def _send(self, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        (family, kind, protocol, _, address), *_ = await loop.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)
        with socket.socket(family, kind, protocol) as connection:
            connection.setblocking(False)
            connection.connect(address)  # sends nothing; then a refusal is an error of the next call
            for turn, packet in enumerate(_packets(body), start=1):
                await loop.sock_sendall(connection, packet)
                if turn % BURST == 0:
                    await asyncio.sleep(PAUSE_S)
            if refusal := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(refusal, "no connection (nothing listens at this port)")


def _line(point: TaggedPoint) -> bytes:
    kind = "c" if point.counts else "g"
    return f"{point.metric}:{point.value!r}|{kind}|#{','.join(point.tags)}|T{point.at_s}".encode()


def _packets(body: bytes) -> Iterator[bytes]:
    """Yield the lines in packets. A line that is longer than a packet is one of its own."""
    packet = b""
    for line in body.split(b"\n"):
        if packet and len(packet) + 1 + len(line) > PACKET:
            yield packet
            packet = b""
        packet = packet + b"\n" + line if packet else line
    yield packet
