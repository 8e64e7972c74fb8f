"""One press of a component: what is seen of it from its dispatch until all that handles it has ended.

discord.py and the host's views may catch what a callback raises, ask the checks in an order of their own, wait for a
lock, or leave the work to another task. So each press listens to the few methods of the view and item that decide how
it ends, on these objects alone, and leaves them as they were when it is over. Presses of one view at the same time are
told apart by the interaction that each call gets.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import discord
from discord.ui import Item
from discord.ui.view import BaseView

from cogmeter.recording import service_names, tracing
from cogmeter.recording.operation import now_ns
from cogmeter.watch.interactions.method_listener import MethodListener, listen
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from contextvars import Token

    from cogmeter.recording.tracing import Scope
    from cogmeter.watch.hook import Hook
    from cogmeter.watch.interactions.tracker import InteractionTracker, PendingInteraction

REFUSED: Final = "refused by interaction_check"
NOT_FOUND: Final = "not run: discord.py did not find the item on its message"
NOT_RUN: Final = "not run: its view's own dispatch neither ran the callback nor answered"
HANDED_ON_S: Final = 10.0  # how long a view's own dispatch may leave a press to another task

VIEW_METHODS: Final = ("interaction_check", "on_error")
ITEM_METHODS: Final = ("interaction_check", "callback")
DECORATED_METHODS: Final = ("interaction_check",)  # their callbacks have a class of discord.py's own, which is hooked
PARENTS: Final = ("_run_checks",)  # of an item inside of others
MODAL_METHODS: Final = ("interaction_check", "on_submit", "on_error")
CALLBACKS: Final = ("callback", "on_submit")
CHECKS: Final = (*PARENTS, "interaction_check")
ON_ERROR: Final = "on_error"


class Claim(NamedTuple):
    """What discord.py dispatches a press to, and which methods of which objects show how it goes."""

    name: str
    ours: bool  # cogmeter's own component
    metadata: Mapping[str, Any] | None = None
    things: tuple[tuple[Any, tuple[str, ...]], ...] = ()
    overridden: bool = False  # whether a view starts what handles it by itself
    dynamic: bool = False  # a dynamic item: discord.py alone decides what runs


@dataclass(slots=True)
class Callback:
    """A call of a callback. What runs inside of it does not keep the press alive."""

    press: int  # the interaction's id
    running: bool = True


_callback: ContextVar[Callback | None] = ContextVar("cogmeter_callback", default=None)


class Presses(dict[int, "Press"]):
    """The presses under way, by interaction id."""

    def called_with(self, arguments: Iterable[Any]) -> Press | None:
        """Return the press that a call with these arguments belongs to, wherever the call is made."""
        for argument in arguments:
            press = self.get(argument.id) if isinstance(argument, discord.Interaction) else None
            if press is not None:
                return press
        scope = tracing.inherited()  # a host may pass an object of its own in place of the interaction
        return None if scope is None else self.get(getattr(scope.trace, "id", 0))


class Press:
    """A click, choice or submission under way. Its methods never raise; it is recorded once."""

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
        "_receipts",
        "_refused",
        "_taken",
        "_template",
        "_timer",
        "hook",
        "receipt",
    )

    def __init__(
        self,
        presses: Presses,
        receipts: InteractionTracker,
        receipt: PendingInteraction,
        interaction: discord.Interaction,
        hook: Hook,
    ) -> None:
        self.receipt = receipt
        self.hook = hook
        self._claims: list[Claim] = []
        self._template = receipt.label
        self._taken = False  # whether a view or modal takes it
        self._presses = presses
        self._receipts = receipts
        self._interaction = interaction
        self._parts = 0  # what is under way: its dispatch, tasks and callbacks
        self._listeners: list[MethodListener] = []
        self._ends: dict[object, tuple[BaseException | None, int]] = {}  # how each part ended last, and when
        self._ended_ns = 0  # when the last of these parts ended
        self._ran = False  # whether a callback was begun
        self._refused = False
        self._done = False
        self._timer: asyncio.TimerHandle | None = None
        presses[receipt.id] = self

    def claim(self, claim: Claim) -> None:
        """It is dispatched to this; the first claim names it."""
        self._claims.append(claim)
        self._name()
        for thing, names in claim.things:
            self.listen(thing, names)

    def listen(self, thing: Any, names: Iterable[str]) -> None:
        """Hear how the calls of these methods end, as far as the object has them."""
        for name in names:
            try:
                if not _always_true(thing, name):
                    self._listeners.append(listen(self._presses, thing, name))
            except Exception as fault:  # noqa: BLE001 - a host's object may be anything
                self.hook.fault(fault)

    def begin(self) -> None:
        """One more part of it is under way."""
        self._parts += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """One part less; after the last one it is known how the press went."""
        self._parts -= 1
        if self._parts or self._done:
            return
        try:
            self._ended_ns = now_ns()
            self._judge()
        except Exception as fault:  # noqa: BLE001 - the host must not notice
            self.hook.fault(fault)

    def dispatched(self) -> None:
        """discord.py has started what handles it; a view's own dispatch may have left it to something else."""
        try:
            if not self._taken:
                claim = self._claims[0]
                self._taken = claim.overridden
                if not claim.overridden:  # it was stopped, or taken out, just now
                    del self._claims[0]
                    self._name()
        except Exception as fault:  # noqa: BLE001 - the host must not notice
            self.hook.fault(fault)
        self.end()

    def follow(self, task: asyncio.Future[Any], *, dynamic: bool) -> None:
        """Take this task, of a dynamic item or of a view or modal, as a part of it."""
        self._taken = self._taken or not dynamic
        self.begin()
        task.add_done_callback(self._task_ended)

    def note(self, part: object, error: BaseException | None) -> None:
        """Remember how a part of it ended: a host may try once more."""
        self._ends[part] = (error, now_ns())

    async def hear(
        self, part: object, name: str, method: Callable[..., Any], /, *arguments: Any, **options: Any
    ) -> Any:
        """Await a call of this method, as a part of the press. A callback decides over the calls that it makes."""
        if name == ON_ERROR:
            self._told(arguments)
        token, outer = self._enter(name), _callback.get()
        call = Callback(self.receipt.id)
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
            self._leave(token)

    def _decided_by(self, outer: Callback | None) -> bool:
        """Whether a callback of this press that is still running made a call: it may handle what the call raises."""
        return outer is not None and outer.running and outer.press == self.receipt.id

    def _enter(self, name: str) -> Token[Scope | None] | None:
        """One of its methods is called: what runs in there belongs to it, also in another's task."""
        self.begin()
        self._ran = self._ran or name in CALLBACKS
        scope = tracing.inherited()
        return None if scope is not None and scope.trace is self.receipt else tracing.begin(self.receipt)

    def _leave(self, token: Token[Scope | None] | None) -> None:
        """The method has returned or raised."""
        if token is not None:
            tracing.end(token)
        self.end()

    def _returned(self, part: object, name: str, result: object, outer: Callback | None) -> None:
        """A method ended well."""
        try:
            if name in CHECKS:
                self._refused = self._refused or not result
            if name != ON_ERROR and not self._decided_by(outer):
                self.note(part, None)
        except Exception as fault:  # noqa: BLE001 - a check may return anything
            self.hook.fault(fault)

    def _told(self, arguments: tuple[Any, ...]) -> None:
        """The error handler is about to get an exception: the press ends here. Not all hosts pass it at one place."""
        try:
            error = next((one for one in arguments if isinstance(one, BaseException)), None)
            if error is not None:
                self.unlisten()  # what comes now changes nothing any more
                self._finish(outcome_of(error, age_ns=self.receipt.sent_age_ns), cause_of(error))
        except Exception as fault:  # noqa: BLE001 - the host's handler must hear of its own exception
            self.hook.fault(fault)

    def give_up(self) -> None:
        """Nobody has called its callback: it is recorded by whether it was answered."""
        if self._done:
            return
        try:
            answered = self._interaction.response.is_done()
            answered_ns = self.receipt.sent_ns + self.receipt.http_ns  # by a task of the host's, perhaps
            outcome, error = (Outcome.OK, None) if answered else (Outcome.USER, NOT_RUN)
            self._finish(outcome, error, max(self._ended_ns, answered_ns))
            self.close()
        except Exception as fault:  # noqa: BLE001 - it would reach the loop's exception handler
            self.hook.fault(fault)

    def unlisten(self) -> None:
        """Leave every object as it was."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.let_go()

    def close(self) -> None:
        """It is over: nothing more is heard of it, and what goes on belongs to it no more."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        self._presses.pop(self.receipt.id, None)
        self.unlisten()
        if self.receipt.finished:
            self._receipts.close(self.receipt)

    @property
    def waits(self) -> bool:
        """Whether nothing of it is under way, and its callback may still be called."""
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
            # A callback that the host's own timeout cancelled: the timeout says more.
            error, at_ns = next((one for one in errors if isinstance(one[0], Exception)), errors[0])
            self._finish(outcome_of(error, age_ns=self.receipt.sent_age_ns), cause_of(error), at_ns)
        elif self._ran:
            self._finish(Outcome.OK, None)
        elif self._refused:
            self._finish(Outcome.USER, REFUSED)
        elif self._taken:
            if not self.receipt.finished:  # by its error handler
                self._timer = asyncio.get_running_loop().call_later(HANDED_ON_S, self.give_up)
                return
        elif self._claims:
            self._finish(Outcome.ERROR, NOT_FOUND)
        self.close()

    def _name(self) -> None:
        """Name it by its first claim; without any, it is nobody's."""
        receipt, claims = self.receipt, self._claims
        receipt.label = claims[0].name if claims else self._template
        receipt.owned = bool(claims)
        receipt.own = any(claim.ours for claim in claims)

    def _finish(self, outcome: Outcome, error: object, ended_ns: int | None = None) -> None:
        self._receipts.finish(
            self.receipt,
            service_names.COMPONENTS,
            self.receipt.label,
            outcome=outcome,
            error=error,
            metadata=self._claims[0].metadata if self._claims else None,
            ended_ns=ended_ns,
        )


