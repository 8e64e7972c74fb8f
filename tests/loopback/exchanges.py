"""Interactions that were sent to the bot: their deadlines, and what the bot made of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from loopback.calls import Refused
from loopback.payloads import JSON
from loopback.recording import UploadedFile, turns

KEPT = 5000
EPHEMERAL, LOADING = 1 << 6, 1 << 7


@dataclass
class Exchange:
    """One interaction and its answers; times are `time.perf_counter()`."""

    interaction: JSON
    sent_s: float
    acknowledged_s: float | None = None
    callback: JSON | None = None
    files: tuple[UploadedFile, ...] = ()
    original: JSON | None = None
    followups: list[JSON] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def loading(self) -> bool:
        """Whether the bot deferred and people still see "is thinking"."""
        return bool(self.original and self.original["flags"] & LOADING)

    def notify(self) -> None:
        """Wakes who waits for a change."""
        self._changed.set()

    async def acknowledged(self, timeout_s: float = 30.0) -> JSON:
        """The body of the callback, once it came."""
        async with asyncio.timeout(timeout_s):
            while self.callback is None:
                await self._next_change()
        await turns()
        return self.callback

    async def answered(self, timeout_s: float = 30.0) -> JSON:
        """The response message, once there is one that is no longer loading."""
        async with asyncio.timeout(timeout_s):
            while self.original is None or self.loading:
                await self._next_change()
        await turns()
        return self.original

    async def followed_up(self, count: int = 1, timeout_s: float = 30.0) -> list[JSON]:
        """The followup messages, once there are `count`."""
        async with asyncio.timeout(timeout_s):
            while len(self.followups) < count:
                await self._next_change()
        await turns()
        return self.followups

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class Exchanges:
    """All interactions by id and by token; `token_life_s` is Discord's 15 min.

    Discord's deadline of an acknowledgement is 3 s. A busy machine may miss it, so tests of the deadline set it.
    """

    def __init__(self) -> None:
        self.ack_deadline_s = 60.0
        self.token_life_s = 15 * 60.0
        self._by_id: dict[str, Exchange] = {}
        self._by_token: dict[str, Exchange] = {}

    def open(self, interaction: JSON) -> Exchange:
        """Starts the clock of an interaction."""
        exchange = Exchange(interaction, time.perf_counter())
        self._by_id[interaction["id"]] = self._by_token[interaction["token"]] = exchange
        if len(self._by_id) > KEPT:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            self._by_token.pop(oldest.interaction["token"])
        return exchange

    def to_acknowledge(self, interaction_id: str, token: str) -> Exchange:
        """The interaction for a callback; too late or unknown is 404/10062, a second one 400/40060."""
        exchange = self._by_id.get(interaction_id)
        if exchange is None or exchange.interaction["token"] != token:
            raise Refused(404, 10062, "Unknown interaction")
        if exchange.callback is not None:
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        if time.perf_counter() - exchange.sent_s > self.ack_deadline_s:
            raise Refused(404, 10062, "Unknown interaction")
        return exchange

    def to_follow_up(self, token: str) -> Exchange | None:
        """The interaction behind a webhook token, None for another webhook's token."""
        exchange = self._by_token.get(token)
        if exchange is None:
            return None
        if exchange.callback is None:
            raise Refused(404, 10015, "Unknown Webhook")
        if time.perf_counter() - exchange.sent_s > self.token_life_s:
            raise Refused(401, 50027, "Invalid Webhook Token")
        return exchange
