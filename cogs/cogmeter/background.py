"""Starts background work in an empty context, so that no interaction's context leaks into what outlives it."""

from __future__ import annotations

import asyncio
import contextvars
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

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
    return own_context().run(lambda: asyncio.create_task(coroutine, name=name))
