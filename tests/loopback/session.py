"""One gateway session: its sequence numbers and what it can replay after a lost connection."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopback.payloads import JSON

if TYPE_CHECKING:
    from loopback.connection import Connection

REPLAYABLE = 1000


@dataclass
class Session:
    """A session outlives its connection, which is None between two of them."""

    id: str
    shard: int
    shards: int
    connection: Connection | None
    intents: int
    sequence: int = 0
    sent: deque[tuple[int, str, JSON]] = field(default_factory=lambda: deque(maxlen=REPLAYABLE))

    async def dispatch(self, event: str, data: JSON) -> None:
        """Numbers an event, keeps it for a replay, and sends it if there is a connection."""
        self.sequence += 1
        self.sent.append((self.sequence, event, data))
        await self._send(self.sequence, event, data)

    async def replay(self, after: int) -> None:
        """Sends again what the client has not seen."""
        for number, event, data in tuple(self.sent):
            if number > after:
                await self._send(number, event, data)

    async def _send(self, number: int, event: str, data: JSON) -> None:
        if self.connection is not None:
            await self.connection.send(0, data, event=event, sequence=number)
