"""What the server saw, in order: REST requests, gateway payloads, bodies that Discord would refuse."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def turns(count: int = 30) -> None:
    """Lets a client in this loop read the answer that was just sent, before somebody reacts to it.

    A person cannot click a button before the bot knows that its message exists; a test can.
    """
    for _ in range(count):
        await asyncio.sleep(0)


@dataclass(frozen=True)
class UploadedFile:
    """One part of a multipart body."""

    part: str
    name: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Request:
    """One REST request as it was answered; `arrived_s` and `answered_s` are `time.perf_counter()`."""

    method: str
    path: str
    template: str
    status: int
    body: Any
    files: tuple[UploadedFile, ...]
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    arrived_s: float
    answered_s: float
    fault: str | None

    @property
    def route(self) -> str:
        """Method and route template, in the words of discord.py: `POST /channels/{channel_id}/messages`."""
        return f"{self.method} {self.template}"


@dataclass(frozen=True)
class GatewayOp:
    """One payload that a client sent over the gateway; `shard` is 0 until the connection has a session."""

    shard: int
    op: int
    data: Any
    arrived_s: float


@dataclass(frozen=True)
class Violation:
    """One reason for which Discord would refuse a body; `where` is the dotted path in it."""

    route: str
    where: str
    code: str
    message: str


class Log(Generic[T]):
    """An ordered log that keeps the last `keep` entries (all if None) and can be waited on."""

    def __init__(self, keep: int | None = None) -> None:
        self._entries: deque[T] = deque(maxlen=keep)
        self._grew = asyncio.Event()
        self.total = 0

    def append(self, entry: T) -> None:
        """Adds an entry and wakes who waits."""
        self._entries.append(entry)
        self.total += 1
        self._grew.set()

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> T:
        return self._entries[index]

    def where(self, wanted: Callable[[T], bool]) -> list[T]:
        """The kept entries that match."""
        return [entry for entry in self._entries if wanted(entry)]

    def clear(self) -> None:
        """Forgets the entries, so that a test can look at one step alone."""
        self._entries.clear()

    async def wait_for(self, wanted: Callable[[T], bool], *, count: int = 1, timeout_s: float = 30.0) -> list[T]:
        """The matching entries as soon as there are `count` of them.

        Raises:
            TimeoutError: fewer than `count` came in time.
        """
        async with asyncio.timeout(timeout_s):
            while len(found := self.where(wanted)) < count:
                self._grew.clear()
                await self._grew.wait()
        return found
