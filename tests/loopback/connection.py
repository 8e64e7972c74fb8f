"""One gateway WebSocket: framing, compression, and its end."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from loopback.compression import stream
from loopback.payloads import JSON
from loopback.session import Session

DECODE_ERROR, RATE_LIMITED = 4002, 4008
LARGEST_PAYLOAD = 4096
SENDS, SENDS_PER_S = 120, 60.0


class Connection:
    """A connected client; `session` is None until it identified or resumed."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.session: Session | None = None
        self.last_arrival_s = 0.0
        self.path = request.path
        self._socket = socket
        self._request = request
        self._compressor = stream(request.query.get("compress"))
        self._window_ends_s = 0.0
        self._in_window = 0

    async def send(self, op: int, data: Any, *, event: str | None = None, sequence: int | None = None) -> None:
        """Sends one payload; a connection that is going down is left alone, as its session keeps the event."""
        if self._socket.closed:
            return
        text = json.dumps({"t": event, "s": sequence, "op": op, "d": data}, separators=(",", ":"))
        try:
            if self._compressor is None:
                await self._socket.send_str(text)
            else:
                await self._socket.send_bytes(self._compressor.compress(text))
        except ConnectionError:
            return

    async def receive_all(self, on_payload: Callable[[Connection, JSON], Awaitable[None]]) -> None:
        """Hands over payloads until the socket closes; a broken or oversized one closes it with 4002."""
        async for frame in self._socket:
            self.last_arrival_s = time.perf_counter()
            if frame.type is not WSMsgType.TEXT:
                continue
            if self._too_many():
                await self.close(RATE_LIMITED)
            elif (payload := _decoded(frame.data)) is None:
                await self.close(DECODE_ERROR)
            else:
                await on_payload(self, payload)

    async def close(self, code: int = WSCloseCode.GOING_AWAY) -> None:
        """Closes with a code."""
        await self._socket.close(code=code)

    def abort(self) -> None:
        """Cuts the socket without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def _too_many(self) -> bool:
        if self.last_arrival_s > self._window_ends_s:
            self._window_ends_s, self._in_window = self.last_arrival_s + SENDS_PER_S, 0
        self._in_window += 1
        return self._in_window > SENDS


def _decoded(text: str) -> JSON | None:
    """The payload, None if it is too large, no JSON, or no object."""
    if len(text) > LARGEST_PAYLOAD:
        return None
    try:
        payload = json.loads(text)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None
