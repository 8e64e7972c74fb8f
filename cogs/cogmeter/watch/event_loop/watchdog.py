"""A thread that detects a blocked event loop and reads the stack of what blocks it.

The thread checks the loop's thread a few times within the threshold. If the loop is working, it schedules a callback on
the loop and reads the stack until the callback runs. The callback reports the result on the loop. Times are nanoseconds
of time.perf_counter_ns. There is no timer on the loop: waking an idle loop would cost more than everything else here,
and would advance a simulated clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.recording import tracing
from cogmeter.recording.frames import import_roots, outer_frames, thread_frames
from cogmeter.recording.operation import now_ns
from cogmeter.recording.stall_places import C_CODE, COLLECTION, NO_TURN, NOTHING_RAN
from cogmeter.watch.background.coroutines import Wrappers, context_of
from cogmeter.watch.event_loop.stacks import StackLine, culprit_of, shortened, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, FrameType

    from cogmeter.recording.tracing import Scope
    from cogmeter.watch.garbage import Pauses

SAMPLES: Final = 20  # stacks per stall; the place in most of them is the cause
BUSY: Final = 0.3  # share of CPU time from which code ran although the watchdog's thread could not
TASK_OF_LISTENER: Final = "discord.py: "  # the prefix of the names of discord.py's listener tasks
JOIN_S: Final = 2.0
_RUN_EVENT: Final = getattr(getattr(discord.Client, "_run_event", None), "__code__", None)  # runs each listener
ANSWER_AT_LEAST_NS: Final = 2_000_000_000  # after this time the callback is scheduled in any case

_logger = logging.getLogger("cogmeter.watch")


@dataclass(frozen=True, slots=True)
class Sample:
    """One stack of a working loop."""

    stack: list[StackLine]  # innermost first; empty if the loop itself was working
    scope: Scope | None  # the running interaction
    task: str  # the running task, if there was no interaction
    late: bool  # the watchdog's thread itself could not run just before

    @property
    def culprit(self) -> StackLine | None:
        """Return the frame that blocks."""
        return culprit_of(self.stack)


@dataclass(frozen=True, slots=True)
class BlockedLoop:
    """A period in which the loop was blocked. Its start is accurate to a fifth of the threshold."""

    start_ns: int
    end_ns: int
    place: str
    stack: tuple[str, ...]
    scope: Scope | None
    during: str  # the running command or listener; empty if unknown


class Watchdog:
    """Watches one loop from ``start``, which is called on the loop, to ``stop``. Its callbacks run on the loop."""

    def __init__(
        self,
        threshold_ms: float,
        *,
        stalled: Callable[[BlockedLoop], None],
        late: Callable[[int], None],
        pauses: Pauses | None = None,
    ) -> None:
        """Call ``stalled`` with each stall of at least the threshold, and ``late`` with each measured lag in ns.

        A stall that is mostly ``pauses`` of the garbage collector is named so, not by the line in which one began.
        Checks that find the loop waiting for events are counted in ``quiet`` instead.
        """
        self._threshold_ns = int(threshold_ms * 1e6)
        # Waking up is nearly the whole cost of a check.
        self._every_ns = max(self._threshold_ns * 2 // 5, 5_000_000)
        self._stalled, self._late = stalled, late
        self._pauses = pauses
        self.quiet = 0
        self._samples: list[Sample] = []
        self._called_ns = 0  # when the callback was scheduled
        self._waiting = False  # the callback has not run yet
        self._well_ns = 0  # when the callback last ran or the loop was quiet, and the CPU time of the process then
        self._well_cpu_s = 0.0
        self._due_ns = 0  # when the thread should wake up
        self._overslept_ns = 0  # the longest delay of a wake-up since the last callback
        self._paused = False  # the loop was not running
        self._base = 0  # frames of the loop itself, below any callback; 0 if unknown
        self._wrappers = Wrappers()
        self._working: tuple[CodeType, ...] = ()  # the innermost of these frames while the loop runs callbacks
        self._loop_thread = 0
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def blocked_since_ns(self) -> int | None:
        """Return since when the loop has been blocked, or None. Works in any thread."""
        called_ns = self._called_ns
        blocked = self.alive and self._waiting and not self._paused and now_ns() - called_ns >= self._threshold_ns
        return called_ns if blocked else None

    @property
    def blocked_at(self) -> str:
        """Return the line that blocks the loop now, as far as it is known. Works in any thread."""
        culprit = next((sample.culprit for sample in reversed(list(self._samples)) if sample.culprit), None)
        return "an unknown place" if culprit is None else shortened(culprit, import_roots()).place

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start watching the running loop."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._wrappers.learn(loop)
        self._context = contextvars.Context()  # the callback runs in no interaction's context
        self._restart_check(now_ns())
        self._due_ns = 0
        self._end.clear()
        self._thread = threading.Thread(target=self._run, name="cogmeter-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait up to JOIN_S for its end."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            self._thread = None

    # On the loop.

    def _restart_check(self, at_ns: int) -> None:
        self._samples, self._overslept_ns, self._paused = [], 0, False
        self._well_ns, self._well_cpu_s = at_ns, time.process_time()
        self._waiting = False  # last: now the thread may schedule the callback again

    def _answer(self) -> None:
        end_ns = now_ns()
        self._loop_thread = threading.get_ident()
        self._know_base(sys._getframe(1))  # noqa: SLF001 - the documented way to the caller's frame
        try:
            if not (self._paused or self._end.is_set()):
                self._late(end_ns - self._called_ns)
                # The loop became blocked between these two times: in the middle, on average.
                start_ns = (self._well_ns + self._called_ns) // 2
                if end_ns - start_ns >= self._threshold_ns:
                    self._stalled(self._judge(start_ns, end_ns))
        except Exception:
            _logger.exception("A stall of the loop could not be recorded")
        self._wrappers.learn(self._loop)
        self._restart_check(end_ns)

    def _know_base(self, caller: FrameType) -> None:
        outer = caller.f_back
        self._working = (caller.f_code,) if outer is None else (caller.f_code, outer.f_code)
        self._base = len(outer_frames(caller))

    def _judge(self, start_ns: int, end_ns: int) -> BlockedLoop:
        if self._pauses is not None and 2 * self._pauses.within(start_ns, end_ns) > end_ns - start_ns:
            return BlockedLoop(start_ns, end_ns, COLLECTION, (), None, "")
        samples, no_place = self._relevant(end_ns - self._called_ns, end_ns)
        if not samples:
            return BlockedLoop(start_ns, end_ns, no_place, (), None, "")
        culprit, _ = Counter(sample.culprit for sample in samples).most_common(1)[0]
        sample = next(sample for sample in samples if sample.culprit == culprit)
        roots = import_roots()
        place = no_place if culprit is None else shortened(culprit, roots).place
        if sample.scope is not None:  # not before the interaction arrived
            start_ns = max(start_ns, min(sample.scope.trace.start_ns, self._called_ns))
        during = sample.task if sample.scope is None else sample.scope.trace.label
        stack = tuple(str(shortened(frame, roots)) for frame in sample.stack)
        return BlockedLoop(start_ns, end_ns, place, stack, sample.scope, during)

    def _relevant(self, late_ns: int, end_ns: int) -> tuple[list[Sample], str]:
        """Return the samples that show what blocked the loop, and the place to name if they show nothing."""
        samples = list(self._samples)
        in_time = any(not sample.late for sample in samples)
        if in_time or max(self._overslept_ns, end_ns - self._due_ns) < late_ns // 2:
            return samples, NO_TURN
        # The watchdog could not run either. CPU time distinguishes C code from a stopped process or container, whose
        # clocks continue. C code that releases the interpreter's lock may still be found by the line that called it.
        busy = time.process_time() - self._well_cpu_s >= BUSY * late_ns / 1e9
        return [sample for sample in samples if busy and sample.stack], C_CODE if busy else NOTHING_RAN

    # On the thread.

    def _run(self) -> None:
        while not (self._end.is_set() or self._loop.is_closed()):
            if not self._loop.is_running():
                self._paused, self._base = True, 0
            elif self._waiting:
                self._look(thread_frames(self._loop_thread))
            else:
                self._check(thread_frames(self._loop_thread))
            self._due_ns = now_ns() + self._every_ns
            self._end.wait(self._every_ns / 1e9)
            self._overslept_ns = max(self._overslept_ns, now_ns() - self._due_ns)

    def _check(self, frames: Sequence[FrameType]) -> None:
        now = now_ns()
        if self._is_quiet(frames) and not self._overslept() and now - self._called_ns < ANSWER_AT_LEAST_NS:
            self._well_ns, self._well_cpu_s = now, time.process_time()
            self._overslept_ns = 0
            self.quiet += 1
            return
        self._look(frames)
        self._called_ns = self._due_ns or now  # since it was due: what delayed this thread may have blocked the loop
        self._waiting = True
        with contextlib.suppress(RuntimeError):  # the loop was closed just now
            self._loop.call_soon_threadsafe(self._answer, context=self._context)

    def _is_quiet(self, frames: Sequence[FrameType]) -> bool:
        """Return whether the loop waits for events, and neither runs a callback nor is between two callbacks."""
        return 0 < len(frames) <= self._base and frames[0].f_code not in self._working

    def _overslept(self) -> bool:
        return self._overslept_ns >= self._every_ns // 2

    def _look(self, frames: Sequence[FrameType]) -> None:
        """Store a sample. The frames are not kept: they would keep the host's objects alive."""
        samples = self._samples
        if self._paused or len(samples) >= SAMPLES or not self._base:
            return
        try:
            running = _running(self._loop, frames, self._wrappers.codes)
            samples.append(Sample(stack_of(frames, self._base), *running, self._overslept()))
        except Exception as error:
            _logger.debug("Could not read the stack of the blocked loop", exc_info=error)


