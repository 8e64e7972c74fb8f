"""Runs the monitor's own work on the bot's event loop: in an empty context, and in short pieces."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable

    from cogmeter.recording.tracing import Scope

T = TypeVar("T")
PIECE_S: Final = 0.001  # the longest piece of work on the event loop

# Whether the running code is the monitor's own background work, which is not part of the host's performance.
own_work: Final[ContextVar[bool]] = ContextVar("cogmeter_own_work", default=False)


def own_context() -> contextvars.Context:
    """Return a context for the monitor's own work: empty except for ``own_work``."""
    context = contextvars.Context()
    context.run(own_work.set, True)
    return context


def is_own(scope: Scope | None) -> bool:
    """Return whether the running code, which inherited this scope, is the monitor's own work or command."""
    return own_work.get() or (scope is not None and scope.trace.own)


def detached(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start this coroutine as a task in an own context. The caller keeps a reference; the loop does not."""
    # create_task(context=...) is not enough: the call itself would still run in the caller's context.
    task = own_context().run(lambda: asyncio.create_task(coroutine, name=name))
    task.add_done_callback(lambda _: _close_unstarted(coroutine))
    return task


def _close_unstarted(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that never ran, because the wrapper of a task factory was cancelled first."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()


class Slicer:
    """A divider of work on the event loop into pieces of PIECE_S; other tasks run between two pieces."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()

    async def pause(self) -> None:
        """Let other tasks run if the piece has lasted PIECE_S."""
        if time.perf_counter() - self._began_s > PIECE_S:
            await asyncio.sleep(0)
            self._began_s = time.perf_counter()


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items with pauses; the caller's work on an item belongs to the piece."""
    slicer = Slicer()
    for item in items:
        yield item
        await slicer.pause()
