"""Runs work of the monitor on the bot's event loop: in an empty context, and in short pieces."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable

T = TypeVar("T")
PIECE_S: Final = 0.001  # of work on the event loop; between two pieces others run

# Whether the running code is work of ours in the background, which is not the host's performance.
own_work: Final[ContextVar[bool]] = ContextVar("cogmeter_own_work", default=False)


def own_context() -> contextvars.Context:
    """A context for work of ours: empty but for the mark that says so."""
    context = contextvars.Context()
    context.run(own_work.set, True)
    return context


def detached(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """The running task of this coroutine. The caller keeps a reference: the loop itself does not."""
    # create_task(context=...) would not do: the call itself would still be made inside the caller's context.
    task = own_context().run(lambda: asyncio.create_task(coroutine, name=name))
    task.add_done_callback(lambda _: _close_unstarted(coroutine))
    return task


def _close_unstarted(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that never ran: a task factory's wrapper that is cancelled first leaves it to a warning."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()


class Slicer:
    """Divides work on the event loop into pieces of PIECE_S; between two of them others run."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()

    async def pause(self) -> None:
        """Let others run if the piece has taken its time."""
        if time.perf_counter() - self._began_s > PIECE_S:
            await asyncio.sleep(0)
            self._began_s = time.perf_counter()


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, with pauses; what the caller does with an item belongs to the piece."""
    pace = Slicer()
    for item in items:
        yield item
        await pace.pause()