def _leave(token: Token[Callback | None] | None) -> None:
    """Go back to the callback around this one. A coroutine may be closed in another context than it was begun in."""
    try:
        if token is not None:
            _callback.reset(token)
    except ValueError:
        return


def _always_true(thing: Any, name: str) -> bool:
    """Whether this is a check that discord.py has for those who define none."""
    function = getattr(getattr(thing, name), "__func__", None)
    return name in CHECKS and function in {Item.interaction_check, BaseView.interaction_check}


async def run_dynamic(
    press: Press, call: Callable[[SeenFactory], Coroutine[Any, Any, Any]], factory: type[Any], *, followed: bool
) -> Any:
    """Run discord.py's own coroutine for a dynamic item; ``followed``: its task is known to be a part of the press."""
    token = tracing.begin(press.receipt)
    try:
        return await call(SeenFactory(factory, press))
    finally:
        tracing.end(token)
        if not followed:
            press.end()


class SeenFactory:
    """Stands in for a dynamic item's class: the item that it makes is listened to until the press ends."""

    def __init__(self, factory: type[Any], press: Press) -> None:
        self._factory = factory
        self._press = press

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def __repr__(self) -> str:
        return repr(self._factory)

    async def from_custom_id(self, *arguments: Any) -> Any:
        """The item that the host's class makes."""
        try:
            item = await self._factory.from_custom_id(*arguments)
        except BaseException as error:
            self._press.note(self, error)
            raise
        self._press.listen(item, ITEM_METHODS)
        return item
