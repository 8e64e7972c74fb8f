"""Runs work of the monitor beside the host's: in an empty context, and in short pieces on the event loop."""

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


async def paced(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items; whenever the caller has worked on them for PIECE_S, let the event loop run others first."""
    began_s = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - began_s > PIECE_S:
            await asyncio.sleep(0)
            began_s = time.perf_counter()
