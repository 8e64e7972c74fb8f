"""A thread that notices when the event loop is blocked, and looks at what blocks it while it does.

The loop beats by a timer; the thread wakes when a beat is overdue and reads the stack of the loop's thread. What it saw
is told on the loop, with the next beat. Times are nanoseconds of time.perf_counter_ns.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cogmeter import tracing
from cogmeter.timing import now_ns
from cogmeter.watch.stacks import culprit_of, depth_of, import_roots, shortened, stack_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.tracing import Scope

SAMPLES: Final = 20  # looks at one stall; the place that most of them saw is the culprit
BUSY: Final = 0.3  # of the time, by the process' CPU clock: then something ran, although the watchdog could not
C_CODE: Final = "(no stack: C code held the interpreter)"
NOTHING_RAN: Final = "(no stack: nothing ran in this process)"
NO_TURN: Final = "(no stack: the loop was given no turn)"
TASK_OF_LISTENER: Final = "discord.py: "  # how discord.py names the task of an event's listener
JOIN_S: Final = 2.0

_logger = logging.getLogger("cogmeter.watch")


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the blocked loop."""

    place: str
    stack: tuple[str, ...]  # file:line:function, innermost first
    scope: Scope | None  # the interaction that was running
    task: str  # what was running, if it was no interaction
    late: bool  # whether the watchdog itself could not run just before


@dataclass(frozen=True, slots=True)
class Stall:
    """One stretch in which the loop was blocked. Its begin is known to half a beat."""

    start_ns: int
    end_ns: int
    place: str
    stack: tuple[str, ...]
    scope: Scope | None
    during: str  # the command or listener that was running; empty if unknown


