"""Records replies: runs of message listeners that send a message or type, from the arrival to the last output.

The REST surface notes each message, edit and typing; the context variable of the running operation names the run that
it belongs to, also in tasks that the listener started. A run replies once. Its reply ends with the listener, or later
with the last task that sends for it: a listener may only start a task and return.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import discord

from cogmeter.recording import tracing
from cogmeter.recording.operation import error_text, now_ns, tenths_ms
from cogmeter.recording.running import started_in
from cogmeter.recording.service_names import REPLIES
from cogmeter.watch.background.listener_run import ListenerRun
from cogmeter.watch.interactions.arrivals import message_arrived_ns
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter_storage.model import FAILURES, Outcome
from cogmeter_storage.usage import DM, GUILD

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.recording.recorder import Recorder
    from cogmeter.watch.interactions.people import People

MOST: Final = 10_000  # replies whose tasks are waited for
LIFE_NS: Final = 15 * 60 * 1_000_000_000  # a task that runs for longer serves more than one message
QUIET_S: Final = 5.0  # without a message, edit or typing after the last task has ended: helpers may send one at a time
_RUN_EVENT: Final = getattr(getattr(discord.Client, "_run_event", None), "__code__", object())  # no public name
_OK: Final = Outcome.OK  # bound once: an enum lookup is slow


class MessageReply:
    """What one run of a message listener has sent so far."""

    __slots__ = ("first_ns", "last_ns", "tasks")

    def __init__(self) -> None:
        self.first_ns = self.last_ns = 0  # ends of the first and the last output, by time.perf_counter_ns; 0: none
        self.tasks: ReplyTasks | None = None


class ReplyTasks:
    """The tasks, other than the listener's own, that have sent something for a reply and have not ended."""

    __slots__ = ("_ended", "_tasks", "arrived_ns", "error", "failed_ns", "own_ns", "reply", "run", "timer")

    def __init__(
        self, run: ListenerRun, reply: MessageReply, ended: Callable[[ReplyTasks, asyncio.Task[Any]], None]
    ) -> None:
        self.run = run
        self.reply = reply
        self.arrived_ns = _arrived_ns(run)  # the context variable is known here, and not when the bot shuts down
        self.error: BaseException | None = None  # that ended a task after the listener had ended
        self.failed_ns = 0
        self.own_ns = 0  # end of the last output before the listener ended
        self.timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended: Callable[[asyncio.Task[Any]], None] | None = lambda task: ended(self, task)

    @property
    def running(self) -> bool:
        """True if a task has neither ended nor been cancelled."""
        return any(not task.done() and not task.cancelling() for task in self._tasks)

    def add(self, task: asyncio.Task[Any]) -> None:
        """Wait for the end of this task."""
        if task not in self._tasks and self._ended is not None:
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def discard(self, task: asyncio.Task[Any] | None) -> None:
        """Do not wait for the end of this task."""
        if task in self._tasks and self._ended is not None:
            self._tasks.discard(task)
            task.remove_done_callback(self._ended)

    def close(self) -> None:
        """Leave all tasks."""
        for task in list(self._tasks):
            self.discard(task)
        if self.timer is not None:
            self.timer.cancel()
        self._ended = None  # it refers to this object


_OVER: Final = MessageReply()  # of a run that was recorded, or does not reply: later outputs are ignored


