"""A press of a component, from its dispatch to the end of everything that handles it.

discord.py and the host's views may catch what a callback raises, run the checks in another order, wait for a lock, or
leave the work to another task. So each press listens to the few methods of its view and item that decide how it ends,
and restores these objects at its end. The interaction that each call gets distinguishes simultaneous presses of a view.
"""

from __future__ import annotations

import asyncio
import weakref
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import discord
from discord.ui import Item
from discord.ui.view import BaseView

from cogmeter.recording import running, service_names, tracing
from cogmeter.recording.operation import now_ns
from cogmeter.watch.interactions.method_listener import MethodListener, listen
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from contextvars import Token

    from cogmeter.recording.running import RunningOperation
    from cogmeter.recording.tracing import Scope
    from cogmeter.watch.hook import Hook
    from cogmeter.watch.interactions.tracker import InteractionTracker, PendingInteraction

REFUSED: Final = "refused by interaction_check"
NOT_FOUND: Final = "not run: discord.py did not find the item on its message"
NOT_RUN: Final = "not run: its view's own dispatch neither ran the callback nor answered"
HANDED_ON_S: Final = 10.0  # how long a press waits for another task if its view's own dispatch did not run the callback

VIEW_METHODS: Final = ("interaction_check", "on_error")
ITEM_METHODS: Final = ("interaction_check", "callback")
DECORATED_METHODS: Final = ("interaction_check",)  # their callbacks have a class of discord.py, which is hooked
PARENTS: Final = ("_run_checks",)  # of an item inside other items
MODAL_METHODS: Final = ("interaction_check", "on_submit", "on_error")
CALLBACKS: Final = ("callback", "on_submit")
CHECKS: Final = (*PARENTS, "interaction_check")
ON_ERROR: Final = "on_error"


class Claim(NamedTuple):
    """The target of a press, and the methods of objects that show the result of the press."""

    name: str
    ours: bool  # cogmeter's own component
    metadata: Mapping[str, Any] | None = None
    targets: tuple[tuple[Any, tuple[str, ...]], ...] = ()
    overridden: bool = False  # the view overrides the dispatch to its items
    dynamic: bool = False  # a dynamic item: discord.py alone decides what runs


@dataclass(slots=True)
class Callback:
    """A call of a callback. Calls inside it do not keep the press alive."""

    press: int  # the interaction's id
    running: bool = True


_callback: ContextVar[Callback | None] = ContextVar("cogmeter_callback", default=None)


class Presses(dict[int, "Press"]):
    """The presses in progress, by interaction id."""

    def called_with(self, arguments: Iterable[Any]) -> Press | None:
        """Return the press that a call with these arguments belongs to, wherever the call is made."""
        for argument in arguments:
            press = self.get(argument.id) if isinstance(argument, discord.Interaction) else None
            if press is not None:
                return press
        scope = tracing.inherited()  # a host may pass another object in place of the interaction
        return None if scope is None else self.get(getattr(scope.trace, "id", 0))


