"""Records what any logger of the process logs at level ERROR or higher, as an error of the operation that logged it."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording import tracing
from cogmeter.recording.background import own_work
from cogmeter.recording.running import running_operation
from cogmeter.recording.service_names import LOG
from cogmeter.watch.hook import Hook
from cogmeter.watch.interactions.tracker import PendingInteraction
from cogmeter.watch.names import fitted
from cogmeter.watch.outcomes import outcome_of
from cogmeter.watch.surface import Surface, WatchContext
from cogmeter_storage.model import FAILURES, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import TypeAlias

    Handle: TypeAlias = Callable[[logging.Logger, logging.LogRecord], Any]
    Key: TypeAlias = tuple[float, int | None]

MOST_KEYS: Final = 2_000  # records that are remembered twice, to recognise their copies
DEEPEST: Final = 8  # frames between this hook and Logger.handle: wrappers of other tools
OWN: Final = "cogmeter"
DISCORD: Final = "discord"
VIEWS: Final = "discord.ui"
EXECUTORS: Final = "apscheduler.executors"
CONNECTIONS: Final = ("Attempting a reconnect", "Failed to connect for shard_id")  # of discord.py: lost connections


class Silence(threading.local):
    """Marks a thread whose log records are not counted now, because they report an error that is counted."""

    active = False


silence: Final = Silence()


class LoggedErrors(Surface):
    """One error of kind "logged" for each record, after the logger's level and filters, whatever its handlers do.

    Not counted: records of cogmeter, and reports of discord.py, APScheduler and asyncio of an exception that another
    surface counts. A record without an operation belongs to the service ``log``, under its logger's name.
    """

    name = "logged errors"
    setting = "watch_logged_errors"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._keys: tuple[set[Key], set[Key]] = (set(), set())  # the newer and the older half

    def prepare(self) -> None:
        """Hook the method that every logger calls, also one that does not propagate."""
        self.hooks.append(Hook("log records", logging.Logger, "callHandlers", self._handled))

    def _handled(self, original: Handle, hook: Hook) -> Handle:
        inspect.signature(original).bind(None, None)  # another tool's wrapper may name the parameters differently

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> Any:
            if record.levelno >= logging.ERROR and hook.active and not silence.active:
                silence.active = True  # nothing below may log into this hook again
                try:
                    self._count(record)
                except Exception as error:  # noqa: BLE001 - our fault must not keep the record from its handlers
                    hook.fault(error)
                finally:
                    silence.active = False
            return original(logger, record)

        return call_handlers

    def _count(self, record: logging.LogRecord) -> None:
        if _inside(record.name, OWN) or own_work.get():
            return
        scope = tracing.inherited()
        trace = None if scope is None else scope.trace
        if trace is not None and trace.own:
            return
        if (record.exc_info and self._is_reported(record, trace)) or not self._is_new(record):
            return
        errors, running = self.context.recorder.errors, running_operation()
        affected = {} if trace is None or trace.over else trace.affected(int(Outcome.ERROR), 0)
        if not affected and running is not None:
            affected = running.affected()
        if running is None:
            errors.logged(record, LOG, fitted(record.name), affected=affected)
        elif errors.logged(record, running.service, running.operation, affected=affected, since_ns=running.start_ns):
            running.logged_errors += 1

    def _is_reported(self, record: logging.LogRecord, trace: tracing.Trace | None) -> bool:
        """Return whether a library reports an exception that another surface counts, or that is no failure."""
        error = _exception_of(record)
        if error is None:
            return False
        if _inside(record.name, EXECUTORS):
            return self.context.settings.watch_tasks  # the end of the job, which follows, is counted
        if not _inside(record.name, DISCORD):
            return False
        if str(record.msg).startswith(CONNECTIONS):
            return self.context.settings.watch_gateway
        # A press of a dynamic item ends after discord.py has logged its exception.
        pressed = isinstance(trace, PendingInteraction) and not trace.finished and _inside(record.name, VIEWS)
        return (pressed and self.context.settings.watch_components) or outcome_of(error) not in FAILURES

    def _is_new(self, record: logging.LogRecord) -> bool:
        """Return False for a record that was counted before.

        A queue's listener, or a handler that forwards to another logger, passes a record or its copy to a logger again.
        """
        key = (record.created, record.thread)  # a copy has the same
        newer, older = self._keys
        if (key in newer or key in older) and not _is_logging_call(sys._getframe(3)):  # noqa: SLF001 - the documented way to the caller's frame
            return False
        newer.add(key)
        if len(newer) >= MOST_KEYS:
            self._keys = set(), newer
        return True


def _is_logging_call(frame: FrameType | None) -> bool:
    """Return whether a logging method made the record just now, so that it is new even if the clock is frozen."""
    for _ in range(DEEPEST):
        if frame is None:
            return False
        code, frame = frame.f_code, frame.f_back
        if code is logging.Logger.handle.__code__:
            return frame is not None and frame.f_code is logging.Logger._log.__code__  # noqa: SLF001 - no public name
    return False


def _exception_of(record: logging.LogRecord) -> BaseException | None:
    """Return the exception of a record; a host may have made the record by hand."""
    info: Any = record.exc_info
    error = info[1] if isinstance(info, tuple) and len(info) == 3 else None
    return error if isinstance(error, BaseException) else None


def _inside(name: str, package: str) -> bool:
    return name.startswith(package) and name[len(package) : len(package) + 1] in {"", "."}