def _running(
    loop: asyncio.AbstractEventLoop, frames: Sequence[FrameType], wrappers: frozenset[CodeType]
) -> tuple[Scope | None, str]:
    """Return the interaction of the loop's current task, and a name of the task without ids."""
    task = asyncio.current_task(loop)
    if task is None:
        return None, ""
    context = context_of(task)
    scope = None if context is None else tracing.scope_in(context)
    name = task.get_name()
    if name.startswith(TASK_OF_LISTENER):
        return scope, name.removeprefix(TASK_OF_LISTENER)
    # Other task names may contain ids; the name of the coroutine's function does not.
    coroutine: Any = task.get_coro()
    code = getattr(coroutine, "cr_code", None)
    wrapped = code is None or code in wrappers or code is _RUN_EVENT
    return scope, (_inside(frames, wrappers) if wrapped else "") or getattr(coroutine, "__qualname__", "")


def _inside(frames: Sequence[FrameType], wrappers: frozenset[CodeType]) -> str:
    """Return the listener's event or the outermost function that runs inside a task factory's wrappers."""
    name = ""
    for frame in frames if wrappers else ():
        if frame.f_code is _RUN_EVENT:  # the factory may have renamed the task
            return str(frame.f_locals.get("event_name", ""))
        if frame.f_code not in wrappers:
            name = frame.f_code.co_qualname
    return name