class Press:
    """A click, choice or submission in progress. It is recorded once, and its methods never raise."""

    __slots__ = (
        "_claims",
        "_done",
        "_ended_ns",
        "_ends",
        "_interaction",
        "_listeners",
        "_parts",
        "_presses",
        "_ran",
        "_refused",
        "_taken",
        "_template",
        "_timer",
        "_tracker",
        "hook",
        "pending",
    )

    def __init__(
        self,
        presses: Presses,
        tracker: InteractionTracker,
        pending: PendingInteraction,
        interaction: discord.Interaction,
        hook: Hook,
    ) -> None:
        self.pending = pending
        self.hook = hook
        self._claims: list[Claim] = []
        self._template = pending.label
        self._taken = False  # a view or modal handles it
        self._presses = presses
        self._tracker = tracker
        self._interaction = interaction
        self._parts = 0  # parts in progress: its dispatch, tasks and callbacks
        self._listeners: list[MethodListener] = []
        self._ends: dict[object, tuple[BaseException | None, int]] = {}  # how each part ended last, and when
        self._ended_ns = 0  # when the last of these parts ended
        self._ran = False  # a callback began
        self._refused = False
        self._done = False
        self._timer: asyncio.TimerHandle | None = None
        presses[pending.id] = self

    def claim(self, claim: Claim) -> None:
        """Add a target; the first claim names the press."""
        self._claims.append(claim)
        self._name()
        for target, names in claim.targets:
            self.listen(target, names)

    def listen(self, target: Any, names: Iterable[str]) -> None:
        """Listen to these methods of an object."""
        for name in names:
            try:
                if not _always_true(target, name):
                    self._listeners.append(listen(self._presses, target, name))
            except Exception as fault:  # noqa: BLE001 - a host's object may be anything
                self.hook.fault(fault)

    def begin(self) -> None:
        """Begin a part of the press."""
        self._parts += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """End a part of the press; after the last one the result is known."""
        self._parts -= 1
        if self._parts or self._done:
            return
        try:
            self._ended_ns = now_ns()
            self._judge()
        except Exception as fault:  # noqa: BLE001 - the host must not notice
            self.hook.fault(fault)

    def dispatched(self) -> None:
        """Note that discord.py has dispatched the press; a view's own dispatch may have left it to another task."""
        try:
            if not self._taken:
                claim = self._claims[0]
                self._taken = claim.overridden
                if not claim.overridden:  # the view was stopped, or removed, just now
                    del self._claims[0]
                    self._name()
        except Exception as fault:  # noqa: BLE001 - the host must not notice
            self.hook.fault(fault)
        self.end()

    def follow(self, task: asyncio.Future[Any], *, dynamic: bool) -> None:
        """Add the task of a dynamic item, view or modal as a part."""
        self._taken = self._taken or not dynamic
        self.begin()
        if isinstance(task, asyncio.Task):
            self._tracker.run(self.pending, service_names.COMPONENTS).task = weakref.ref(task)
        task.add_done_callback(self._task_ended)

    def enter(self) -> Token[RunningOperation | None]:
        """Assign the code that runs from here, in this task, to the press."""
        return self._tracker.enter(self.pending, service_names.COMPONENTS)

    def note(self, part: object, error: BaseException | None) -> None:
        """Remember how a part ended: a host may retry."""
        self._ends[part] = (error, now_ns())

    async def hear(
        self, part: object, name: str, method: Callable[..., Any], /, *arguments: Any, **options: Any
    ) -> Any:
        """Await a call of this method as a part of the press. A callback handles errors of the calls that it makes."""
        if name == ON_ERROR:
            self._handled(arguments)
        tokens, outer = self._enter(name), _callback.get()
        call = Callback(self.pending.id)
        inner = _callback.set(call) if name in CALLBACKS else None
        try:
            result = await method(*arguments, **options)
        except BaseException as error:
            if not self._decided_by(outer):
                self.note(part, error)
            raise
        else:
            self._returned(part, name, result, outer)
            return result
        finally:
            call.running = False
            _leave(inner)
            self._leave(tokens)

    def _decided_by(self, outer: Callback | None) -> bool:
        """Return whether a running callback of this press made the call: it may handle what the call raises."""
        return outer is not None and outer.running and outer.press == self.pending.id

    def _enter(self, name: str) -> tuple[Token[Scope | None] | None, Token[RunningOperation | None]]:
        """Begin a call of a method: operations inside it belong to the press, also in another task."""
        self.begin()
        self._ran = self._ran or name in CALLBACKS
        scope = tracing.inherited()
        token = None if scope is not None and scope.trace is self.pending else tracing.begin(self.pending)
        return token, self.enter()

    def _leave(self, tokens: tuple[Token[Scope | None] | None, Token[RunningOperation | None]]) -> None:
        """End a call of a method."""
        token, outer = tokens
        if token is not None:
            tracing.end(token)
        running.leave(outer)
        self.end()

    def _returned(self, part: object, name: str, result: object, outer: Callback | None) -> None:
        """Note the result of a method."""
        try:
            if name in CHECKS:
                self._refused = self._refused or not result
            if name != ON_ERROR and not self._decided_by(outer):
                self.note(part, None)
        except Exception as fault:  # noqa: BLE001 - a check may return anything
            self.hook.fault(fault)

    def _handled(self, arguments: tuple[Any, ...]) -> None:
        """End the press with the exception that its error handler is about to get, at any position."""
        try:
            error = next((argument for argument in arguments if isinstance(argument, BaseException)), None)
            if error is not None:
                self.stop_listening()  # later calls change nothing
                self._finish(outcome_of(error, age_ns=self.pending.sent_age_ns), cause_of(error))
        except Exception as fault:  # noqa: BLE001 - the host's handler must get its exception
            self.hook.fault(fault)

    def give_up(self) -> None:
        """Record a press whose callback was not called, as a success if it was answered."""
        if self._done:
            return
        try:
            answered = self._interaction.response.is_done()
            answered_ns = self.pending.sent_ns + self.pending.http_ns  # by a task of the host's, perhaps
            outcome, error = (Outcome.OK, None) if answered else (Outcome.USER, NOT_RUN)
            self._finish(outcome, error, max(self._ended_ns, answered_ns))
            self.close()
        except Exception as fault:  # noqa: BLE001 - it would reach the loop's exception handler
            self.hook.fault(fault)

    def stop_listening(self) -> None:
        """Restore every object."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.release()

    def close(self) -> None:
        """End the press: later calls and operations do not belong to it."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        self._presses.pop(self.pending.id, None)
        self.stop_listening()
        if self.pending.finished:
            self._tracker.close(self.pending)

    @property
    def waits(self) -> bool:
        """Return whether no part is in progress, but the callback may still be called."""
        return not self._parts

    def _task_ended(self, task: asyncio.Future[Any]) -> None:
        try:
            # Not task.exception(): that would silence asyncio's warning.
            error = asyncio.CancelledError() if task.cancelled() else getattr(task, "_exception", None)
            if error is not None:
                self.note(task, error)
        except Exception as fault:  # noqa: BLE001 - asyncio would only log it
            self.hook.fault(fault)
        self.end()

    def _judge(self) -> None:
        errors = [(error, at_ns) for error, at_ns in self._ends.values() if error is not None]
        if errors:
            # If the host's own timeout cancelled a callback, the timeout explains more than the cancellation.
            error, at_ns = next((pair for pair in errors if isinstance(pair[0], Exception)), errors[0])
            self._finish(outcome_of(error, age_ns=self.pending.sent_age_ns), cause_of(error), at_ns)
        elif self._ran:
            self._finish(Outcome.OK, None)
        elif self._refused:
            self._finish(Outcome.USER, REFUSED)
        elif self._taken:
            if not self.pending.finished:  # by its error handler
                self._timer = asyncio.get_running_loop().call_later(HANDED_ON_S, self.give_up)
                return
        elif self._claims:
            self._finish(Outcome.ERROR, NOT_FOUND)
        self.close()

    def _name(self) -> None:
        """Name the press by its first claim."""
        pending, claims = self.pending, self._claims
        pending.label = claims[0].name if claims else self._template
        pending.owned = bool(claims)
        pending.own = any(claim.ours for claim in claims)
        if pending.running is not None:
            pending.running.operation = pending.label

    def _finish(self, outcome: Outcome, error: object, ended_ns: int | None = None) -> None:
        self._tracker.finish(
            self.pending,
            service_names.COMPONENTS,
            self.pending.label,
            outcome=outcome,
            error=error,
            metadata=self._claims[0].metadata if self._claims else None,
            ended_ns=ended_ns,
        )


