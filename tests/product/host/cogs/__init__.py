"""A host's own package ``cogs``, with functions that were decorated before any extension is loaded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import cogmeter

think = cogmeter.track("host", "think")


@cogmeter.track("host", "greeting")
async def greeting(name: str) -> str:
    """A coroutine function."""
    await asyncio.sleep(0)
    return f"Hello, {name}"


@cogmeter.track("host", "add")
def add(one: int, other: int) -> int:
    """A plain function."""
    return one + other


@cogmeter.track("host", "words")
def words(text: str) -> Iterator[str]:
    """A generator function."""
    yield from text.split()


@cogmeter.track("host", "pages")
async def pages(count: int) -> AsyncIterator[int]:
    """An async generator function."""
    for page in range(count):
        await asyncio.sleep(0)
        yield page


@cogmeter.track("host", "fails")
async def fails() -> None:
    """A coroutine function that raises."""
    raise LookupError("not there")


async def everything() -> None:
    """Each kind of decorated function once, and a ``with`` block of each kind."""
    assert await greeting("you") == "Hello, you"
    assert add(1, 2) == 3
    assert list(words("a b")) == ["a", "b"]
    assert [page async for page in pages(2)] == [0, 1]
    with contextlib.suppress(LookupError):
        await fails()
    with think():
        pass
    async with cogmeter.operation("host", "ask", model="small") as op:
        op.annotate(tokens=3)


NAMES = ("greeting", "add", "words", "pages", "fails", "think", "ask")
