"""Records every event listener of the bot, with the exceptions that discord.py catches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.running import RunningOperation, assign
from cogmeter.recording.service_names import LISTENERS
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted, qualified
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.surface import Surface, own_module

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    from cogmeter.recording.recorder import Tracker

    Listener: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

KNOWN: Final = 4_000  # listeners whose series is remembered; if a bot creates more, all are looked up again
PREFIX_COMMANDS: Final = ("discord.ext.commands.bot", "BotBase.on_message")  # only dispatches commands


class Listeners(Surface):
    """One operation for each run of a listener, named by its event and qualified name.

    discord.py has no public event for listeners: without the hook they are not recorded.
    """

    name = "listeners"
    setting = "watch_listeners"

    def prepare(self) -> None:
        """Hook the client's method that starts every listener; it is looked up at each event."""
        expects = ["coro", "event_name", "args", "kwargs"]
        self.hooks.append(Hook("listeners", self.context.bot, "_schedule_event", self._schedule, expects=expects))

    def _schedule(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        known: dict[tuple[str, str, str], tuple[Tracker, str] | None] = {}

        def schedule(coro: Listener, event_name: str, *args: Any, **kwargs: Any) -> Any:
            if hook.active:
                try:
                    try:
                        series = known[event_name, coro.__module__, coro.__qualname__]
                    except (KeyError, AttributeError):
                        series = self._series(known, coro, event_name)
                    if series is not None:
                        coro = _timed(coro, *series)
                except Exception as error:  # noqa: BLE001 - a fault of cogmeter must not lose the host's event
                    hook.fault(error)
            return original(coro, event_name, *args, **kwargs)

        return schedule

    def _series(
        self, known: dict[tuple[str, str, str], tuple[Tracker, str] | None], coro: Listener, event_name: str
    ) -> tuple[Tracker, str] | None:
        """Return tracker and name of this listener; None for cogmeter's own and for discord.py's command dispatch."""
        module, name = str(getattr(coro, "__module__", "")), qualified(coro)
        key = (event_name, module, str(getattr(coro, "__qualname__", name)))
        if len(known) >= KNOWN:
            known.clear()
        if key not in known:
            operation = fitted(name if name == event_name else f"{event_name} {name}")
            skipped = own_module(coro) or (module, name) == PREFIX_COMMANDS
            known[key] = None if skipped else (self.context.recorder.track(LISTENERS, operation), operation)
        return known[key]


def _timed(coro: Listener, tracker: Tracker, name: str) -> Listener:
    """Return the listener with its run recorded; discord.py still passes its exceptions to ``on_error``."""

    async def timed(*args: Any, **kwargs: Any) -> None:
        operation = tracker()
        operation.__enter__()
        running = RunningOperation(LISTENERS, name, operation._start)  # noqa: SLF001 - a property would cost more
        assign(running)  # until its task ends; not registered: this frame is found on demand, with this variable
        ended: BaseException | None = None
        try:
            await coro(*args, **kwargs)
        except Exception as error:
            # on_command_error often raises discord.py's wrapper again, so the text is that of the cause.
            operation.fail(cause_of(error), outcome=outcome_of(error))
            raise
        except BaseException as error:
            ended = error
            raise
        finally:
            running.ended = True
            if running.logged_errors:
                operation.annotate(logged_errors=running.logged_errors)
            operation.__exit__(None if ended is None else type(ended), ended, None)
            ended = None  # the frame and its exception would reference each other

    return timed
