"""What runs now, with the line that it waits in: registered operations, listeners, and tracked operations.

The last two are found on demand, and cost nothing while they run. The stack of a suspended coroutine has the bound
``__exit__`` or ``__aexit__`` of each ``with`` block that it is in, and Python's garbage collector can name the objects
on it; the frame of a decorator has the start of the call, that of a listener its ``RunningOperation``. Of the host's
frames only code objects and line numbers are read, never variables.

A ``with`` block in a thread is not found: the stack of a running frame cannot be read. Decorated calls in threads are.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import dataclass
from threading import get_ident
from types import AsyncGeneratorType, CellType, CodeType, CoroutineType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cogmeter.recording import decorators
from cogmeter.recording.background import Slicer
from cogmeter.recording.frames import all_thread_frames, place_of, short_name
from cogmeter.recording.operation import Operation, now_ns
from cogmeter.recording.running import RunningOperation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

    from cogmeter.recording.recorder import Recorder

MAX_TASKS: Final = 20_000  # that are searched
MAX_DEPTH: Final = 100  # frames of one chain of awaits, or of one thread
_EXITS: Final = ("__exit__", "__aexit__")
_AWAITED: Final = ("cr_await", "gi_yieldfrom", "ag_await")
_CODE: Final = {CoroutineType: "cr_code", GeneratorType: "gi_code", AsyncGeneratorType: "ag_code"}
_FRAMES: Final = ("cr_frame", "gi_frame", "ag_frame")
_WRAPPERS: Final = decorators.wrapper_codes()
_WAIT_FOR: Final = getattr(asyncio.wait_for, "__code__", None)  # Python 3.11 runs what it awaits in a task of its own

_logger = logging.getLogger("cogmeter.runtime")


@dataclass(frozen=True, slots=True)
class Running:
    """An operation that has begun and not ended."""

    service: str
    operation: str
    age_s: float
    line: str  # where it waits: "bot.py:42 in ask, waiting in openai/_base_client.py:1500 in request"; may be empty
    outer: tuple[str, str] | None = None  # names of the outermost operation in the same task, if it is another one
    for_user: bool = False  # it waits for a user's press or message


@dataclass(frozen=True, slots=True)
class UserWaits:
    """How code waits for a user: in one of these functions, or for one of these futures."""

    codes: frozenset[CodeType] = frozenset()
    futures: frozenset[int] = frozenset()  # their ids


class _Entry(NamedTuple):
    """A running operation, and what its line is read from."""

    start_ns: int
    service: str
    operation: str
    source: asyncio.Task[Any] | int | None  # its task, or the id of its thread
    outer: tuple[str, str] | None = None


class RunningReader:
    """The running operations of one recorder at one moment, longest first."""

    def __init__(self, recorder: Recorder, user_waits: UserWaits) -> None:
        self._recorder = recorder
        self._user_waits = user_waits
        self._now_ns = 0
        self._entries: list[_Entry] = []
        self._seen: set[int] = set()  # ids of suspended frames and operations
        self._registered: dict[RunningOperation, asyncio.Task[Any] | int | None] = {}  # with what each runs in
        self._by_code: dict[CodeType, RunningOperation] = {}

    @classmethod
    async def read(cls, recorder: Recorder, user_waits: UserWaits | None = None) -> RunningReader:
        """Find the running operations, in short pieces on the event loop."""
        reader = cls(recorder, user_waits or UserWaits())
        await reader._find()
        return reader

    def __len__(self) -> int:
        return len(self._entries)

    async def page(self, limit: int, offset: int = 0) -> list[Running]:
        """Return some of the operations, with their lines as of now."""
        return await self._with_lines(self._entries[offset : offset + limit])

    async def oldest(self, min_age_s: float) -> list[Running]:
        """Return the oldest operation of each name that runs for at least this long."""
        found: dict[tuple[str, str], _Entry] = {}
        for entry in self._entries:  # the oldest first
            if (self._now_ns - entry.start_ns) / 1e9 < min_age_s:
                break
            found.setdefault((entry.service, entry.operation), entry)
        return await self._with_lines(found.values())

    async def _find(self) -> None:
        slicer = Slicer()
        for running in self._recorder.running:
            self._registered[running] = None if running.task is None else running.task()
            if running.code is not None:
                self._by_code[running.code] = running
        for thread_id, frames in all_thread_frames().items():
            if thread_id != get_ident():
                self._look_into_thread(thread_id, frames)
                await slicer.pause()
        for _, task in zip(range(MAX_TASKS), asyncio.all_tasks(), strict=False):
            if not task.done():
                self._look_into_task(task)
                await slicer.pause()
        for running, source in self._registered.items():
            if not running.ended:
                self._add(running.start_ns, (running.service, running.operation), source)
        self._now_ns = now_ns()
        self._sort()

    def _sort(self) -> None:
        """Sort the operations, the longest first, and note the outermost one in the task of each."""
        self._entries.sort(key=lambda entry: entry.start_ns)
        outermost: dict[Any, _Entry] = {}
        for place, entry in enumerate(self._entries):
            outer = entry if entry.source is None else outermost.setdefault(entry.source, entry)
            if outer is not entry:
                self._entries[place] = entry._replace(outer=(outer.service, outer.operation))

    def _look_into_task(self, task: asyncio.Task[Any]) -> None:
        try:
            for suspended in _chain(task, follow=False):
                self._look_into(suspended, task)
        except Exception as error:  # a task of another library's kind
            _logger.debug("The stack of a task could not be read", exc_info=error)

    def _look_into(self, suspended: Any, task: asyncio.Task[Any]) -> None:
        """Find the operations that a suspended frame is in, and those of its decorated generators."""
        if id(suspended) in self._seen:
            return
        self._seen.add(id(suspended))
        code, referents = _code_of(suspended), gc.get_referents(suspended)
        if code in self._by_code:
            self._registered[self._by_code.pop(code)] = task
        if code in _WRAPPERS:
            self._add_decorated(referents, task)
        for referent in referents:
            kind = type(referent)  # not isinstance: it may run the code of a host's proxy object
            if issubclass(kind, RunningOperation):
                self._registered[referent] = task
            elif kind is MethodType:
                if issubclass(type(referent.__self__), Operation) and referent.__name__ in _EXITS:
                    self._add_tracked(referent.__self__, task)
            elif _code_of(referent) in _WRAPPERS:
                self._look_into(referent, task)

    def _add_tracked(self, operation: Operation, task: asyncio.Task[Any]) -> None:
        if operation.sink is self._recorder and id(operation) not in self._seen:
            self._seen.add(id(operation))
            self._add(operation.start_ns, operation.names, task)

    def _add_decorated(self, referents: list[Any], task: asyncio.Task[Any]) -> None:
        """Add the decorated call whose frame has these referents: the start, and the cells of the closure."""
        start_ns = next((referent for referent in referents if type(referent) is int), None)
        cells = [referent.cell_contents for referent in referents if isinstance(referent, CellType)]
        series = next((value for value in cells if type(value) is int), None)
        if start_ns is not None and series is not None and self._recorder.finish in cells:
            self._add(start_ns, self._recorder.names[series], task)

    def _look_into_thread(self, thread_id: int, frames: list[FrameType]) -> None:
        """Find the job and the decorated calls of functions that a thread is in."""
        for frame in frames[:MAX_DEPTH]:
            code = frame.f_code
            if code in self._by_code:
                self._registered[self._by_code.pop(code)] = thread_id
            if code in _WRAPPERS:
                values = frame.f_locals  # of cogmeter's own frame: it keeps nothing that the frame does not keep
                start_ns, series = values.get("start"), values.get("series")
                if start_ns is not None and series is not None and values.get("finish") == self._recorder.finish:
                    self._add(start_ns, self._recorder.names[series], thread_id)

    def _add(self, start_ns: int, names: tuple[str, str], source: asyncio.Task[Any] | int | None) -> None:
        service, operation = names
        self._entries.append(_Entry(start_ns, service, operation, source))

    async def _with_lines(self, entries: Iterable[_Entry]) -> list[Running]:
        slicer = Slicer()
        threads = all_thread_frames()
        operations: list[Running] = []
        for entry in entries:
            age_s = (self._now_ns - entry.start_ns) / 1e9
            line, for_user = self._line(entry.source, threads)
            operations.append(Running(entry.service, entry.operation, age_s, line, entry.outer, for_user))
            await slicer.pause()
        return operations

    def _line(self, source: asyncio.Task[Any] | int | None, threads: dict[int, list[FrameType]]) -> tuple[str, bool]:
        """Return the line that a task or thread is in, and whether it waits there for a user."""
        if isinstance(source, int):
            stack = [(frame.f_code, frame.f_lineno or 0) for frame in threads.get(source, [])[:MAX_DEPTH]]
            return _written(reversed(stack)), False
        if source is None or source.done():
            return "", False
        return line_of(source), any(map(self._is_for_user, _chain(source, futures=True)))

    def _is_for_user(self, wait: Any) -> bool:
        code, known = _code_of(wait), self._user_waits
        if code is _WAIT_FOR:  # it waits for a future of its own, until the future in its variables is done
            return any(id(value) in known.futures for value in gc.get_referents(wait))
        return code in known.codes or id(wait) in known.futures


def line_of(task: asyncio.Task[Any]) -> str:
    """Return the innermost line of the host's code that a task waits in, and the library's line below it."""
    frames = (_location(suspended) for suspended in _chain(task))
    return _written(frame for frame in frames if frame is not None)


def _chain(task: asyncio.Task[Any], *, follow: bool = True, futures: bool = False) -> Iterator[Any]:
    """Yield the suspended coroutines and generators that a task waits in, outermost first.

    With ``follow`` the chain continues in the task that it waits for, with ``futures`` it has the futures, too.
    """
    waiting: Any = task.get_coro()
    for _ in range(MAX_DEPTH):
        if waiting is None:
            return
        if _is_suspended(type(waiting)) or (futures and _is_future(type(waiting))):
            yield waiting
        waiting = _awaited(waiting, follow=follow)


def _awaited(waiting: Any, *, follow: bool) -> Any:
    """Return what a coroutine, generator, helper object of Python, or future waits for; None at the end."""
    kind = type(waiting)
    if _is_future(kind):
        children = getattr(waiting, "_children", ())  # of asyncio.gather
        pending = next((child for child in children if not child.done()), waiting)
        return pending.get_coro() if follow and isinstance(pending, asyncio.Task) else None
    referents = gc.get_referents(waiting)
    if not _is_suspended(kind):
        return next((value for value in referents if _is_suspended(type(value)) or _is_future(type(value))), None)
    if follow and _code_of(waiting) is _WAIT_FOR:
        task = next((value for value in referents if issubclass(type(value), asyncio.Task)), None)
        if task is not None:
            return task
    return next((getattr(waiting, name) for name in _AWAITED if hasattr(waiting, name)), None)


def _is_suspended(kind: type) -> bool:
    """Return whether objects of this type are coroutines or generators, also those of Cython."""
    return any(hasattr(kind, name) for name in _AWAITED)


def _is_future(kind: type) -> bool:
    return issubclass(kind, asyncio.Future)


def _code_of(suspended: Any) -> CodeType | None:
    """Return the code of a coroutine or generator."""
    name = _CODE.get(type(suspended))
    return None if name is None else getattr(suspended, name)


def _location(suspended: Any) -> tuple[CodeType, int] | None:
    """Return code and line of a suspended coroutine or generator."""
    frame = next((frame for name in _FRAMES if (frame := getattr(suspended, name, None)) is not None), None)
    return None if frame is None else (frame.f_code, frame.f_lineno or frame.f_code.co_firstlineno)


def _written(stack: Iterable[tuple[CodeType, int]]) -> str:
    """Return the innermost own line of a stack, outermost first, and the innermost one if that is a library's."""
    own = innermost = ""
    for code, line in stack:
        file, ours = place_of(code.co_filename)
        innermost = f"{file}:{line} in {short_name(code.co_qualname)}"
        if ours:
            own = innermost
    if own in {"", innermost}:
        return own or (f"waiting in {innermost}" if innermost else "")
    return f"{own}, waiting in {innermost}"
