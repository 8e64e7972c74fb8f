"""Reads tasks: their context, and the coroutine that a task factory has wrapped.

Error trackers and profilers install task factories that run each coroutine inside one of their own, before or after the
bot starts. ``task.get_coro()`` then returns their coroutine for every task.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
from collections.abc import Coroutine
from types import CellType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cogmeter.recording import background

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType, FrameType

T = TypeVar("T")

_logger = logging.getLogger("cogmeter.watch")

MOST: Final = 50  # objects that are searched for one task
_LOOKED_INTO: Final = (Coroutine, GeneratorType, CellType, tuple, list)


def objects_in(coroutine: object, kind: type[T]) -> Iterator[T]:
    """Yield the objects of this type in the variables of a coroutine or of the coroutines that it wraps."""
    waiting, seen = [coroutine], {id(coroutine)}
    while waiting:
        for value in _values(waiting.pop()):
            if isinstance(value, kind):
                yield value
            elif isinstance(value, _LOOKED_INTO) and id(value) not in seen and len(seen) < MOST:
                seen.add(id(value))
                waiting.append(value)


def _values(value: Any) -> Iterable[Any]:
    if isinstance(value, CoroutineType) and value.cr_running:
        return () if value.cr_frame is None else value.cr_frame.f_locals.values()
    # Not f_locals of a suspended coroutine: the frame would keep the present values of the host's variables.
    return [*gc.get_referents(value), *getattr(value, "__dict__", {}).values()]


class Wrappers:
    """The code that a task factory runs around every coroutine, learned from a task of cogmeter."""

    def __init__(self) -> None:
        self.codes: frozenset[CodeType] = frozenset()
        self._factory: object = None
        self._probe: asyncio.Task[None] | None = None  # the loop keeps no reference of its own

    def learn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Learn the code of the running loop's task factory if it is new."""
        factory = loop.get_task_factory()
        if factory is self._factory:
            return
        self._factory = factory
        if factory is None:
            return
        look = self._look()
        try:
            self._probe = background.detached(look, name="cogmeter: task factory")
        except Exception as error:
            look.close()
            _logger.debug("Cannot inspect the task factory", exc_info=error)

    async def _look(self) -> None:
        await asyncio.sleep(0)  # an eager factory runs it inside its caller until here
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the frames around this one
        codes: set[CodeType] = set()
        while frame is not None:
            codes.add(frame.f_code)
            frame = frame.f_back
        self.codes |= codes


def context_of(source: object) -> contextvars.Context | None:
    """Return the context of a task or of a callback's handle; None if it has none.

    Before Python 3.12 no method returns it, but the garbage collector knows it.
    """
    if isinstance(source, asyncio.Future) and not isinstance(source, asyncio.Task):
        return None  # it may have contexts, but only of its callbacks
    if sys.version_info >= (3, 12) and isinstance(source, asyncio.Task):
        return source.get_context()
    referents = [getattr(source, "_context", None), *gc.get_referents(source)]  # asyncio's classes in Python have one
    return next((referent for referent in referents if isinstance(referent, contextvars.Context)), None)