def _leave(token: Token[Callback | None] | None) -> None:
    """Restore the outer callback. A coroutine may be closed in another context than it began in."""
    try:
        if token is not None:
            _callback.reset(token)
    except ValueError:
        return


def _always_true(target: Any, name: str) -> bool:
    """Return whether this is discord.py's default check."""
    function = getattr(getattr(target, name), "__func__", None)
    return name in CHECKS and function in {Item.interaction_check, BaseView.interaction_check}


async def run_dynamic(
    press: Press, call: Callable[[SeenFactory], Coroutine[Any, Any, Any]], factory: type[Any], *, followed: bool
) -> Any:
    """Run discord.py's coroutine for a dynamic item; ``followed``: its task is a part of the press already."""
    token, outer = tracing.begin(press.pending), press.enter()
    try:
        return await call(SeenFactory(factory, press))
    finally:
        tracing.end(token)
        running.leave(outer)
        if not followed:
            press.end()


class SeenFactory:
    """A wrapper of a dynamic item's class: the press listens to the item that it creates."""

    def __init__(self, factory: type[Any], press: Press) -> None:
        self._factory = factory
        self._press = press

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def __repr__(self) -> str:
        return repr(self._factory)

    async def from_custom_id(self, *arguments: Any) -> Any:
        """Return the item that the host's class creates."""
        try:
            item = await self._factory.from_custom_id(*arguments)
        except BaseException as error:
            self._press.note(self, error)
            raise
        self._press.listen(item, ITEM_METHODS)
        return item
