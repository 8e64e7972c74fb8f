"""Records loops of discord.ext.tasks: duration and start delay of each iteration, and loops that died."""

from __future__ import annotations

import asyncio
import functools
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

from discord.ext import commands
from discord.ext.tasks import Loop

from cogmeter.alerts.model import LoopState
from cogmeter.diagnosis import Finding
from cogmeter.recording import running, tracing
from cogmeter.recording.operation import error_text, now_ns
from cogmeter.recording.service_names import TASKS
from cogmeter.watch.background.coroutines import objects_in
from cogmeter.watch.background.overdue import Progress, overdue
from cogmeter.watch.client import bot_of
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.surface import Surface, WatchContext, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType
    from typing import TypeAlias

    from cogmeter.recording.running import RunningOperation

    AnyLoop: TypeAlias = Loop[Any]
    Body: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

LATE_MS: Final = 50.0  # a busy event loop alone delays by a few milliseconds
DIED: Final = "the loop died: "
_LOOP: Final = getattr(getattr(Loop, "_loop", None), "__code__", None)  # what awaits the body; no public name


class BackgroundLoops(Surface):
    """One operation for each iteration. A loop that died is recorded once, and is a finding of the doctor.

    ``stop()``, ``cancel()`` and the end of ``count`` are not deaths. Loops that run already are found among the tasks;
    later ones pass ``Loop.start``. Without that hook they are searched whenever samples are taken.
    """

    name = "tasks"
    setting = "watch_tasks"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._watching = False
        self._loops: WeakSet[AnyLoop] = WeakSet()
        self._bodies: WeakSet[Body] = WeakSet()  # our wrappers, to recognise copied ones
        self._progress: WeakKeyDictionary[AnyLoop, Progress] = WeakKeyDictionary()
        self._dead: WeakKeyDictionary[AnyLoop, str] = WeakKeyDictionary()  # with what ended it

    def prepare(self) -> None:
        """Hook the class's method, because a cog's loop is copied for each instance of the cog."""
        self.hooks.append(Hook("task loops", Loop, "start", self._start, expects=["args", "kwargs"]))

    async def install(self) -> None:
        """Install the hook and wrap the loops that run already."""
        await super().install()
        self._watching = True
        self._find()

    async def remove(self) -> None:
        """Remove the hook and restore every loop's own body."""
        await super().remove()
        self._watching = False
        for loop in list(self._loops):
            if loop.coro in self._bodies:
                loop.coro = loop.coro.__wrapped__
            task = loop.get_task()
            if task is not None:
                task.remove_done_callback(self._ended)
        self._loops.clear()
        self._progress.clear()
        self._dead.clear()

    def sample(self) -> dict[str, float]:
        """Search for new loops if their start is not hooked. There are no gauges."""
        if not self.hooks[0].active:
            self._find()
        return {}

    def findings(self) -> list[Finding]:
        """Return the findings of the hook, and of every loop that died and was not started again."""
        advice = "Fix the error that ended the loop, and start it again (reload its cog)"
        dead = [
            Finding(self.name, well=False, text=f"{qualified(loop.coro)}: {DIED}{text}", advice=advice)
            for loop, text in self._dead_loops()
        ]
        return super().findings() + dead

    def loops(self) -> list[LoopState]:
        """Return the loops that died and were not started again, and the overdue ones."""
        dead = [LoopState(_name(loop), dead=True, overdue_s=0.0, text=text) for loop, text in self._dead_loops()]
        states = (self._overdue(loop) for loop in list(self._loops))
        return dead + [state for state in states if state is not None]

    def _dead_loops(self) -> list[tuple[AnyLoop, str]]:
        """Return the dead loops with the error that ended each, without loops of removed cogs."""
        return [(loop, text) for loop, text in list(self._dead.items()) if not self._removed(loop)]

    def _removed(self, loop: AnyLoop) -> bool:
        cog = getattr(loop, "_injected", None)  # the object whose method the loop is; no public name
        bot = bot_of(self.context.bot)
        return bot is not None and isinstance(cog, commands.Cog) and bot.get_cog(cog.qualified_name) is not cog

    def _overdue(self, loop: AnyLoop) -> LoopState | None:
        """Return the state of an overdue loop; None if it is not overdue or this is unknown."""
        due, progress = loop.next_iteration, self._progress.get(loop)
        idle = not loop.is_running() or loop.is_being_cancelled() or _retrying(loop)
        if due is None or idle or progress is None or not progress.ended:
            return None
        interval_s = (due - loop._last_iteration).total_seconds()  # noqa: SLF001 - the time before due; no public name
        # A loop whose iterations take longer than its interval is always late, but it works.
        late_s = min((datetime.now(UTC) - due).total_seconds(), progress.stuck_s(interval_s))
        if not overdue(late_s, interval_s):
            return None
        text = "it was not woken" if progress.begun_ns is None else "its iteration does not end"
        return LoopState(_name(loop), dead=False, overdue_s=late_s, text=text)

    def _start(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def start(loop: AnyLoop, *args: Any, **kwargs: Any) -> Any:
            if not hook.active:
                return original(loop, *args, **kwargs)
            try:
                self._adopt(loop)
            except Exception as error:  # noqa: BLE001 - our fault must not keep the host's loop from starting
                hook.fault(error)
            # A loop that a command starts does not belong to the command: it continues after the command's end.
            token, outer = tracing.pause(), running.pause()
            try:
                task = original(loop, *args, **kwargs)
            finally:
                tracing.end(token)
                running.leave(outer)
            self._follow(loop, task)
            return task

        return start

    def _find(self) -> None:
        """Wrap every loop that runs in this event loop."""
        for task in asyncio.all_tasks():
            try:
                loop = _loop_of(task)
                if loop is not None:
                    self._adopt(loop)
                    self._follow(loop, task)
            except Exception as error:  # noqa: BLE001 - a loop that cannot be read is not recorded
                self.hooks[0].fault(error)

    def _adopt(self, loop: AnyLoop) -> None:
        """Wrap the loop's body, once."""
        if loop in self._loops and loop.coro in self._bodies:
            return
        body = loop.coro.__wrapped__ if loop.coro in self._bodies else loop.coro  # copied with ours in it
        if own_module(body):
            return
        loop.coro = self._around(loop, body)
        self._bodies.add(loop.coro)
        self._loops.add(loop)

    def _follow(self, loop: AnyLoop, task: asyncio.Task[None]) -> None:
        """Follow the loop's task to its end."""
        if loop in self._loops:
            self._dead.pop(loop, None)
            self._progress[loop].follow(task)
            task.remove_done_callback(self._ended)
            task.add_done_callback(self._ended)

    def _around(self, loop: AnyLoop, body: Body) -> Body:
        recorder, name = self.context.recorder, fitted(qualified(body))
        series = recorder.series(TASKS, name)
        progress = self._progress.setdefault(loop, Progress())

        @functools.wraps(body)  # discord.py names the loop by it, in logs and as the cog's attribute
        async def iteration(*args: Any, **kwargs: Any) -> Any:
            # A call of the loop as a function belongs to its caller.
            if not (self._watching and _runs(loop)):
                return await body(*args, **kwargs)
            late_ms = _late_ms(loop)
            operation = recorder.running.begin(TASKS, name)
            token = running.enter(operation)
            progress.begin()
            try:
                result = await body(*args, **kwargs)
            except BaseException as error:
                self._failed(loop, series, operation, late_ms, error)
                raise
            finally:
                progress.end()
                recorder.running.end(operation)
                running.leave(token)
            metadata = _metadata(late_ms, operation)
            recorder.add_timed(series, operation.start_ns, now_ns(), Outcome.OK, metadata=metadata)
            return result

        return iteration

    def _failed(
        self, loop: AnyLoop, series: int, operation: RunningOperation, late_ms: float, error: BaseException
    ) -> None:
        """Record a failed iteration, and whether it ends the loop."""
        if isinstance(error, GeneratorExit):  # the event loop was closed
            return
        try:
            outcome, cause = outcome_of(error), cause_of(error)
            text = error_text(cause)
            if _ends_loop(loop, error):
                self._dead[loop] = text
                outcome, text = Outcome.ERROR, DIED + text
            metadata = _metadata(late_ms, operation)
            self.context.recorder.add_timed(
                series, operation.start_ns, now_ns(), outcome, error=text, failure=cause, metadata=metadata
            )
        except Exception as fault:  # noqa: BLE001 - discord.py must get the host's exception in any case
            self.hooks[0].fault(fault)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Record a death outside of an iteration: before the first one, or after a failure."""
        try:
            loop = next((loop for loop in self._loops if loop.get_task() is task), None)
            error = _end_of(task)
            if loop is None or error is None or loop in self._dead:
                return
            cause = cause_of(error)
            text = self._dead[loop] = error_text(cause)
            series = self.context.recorder.series(TASKS, _name(loop))
            ended_ns = now_ns()
            self.context.recorder.add_timed(series, ended_ns, ended_ns, Outcome.ERROR, error=DIED + text, failure=cause)
        except Exception as fault:  # noqa: BLE001 - asyncio would only log it
            self.hooks[0].fault(fault)


def _loop_of(task: asyncio.Task[Any]) -> AnyLoop | None:
    """Return the loop that a task runs, also inside the wrapper of a task factory."""
    loops: Iterator[AnyLoop] = objects_in(task.get_coro(), Loop)  # nothing else leads from a task to its loop
    return next((loop for loop in loops if loop.get_task() is task), None)


def _runs(loop: AnyLoop) -> bool:
    """Return whether the loop itself made this call of its body, and not a host that calls it as a function.

    A task factory may start the body before the loop knows its task, or in another task.
    """
    task = loop.get_task()
    if task is not None and asyncio.current_task() is task:
        return True
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - the documented way to the frame that awaits the body
    while frame is not None and frame.f_code is not Loop.__call__.__code__:
        if frame.f_code is _LOOP:
            return frame.f_locals.get("self") is loop
        frame = frame.f_back
    return False


def _name(loop: AnyLoop) -> str:
    """Return the name of the loop's operations."""
    return fitted(qualified(loop.coro))


def _retrying(loop: AnyLoop) -> bool:
    """Return whether the loop waits to retry a failed iteration; the wait grows with each attempt."""
    return bool(getattr(loop, "_last_iteration_failed", False))  # no public name


def _late_ms(loop: AnyLoop) -> float:
    """Return the start delay of the iteration in milliseconds; 0 if it is small or unknown."""
    try:
        if loop._last_iteration_failed:  # noqa: SLF001 - a retry has no due time
            return 0.0
        late_ms = (datetime.now(UTC) - loop._last_iteration).total_seconds() * 1000  # noqa: SLF001 - the due time; no public name
    except (AttributeError, TypeError):
        return 0.0
    return round(late_ms, 1) if late_ms >= LATE_MS else 0.0


def _metadata(late_ms: float, operation: RunningOperation) -> dict[str, Any] | None:
    """Return the metadata of an iteration; None if there is none."""
    values = {"late_ms": late_ms, "logged_errors": operation.logged_errors}
    return {**{name: value for name, value in values.items() if value}, **operation.known_metadata()} or None


def _ends_loop(loop: AnyLoop, error: BaseException) -> bool:
    """Return whether this exception of an iteration ends the loop unintentionally."""
    task = loop.get_task()
    if isinstance(error, asyncio.CancelledError):
        # The loop was not cancelled, but something that it awaited: discord.py then ends it silently.
        return task is not None and not _cancelling(task)
    retried = loop.reconnect and isinstance(error, loop._valid_exception)  # noqa: SLF001 - no public name
    return isinstance(error, Exception) and not retried


def _cancelling(task: asyncio.Task[None]) -> bool:
    """Return whether the task was cancelled on purpose; True for a plain future, which does not know."""
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or bool(cancelling())


def _end_of(task: asyncio.Task[None]) -> BaseException | None:
    """Return the error that ended a loop's task; None if it was stopped, cancelled, or finished."""
    if task.cancelled():
        return None if _cancelling(task) else asyncio.CancelledError("something that it awaited was cancelled")
    error: BaseException | None = getattr(task, "_exception", None)  # task.exception() would silence asyncio's warning
    return error