class Watchdog:
    """Watches one loop, from ``start`` (on the loop) to ``stop``. Its callbacks run on the loop."""

    def __init__(self, threshold_ms: float, *, stalled: Callable[[Stall], None], late: Callable[[int], None]) -> None:
        """``stalled`` gets each stall of at least the threshold; ``late`` each beat's lateness in nanoseconds."""
        self._threshold_ns = int(threshold_ms * 1e6)
        # Waking an idle loop costs more than the beat itself: more of them would tell a stall's begin more closely,
        # and take more than half a percent of a core.
        self._beat_every_ns = min(max(self._threshold_ns // 3, 5_000_000), 250_000_000)
        # Earlier than the threshold, so that no stall which reaches it is over before anybody looks.
        self._look_after_ns = self._threshold_ns * 8 // 10
        self._stalled, self._late = stalled, late
        self._samples: list[Sample] = []
        self._beat_ns = 0
        self._beat_cpu_s = 0.0
        self._due_ns = 0  # when the thread wants to wake
        self._overslept_ns = 0  # the longest that it woke too late, since the last beat
        self._paused = False  # the loop was not running at all
        self._base = 0  # frames of the loop itself, below any callback
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def blocked_since_ns(self) -> int | None:
        """Since when the loop is blocked, by time.perf_counter_ns, or None; any thread may ask."""
        due_ns = self._beat_ns + self._beat_every_ns
        blocked = self.alive and not self._paused and now_ns() - due_ns >= self._threshold_ns
        return due_ns if blocked else None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch the loop that this is called on."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._context = contextvars.Context()  # no interaction's context may leak into what outlives it
        self._start_beat(now_ns())
        self._end.clear()
        self._thread = threading.Thread(target=self._run, name="cogmeter-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for that: no longer than it takes to wake it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end.set()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            self._thread = None

    # On the loop.

    def _start_beat(self, at_ns: int) -> None:
        self._samples, self._overslept_ns, self._paused = [], 0, False
        self._beat_cpu_s = time.process_time()
        self._beat_ns = at_ns  # last: the thread looks at this first
        self._timer = self._loop.call_later(self._beat_every_ns / 1e9, self._beat, context=self._context)

    def _beat(self) -> None:
        end_ns = now_ns()
        late_ns = max(end_ns - self._beat_ns - self._beat_every_ns, 0)
        self._loop_thread = threading.get_ident()
        self._base = depth_of(sys._getframe()) - 1  # noqa: SLF001 - the documented way to the running frame
        try:
            if not self._paused:
                self._late(late_ns)
                if late_ns + self._beat_every_ns // 2 >= self._threshold_ns:
                    self._stalled(self._judge(late_ns, end_ns))
        except Exception:
            _logger.exception("A stall of the loop could not be recorded")
        self._start_beat(end_ns)

    def _judge(self, late_ns: int, end_ns: int) -> Stall:
        """The blocking began somewhere between the last beat and the one that was due: in the middle, on average."""
        start_ns = end_ns - late_ns - self._beat_every_ns // 2
        sample, place = self._culprit(late_ns, end_ns)
        if sample is None:
            return Stall(start_ns, end_ns, place, (), None, "")
        if sample.scope is not None:  # not before it arrived, if it did since the last beat
            arrived_ns = sample.scope.trace.start_ns
            start_ns = max(start_ns, min(arrived_ns, end_ns - late_ns))
        during = sample.task if sample.scope is None else sample.scope.trace.label
        return Stall(start_ns, end_ns, place, sample.stack, sample.scope, during)

    def _culprit(self, late_ns: int, end_ns: int) -> tuple[Sample | None, str]:
        samples = list(self._samples)
        overslept_ns = max(self._overslept_ns, end_ns - self._due_ns)
        if not any(not sample.late for sample in samples) and overslept_ns >= late_ns // 2:
            # The watchdog could not run either. By CPU time, because a stopped process or container has its clocks
            # go on like those of one that works. C code that lets go may still be found by the line that called it.
            busy = time.process_time() - self._beat_cpu_s >= BUSY * late_ns / 1e9
            samples = [sample for sample in samples if busy and sample.stack]
            if not samples:
                return None, C_CODE if busy else NOTHING_RAN
        if not samples:
            return None, NO_TURN
        place, _ = Counter(sample.place for sample in samples).most_common(1)[0]
        return next(sample for sample in samples if sample.place == place), place

    # On the thread.

    def _run(self) -> None:
        while not self._loop.is_closed():
            now = now_ns()
            if not self._loop.is_running():
                self._paused = True
            overdue_ns = now - self._beat_ns - self._look_after_ns
            if overdue_ns < 0:
                wait_ns = -overdue_ns
            else:
                self._look()
                wait_ns = self._threshold_ns // 2
            self._due_ns = now_ns() + wait_ns
            if self._end.wait(wait_ns / 1e9):
                return
            self._overslept_ns = max(self._overslept_ns, now_ns() - self._due_ns)

    def _look(self) -> None:
        samples = self._samples
        if self._paused or len(samples) >= SAMPLES or not self._base:
            return
        try:
            samples.append(self._sample())
        except Exception as error:
            _logger.debug("Could not look at the blocked loop", exc_info=error)

    def _sample(self) -> Sample:
        late = self._overslept_ns >= self._look_after_ns // 2
        # A frame must not be kept: it would hold the host's objects.
        stack = stack_of(sys._current_frames().get(self._loop_thread), self._base)  # noqa: SLF001 - the documented way
        culprit = culprit_of(stack)
        if culprit is None:
            return Sample(NO_TURN, (), None, "", late)
        roots = import_roots()
        scope, task = _running(self._loop)
        shown = tuple(str(shortened(frame, roots)) for frame in stack)
        return Sample(shortened(culprit, roots).place, shown, scope, task, late)


def _running(loop: asyncio.AbstractEventLoop) -> tuple[Scope | None, str]:
    """The interaction that the loop's current task belongs to, and a name for the task without ids."""
    task = asyncio.current_task(loop)
    if task is None:
        return None, ""
    context = _context_of(task)
    scope = None if context is None else tracing.scope_in(context)
    name = task.get_name()
    if name.startswith(TASK_OF_LISTENER):
        return scope, name.removeprefix(TASK_OF_LISTENER)
    # Other names of discord.py's and of hosts hold ids; that of the coroutine's function does not.
    return scope, getattr(task.get_coro(), "__qualname__", "")


def _context_of(task: asyncio.Task[Any]) -> contextvars.Context | None:
    """The context that a task runs in. Python 3.11 has no way to ask, but its garbage collector knows."""
    if sys.version_info >= (3, 12):
        return task.get_context()
    held = gc.get_referents(task)
    return next((one for one in held if isinstance(one, contextvars.Context)), None)
