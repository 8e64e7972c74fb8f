"""Records errors that nobody awaits: of tasks, callbacks, threads and finalizers."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording import running
from cogmeter.recording.background import own_work
from cogmeter.recording.frames import place_of
from cogmeter.recording.service_names import UNHANDLED
from cogmeter.watch.background.coroutines import Wrappers, context_of
from cogmeter.watch.hook import Hook
from cogmeter.watch.logged_errors import silence
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.surface import Surface, WatchContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Context
    from types import CodeType
    from typing import TypeAlias

    Report: TypeAlias = Callable[[Any], Any]

SOURCES: Final = ("task", "future", "handle", "asyncgen")  # what asyncio's reports name as the origin
IN_CALLBACK: Final = "Exception in callback"  # asyncio's own text contains the callback's arguments
IN_THREAD: Final = "Exception in thread"
IGNORED: Final = "Exception ignored in"
_RUNNERS: Final = ("asyncio", "concurrent", "threading", "uvloop")  # packages that call what a task or thread runs
_ENDINGS: Final = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


class UnhandledErrors(Surface):
    """One error of kind "unhandled" for each report; the handlers of the host and of Python run after it, as before.

    The event loop's own method is hooked, because a host may replace the loop's exception handler at any time. An error
    belongs to the operation that started its task or callback, even if that has ended. Any other belongs to the
    service ``unhandled``, under the name of the coroutine or function.
    """

    name = "unhandled errors"
    setting = "watch_unhandled_errors"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._wrappers = Wrappers()

    def prepare(self) -> None:
        """Hook the running loop, and Python's hooks for threads and finalizers."""
        self._loop = asyncio.get_running_loop()
        self._wrappers.learn(self._loop)
        self.hooks += [
            Hook("event loop errors", self._loop, "call_exception_handler", self._of_loop),
            Hook("thread errors", threading, "excepthook", self._of_thread),
            Hook("finalizer errors", sys, "unraisablehook", self._of_finalizer),
        ]

    def sample(self) -> dict[str, float]:
        """Learn the loop's task factory, which a host may set at any time. There are no gauges."""
        self._wrappers.learn(self._loop)
        return {}

    def _of_loop(self, original: Report, hook: Hook) -> Report:
        def call_exception_handler(context: dict[str, Any]) -> Any:
            return _report(original, context, hook, self._count_of_loop)

        return call_exception_handler

    def _of_thread(self, original: Report, hook: Hook) -> Report:
        def excepthook(args: Any) -> Any:
            return _report(original, args, hook, self._count_of_thread)

        return excepthook

    def _of_finalizer(self, original: Report, hook: Hook) -> Report:
        def unraisablehook(unraisable: Any) -> Any:
            return _report(original, unraisable, hook, self._count_of_finalizer)

        return unraisablehook

    def _count_of_loop(self, report: Mapping[str, Any]) -> bool:
        error = report.get("exception")
        source = next((report[key] for key in SOURCES if report.get(key) is not None), None)
        if isinstance(error, _ENDINGS) or (error is None and source is None):
            return False  # such as an unclosed session: its log record is counted
        context = context_of(source)
        if context is not None and context.get(own_work):
            return True
        message = IN_CALLBACK if "handle" in report else str(report.get("message"))
        origin = getattr(source, "_callback", source)  # of a handle; no public name
        code = None
        if error is None and isinstance(source, asyncio.Task):  # destroyed while it waited: the line is lost
            code = getattr(source.get_coro(), "cr_code", None)
            code = code if code is not None and place_of(code.co_filename)[1] else None
        return self._count(error, message, self._name(error, source, origin), context, code)

    def _count_of_thread(self, args: Any) -> bool:
        if issubclass(args.exc_type, _ENDINGS):
            return False
        return self._count(args.exc_value, IN_THREAD, self._name(args.exc_value, None, type(args.thread)))

    def _count_of_finalizer(self, unraisable: Any) -> bool:
        """Count an error of a finalizer; the running code is unrelated, because the garbage collector runs anywhere."""
        if issubclass(unraisable.exc_type, _ENDINGS):
            return False
        name = self._name(unraisable.exc_value, None, type(unraisable.object))
        return self._count(unraisable.exc_value, IGNORED, name)

    def _count(
        self,
        error: BaseException | None,
        message: str,
        name: str,
        context: Context | None = None,
        code: CodeType | None = None,
    ) -> bool:
        """Count an error; ``context`` is that of the task or callback, ``code`` the host's."""
        started_in = None if context is None else running.operation_in(context)
        service, operation = (UNHANDLED, name) if started_in is None else (started_in.service, started_in.operation)
        errors, text = self.context.recorder.errors, f"{message}: {name}"
        errors.unhandled(error, text, service, operation, code=code, context=context)
        return True

    def _name(self, error: BaseException | None, task: object, origin: object) -> str:
        """Return the name of the coroutine or function that failed, else of its origin."""
        codes = self._wrappers.codes
        name = _name_of_coroutine(task, codes) or _name_of_outermost(error, codes)
        return fitted(name or qualified(origin))


def _report(original: Report, report: Any, hook: Hook, count: Callable[[Any], bool]) -> Any:
    """Count a report, then pass it on; what that logs about it is not counted again."""
    counted = False
    if hook.active:
        try:
            counted = count(report)
        except Exception as error:  # noqa: BLE001 - our fault must not keep the report from its handlers
            hook.fault(error)
    if not counted or silence.active:
        return original(report)
    silence.active = True
    try:
        return original(report)
    finally:
        silence.active = False


def _name_of_coroutine(task: object, wrappers: frozenset[CodeType]) -> str:
    """Return the name of a task's coroutine; empty if it has none, or only the wrapper of a task factory is left."""
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    known = coroutine is not None and getattr(coroutine, "cr_code", None) not in wrappers
    return qualified(coroutine) if known else ""


def _name_of_outermost(error: BaseException | None, wrappers: frozenset[CodeType]) -> str:
    """Return the name of the outermost function of the host that an exception left; if there is none, of a library."""
    trace, library = None if error is None else error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_qualname.rpartition("<locals>.")[2]
        if code not in wrappers and place_of(code.co_filename)[1]:
            return name
        package = str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0]
        if not library and package not in _RUNNERS and code not in wrappers:
            library = name
        trace = trace.tb_next
    return library
