"""Records every event listener of the bot, with the exceptions that discord.py catches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cogmeter.diagnosis import Finding
from cogmeter.recording import tracing
from cogmeter.recording.operation import OperationDetails, now_ns
from cogmeter.recording.running import assign
from cogmeter.recording.service_names import LISTENERS
from cogmeter.watch.background.listener_run import ListenerRun, WatchedListener
from cogmeter.watch.background.replies import Replies
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.surface import Surface, own_module
from cogmeter_storage.model import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    Listener: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]
    Key: TypeAlias = tuple[str, str, str]  # event, module and qualified name

KNOWN: Final = 4_000  # listeners whose series is remembered; if a bot creates more, all are looked up again
PREFIX_COMMANDS: Final = ("discord.ext.commands.bot", "BotBase.on_message")  # only dispatches commands
MESSAGE: Final = "on_message"  # the event whose listeners may reply


class Listeners(Surface):
    """One operation for each run of a listener, named by its event and qualified name; replies have their own service.

    discord.py has no public event for listeners: without the hook they are not recorded.
    """

    name = "listeners"
    setting = "watch_listeners"
    reads = ("watch_commands",)

    def prepare(self) -> None:
        """Hook the client's method that starts every listener; it is looked up at each event."""
        expects = ["coro", "event_name", "args", "kwargs"]
        self._hook = Hook("listeners", self.context.bot, "_schedule_event", self._schedule, expects=expects)
        self.hooks.append(self._hook)
        self._replies = Replies(self.context.recorder, self.context.tracker.people, self._hook.fault)
        self.context.replies = self._replies
        if not self.context.settings.watch_commands and hasattr(self.context.bot, "invoke"):
            self.listeners.append(("on_command", self._on_command))

    async def remove(self) -> None:
        """Remove the hook; replies that tasks still send are recorded as far as they are known."""
        self.context.replies = None
        await super().remove()
        self._replies.close()

    def findings(self) -> list[Finding]:
        """Return the findings of the hook, and whether replies are known."""
        findings = super().findings()
        if not self.context.settings.watch_rest:
            findings.append(Finding("replies", well=True, text="recorded as listeners: PERFORMANCE_WATCH_REST is off"))
        elif self.context.sees_requests is False:
            advice = "Update cogmeter or discord.py"
            text = "recorded as listeners: the hook on REST requests failed"
            findings.append(Finding("replies", well=False, text=text, advice=advice))
        return findings

    def sample(self) -> dict[str, float]:
        """Forget replies that do not end. There are no gauges."""
        self._replies.expire()
        return {}

    def _schedule(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        known: dict[Key, WatchedListener | None] = {}

        def schedule(coro: Listener, event_name: str, *args: Any, **kwargs: Any) -> Any:
            if hook.active:
                try:
                    try:
                        listener = known[event_name, coro.__module__, coro.__qualname__]
                    except (KeyError, AttributeError):
                        listener = self._known(known, coro, event_name)
                    if listener is not None:
                        coro = partial(_timed, coro, listener, self._ended)  # half the cost of a closure
                except Exception as error:  # noqa: BLE001 - a fault of cogmeter must not lose the host's event
                    hook.fault(error)
            return original(coro, event_name, *args, **kwargs)

        return schedule

    def _known(
        self, known: dict[Key, WatchedListener | None], coro: Listener, event_name: str
    ) -> WatchedListener | None:
        """Return the record of this listener; None for cogmeter's own and for discord.py's command dispatch."""
        module, name = str(getattr(coro, "__module__", "")), qualified(coro)
        key = (event_name, module, str(getattr(coro, "__qualname__", name)))
        if len(known) >= KNOWN:
            known.clear()
        if key not in known:
            operation = fitted(name if name == event_name else f"{event_name} {name}")
            skipped = own_module(coro) or (module, name) == PREFIX_COMMANDS
            known[key] = None if skipped else self._watched(operation, of_messages=event_name == MESSAGE)
        return known[key]

    def _watched(self, operation: str, *, of_messages: bool) -> WatchedListener:
        recorder, people = self.context.recorder, self.context.tracker.people
        return WatchedListener(operation, recorder, people, of_messages=of_messages)

    def _ended(self, run: ListenerRun, error: BaseException | None) -> None:
        """Record a run that failed, logged errors, sent something or belongs to a trace."""
        try:
            if not run.listener.of_messages or not self._replies.ended(run, error):
                self._record(run, error)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            self._hook.fault(fault)

    def _record(self, run: ListenerRun, error: BaseException | None) -> None:
        recorder, details = self.context.recorder, OperationDetails()
        details.entered = run.entered
        metadata: dict[str, Any] = {}
        if isinstance(error, Exception):
            # on_command_error often raises discord.py's wrapper again, so the text is that of the cause.
            cause, outcome = cause_of(error), outcome_of(error)
            details.fail(cause, outcome)
            if outcome in FAILURES and tracing.current() is None:  # in a trace, the recorder knows who is affected
                metadata.update(run.affected())
                series = recorder.series(LISTENERS, run.operation)
                metadata.update(recorder.count_failure(cause, series, run.start_ns, affected=run.affected()))
            error = None
        if run.logged_errors:
            metadata["logged_errors"] = run.logged_errors
        if run.metadata:
            metadata.update(run.metadata)
        details.metadata = metadata
        recorder.finish(run.listener.series, now_ns(), run.start_ns, details, error)

    async def _on_command(self, _ctx: object) -> None:
        """Keep what a command sends from counting as a reply of the listener that invoked it."""
        try:
            self._replies.exclude()
        except Exception as fault:  # noqa: BLE001 - it would reach the host's on_error
            self._hook.fault(fault)


async def _timed(
    coro: Listener,
    listener: WatchedListener,
    ended: Callable[[ListenerRun, BaseException | None], None],
    /,
    *args: Any,
    **kwargs: Any,
) -> None:
    """Run a listener and record it; discord.py still passes its exceptions to ``on_error``."""
    run = ListenerRun(listener, args)
    assign(run)  # until its task ends; not registered: this frame is found on demand, with this variable
    error: BaseException | None = None
    try:
        await coro(*args, **kwargs)
    except BaseException as raised:
        error = raised
        raise
    finally:
        end_ns = now_ns()
        run.ended = True
        if listener.of_messages:
            run.keep_ids()
        if error is None and run.reply is None and run.entered is None and not run.logged_errors and not run.metadata:
            listener.add(listener.series, end_ns, end_ns - run.start_ns, 0, None)
        else:
            ended(run, error)
            error = None  # the frame and its exception would reference each other
        run.arguments = ()  # a task that lives on must not keep a message alive
