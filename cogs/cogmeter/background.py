"""Starts background work in an empty context, so that no interaction's context leaks into what outlives it."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def detached(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """The running task of this coroutine. The caller keeps a reference: the loop itself does not."""
    # create_task(context=...) would not do: the call itself would still be made inside the caller's context.
    return contextvars.Context().run(lambda: asyncio.create_task(coroutine, name=name))