class Replies:
    """The replies of one bot. No method awaits; ``fault`` counts what goes wrong in callbacks."""

    def __init__(self, recorder: Recorder, people: People, fault: Callable[[BaseException], None]) -> None:
        self._recorder = recorder
        self._people = people
        self._fault = fault
        self._waiting: set[ReplyTasks] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self, error: BaseException | None, *, edit: bool) -> None:
        """Note that the running code has sent a message or typing, or tried to. An edit only continues a reply."""
        run = started_in()
        if type(run) is not ListenerRun or not run.listener.of_messages or tracing.current() is not None:
            return
        reply, at_ns = run.reply, now_ns()
        if reply is None:
            if edit or at_ns - run.start_ns > LIFE_NS:
                return
            reply = run.reply = MessageReply()
        if reply is _OVER or (edit and not reply.first_ns):
            return
        task = asyncio.current_task()
        if task is not None and (run.ended or not _is_listeners(task)) and not self._wait_for(task, run, reply):
            return
        if error is None:
            reply.first_ns, reply.last_ns = reply.first_ns or at_ns, at_ns
            run.service = run.listener.service = REPLIES

    def exclude(self) -> None:
        """Note that the running code has invoked a command that is not recorded as one: what it sends is no reply."""
        run = started_in()
        if isinstance(run, ListenerRun) and run.reply is None:
            run.reply = _OVER

    def ended(self, run: ListenerRun, error: BaseException | None) -> bool:
        """Return whether a run of a message listener that ends now, with this exception, is a reply; record it.

        A listener that has replied since the start owes a reply where it fails or logs an error: such a run is a reply
        without output, so that the error rate of replies has the failures that come before the first output.
        """
        reply = run.reply
        if reply is _OVER:
            return False
        tasks = None if reply is None else reply.tasks
        if tasks is not None:
            tasks.discard(asyncio.current_task())  # a task factory has wrapped the listener
        if reply is None or not reply.first_ns:
            troubled = run.logged_errors or outcome_of(error) in FAILURES
            if not troubled or (reply is None and run.listener.service != REPLIES):
                self._close(run, tasks)
                run.reply = None  # a task may still reply
                return False
            reply = reply or MessageReply()
        elif error is None and tasks is not None and tasks.running:
            tasks.own_ns = reply.last_ns
            return True
        self._close(run, tasks)
        until_ns = now_ns() if error is not None else reply.last_ns
        self._record(run, _arrived_ns(run), reply.first_ns, until_ns, error)
        return True

    def expire(self) -> None:
        """Leave tasks that run for too long; the reply is what was sent before its listener ended, if anything was."""
        until_ns = now_ns() - LIFE_NS
        for tasks in [tasks for tasks in self._waiting if tasks.run.ended and tasks.run.start_ns < until_ns]:
            self._close(tasks.run, tasks)
            if tasks.own_ns:
                self._record(tasks.run, tasks.arrived_ns, tasks.reply.first_ns, tasks.own_ns, None)

    def close(self) -> None:
        """Record the replies whose listener has ended, and leave all tasks."""
        for tasks in list(self._waiting):
            if tasks.run.ended:
                self._finish(tasks)
            else:
                self._close(tasks.run, tasks)

    def _wait_for(self, task: asyncio.Task[Any], run: ListenerRun, reply: MessageReply) -> bool:
        """Wait for the end of a task that sends for a reply; return False if there are too many."""
        if reply.tasks is None:
            if len(self._waiting) >= MOST:
                run.reply = _OVER
                return False
            reply.tasks = ReplyTasks(run, reply, self._task_ended)
            self._waiting.add(reply.tasks)
        reply.tasks.add(task)
        return True

    def _task_ended(self, tasks: ReplyTasks, task: asyncio.Task[Any]) -> None:
        try:
            tasks.discard(task)
            if not tasks.run.ended:
                return  # a helper of the listener, which gets its exception
            error = getattr(task, "_exception", None)  # task.exception() would silence asyncio's warning
            if error is not None and getattr(task, "_log_traceback", False):  # nobody has retrieved it
                tasks.error, tasks.failed_ns = error, now_ns()
            if not tasks.running:
                if tasks.timer is not None:
                    tasks.timer.cancel()
                tasks.timer = asyncio.get_running_loop().call_later(QUIET_S, self._quiet, tasks)
        except Exception as fault:  # noqa: BLE001 - it would reach the host's handler of the loop
            self._fault(fault)

    def _quiet(self, tasks: ReplyTasks) -> None:
        try:
            if not tasks.running and tasks in self._waiting:
                self._finish(tasks)
        except Exception as fault:  # noqa: BLE001 - see above
            self._fault(fault)

    def _finish(self, tasks: ReplyTasks) -> None:
        """Record a reply that tasks have sent after its listener had ended."""
        self._close(tasks.run, tasks)
        error, tasks.error = tasks.error, None  # its traceback may refer to these tasks
        if tasks.reply.first_ns or error is not None:
            until_ns = tasks.failed_ns or tasks.reply.last_ns
            self._record(tasks.run, tasks.arrived_ns, tasks.reply.first_ns, until_ns, error)

    def _close(self, run: ListenerRun, tasks: ReplyTasks | None) -> None:
        run.reply = _OVER
        if tasks is not None:
            self._waiting.discard(tasks)
            tasks.close()

    def _record(
        self, run: ListenerRun, arrived_ns: int, first_ns: int, until_ns: int, error: BaseException | None
    ) -> None:
        """Record a reply as if it ended now: end times must not decrease."""
        recorder, end_ns = self._recorder, now_ns()
        duration_ns, outcome = (until_ns or end_ns) - arrived_ns, _OK if error is None else outcome_of(error)
        series = recorder.series(REPLIES, run.operation)
        metadata: dict[str, Any] = {"first_ms": tenths_ms(first_ns - arrived_ns)} if first_ns else {}
        if run.logged_errors:
            metadata["logged_errors"] = run.logged_errors
        if run.metadata:
            metadata.update(run.metadata)
        if tracing.has_costs(run.metadata):
            metadata = {**run.payer(), **metadata}
        elif self._people.matter(outcome, duration_ns):
            metadata.update(run.affected())
        text = None
        if error is not None:
            cause = cause_of(error)
            text = error_text(cause)
            if outcome in FAILURES:
                metadata.update(recorder.count_failure(cause, series, run.start_ns, affected=run.affected()))
        recorder.add(series, end_ns, duration_ns, 0 if outcome is _OK else int(outcome), (text, metadata))
        if run.ids is not None:
            user, guild = run.ids[:2]
            recorder.usage.seen(series, user, guild, DM if guild is None else GUILD)


def _arrived_ns(run: ListenerRun) -> int:
    """Return when the message of a run arrived, or when the run began if that is not known."""
    message_id = getattr(next(iter(run.arguments), None), "id", 0) if run.ids is None else run.ids[-1]
    return message_arrived_ns(message_id) or run.start_ns


def _is_listeners(task: asyncio.Task[Any]) -> bool:
    """Return whether discord.py started this task for a listener; a task factory may have wrapped its coroutine."""
    return getattr(task.get_coro(), "cr_code", None) is _RUN_EVENT
