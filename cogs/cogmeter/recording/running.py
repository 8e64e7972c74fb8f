"""The operations that run now: what the surfaces have begun and not ended, and the operation of the running code.

Interactions, prefix commands, iterations of loops and jobs are registered here. What a bot runs most often is not:
``recording/waiting.py`` finds listeners and tracked operations on demand.
"""

from __future__ import annotations

import asyncio
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.operation import now_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextvars import Context, Token
    from types import CodeType

MAX_RUNNING: Final = 10_000  # operations that are listed; further ones still know their own logged errors
_NO_PEOPLE: Final[Mapping[str, str]] = {}


class RunningOperation:
    """An operation of a surface that has begun and not ended."""

    __slots__ = ("code", "ended", "logged_errors", "metadata", "operation", "service", "start_ns", "task")

    def __init__(self, service: str, operation: str, start_ns: int) -> None:
        self.service = service
        self.operation = operation
        self.start_ns = start_ns  # by time.perf_counter_ns
        self.task: weakref.ref[asyncio.Task[Any]] | None = None  # the last task that entered it, if that is known
        self.code: CodeType | None = None  # its function, if the task or thread that will run it is not known
        self.logged_errors = 0
        self.metadata: dict[str, Any] | None = None  # added by ``cogmeter.annotate``
        self.ended = False

    def affected(self) -> Mapping[str, str]:
        """Return the hashes of the user and guild that its errors affect; empty where they are not known."""
        return _NO_PEOPLE

    def payer(self) -> Mapping[str, str]:
        """Return metadata of who causes its costs: caller, and hashes of user and guild, as far as they are known."""
        return _NO_PEOPLE

    def add_metadata(self, metadata: Mapping[str, Any]) -> bool:
        """Store metadata with the operation; return False if it has ended."""
        if self.ended:
            return False
        self.metadata = {**(self.metadata or {}), **metadata}
        return True

    def known_metadata(self) -> Mapping[str, Any]:
        """Return the metadata that was added so far."""
        return self.metadata or {}


_running: Final[ContextVar[RunningOperation | None]] = ContextVar("cogmeter_running", default=None)

# Assign the tasks that are started from here to this operation, until ``leave``. Bound once, for the listeners.
assign = _running.set
# Return the operation that the running code was started in, also if that has ended. Bound once, for their replies.
started_in = _running.get


class RunningOperations:
    """The running operations. Any thread may begin and end them; nothing here raises."""

    def __init__(self) -> None:
        self._operations: set[RunningOperation] = set()

    def __len__(self) -> int:
        return len(self._operations)

    def __iter__(self) -> Iterator[RunningOperation]:
        return iter(list(self._operations))  # a snapshot; the copy is atomic

    def begin(self, service: str, operation: str, start_ns: int | None = None) -> RunningOperation:
        """Register an operation that begins now, or began at ``start_ns``; its code calls ``enter``."""
        running = RunningOperation(service, operation, now_ns() if start_ns is None else start_ns)
        if len(self._operations) < MAX_RUNNING:
            self._operations.add(running)
        return running

    def end(self, running: RunningOperation) -> None:
        """Remove an operation that has ended; later calls do nothing."""
        running.ended = True
        self._operations.discard(running)

    def clear(self) -> None:
        """Forget all operations: in the child of a fork they do not run."""
        self._operations = set()


def enter(running: RunningOperation) -> Token[RunningOperation | None]:
    """Assign the code that runs from here, in this task and the tasks that it starts, to this operation."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a host that runs its coroutines without asyncio
        task = None
    running.task = None if task is None else weakref.ref(task)
    return _running.set(running)


def pause() -> Token[RunningOperation | None]:
    """Assign the code that is started from here to no operation: it may run longer than the present one."""
    return _running.set(None)


def leave(token: Token[RunningOperation | None]) -> None:
    """Undo ``enter`` or ``pause``. A coroutine may be closed in another context than it was started in."""
    try:
        _running.reset(token)
    except ValueError:
        return


def running_operation() -> RunningOperation | None:
    """Return the operation that the running code belongs to; None if there is none or it has ended."""
    running = _running.get()
    return None if running is None or running.ended else running


def operation_in(context: Context) -> RunningOperation | None:
    """Return the operation that code in this context was started in, also if that has ended. Any thread may call it."""
    return context.get(_running)
