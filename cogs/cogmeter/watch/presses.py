"""One press of a component: what is seen of it while discord.py runs it, and its operation when it ends.

discord.py catches what a callback raises and asks the checks by itself. So a stand-in takes the place of the view, or
of the dynamic item's class, for one press: it passes everything on to the host's object, and listens. Nothing of the
host's is changed, and presses of one view at the same time do not meet.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cogmeter import services, tracing
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from cogmeter.watch.hook import Hook
    from cogmeter.watch.receipts import Receipt, Receipts

REFUSED: Final = "refused by interaction_check"
NOT_FOUND: Final = "not run: discord.py did not find the item on its message"


class Press:
    """A click, choice or submission under way. Its methods never raise; the first end counts."""

    __slots__ = ("_metadata", "_receipts", "allowed", "hook", "receipt")

    def __init__(self, receipts: Receipts, receipt: Receipt, hook: Hook, metadata: Mapping[str, Any] | None) -> None:
        self.receipt = receipt
        self.allowed: bool | None = None  # what the last check said; None: it was not asked
        self._receipts = receipts
        self._metadata = metadata
        self.hook = hook

    def failed(self, error: BaseException) -> None:
        """A check or the callback raised this; it ends here, before the host's error handler."""
        try:
            outcome = outcome_of(error, age_ns=self.receipt.sent_age_ns)
            self._finish(outcome, cause_of(error))
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            self.hook.fault(fault)

    def ended(self, *, not_asked: tuple[Outcome, str] = (Outcome.USER, REFUSED)) -> None:
        """discord.py is done with it. ``not_asked`` is what it means if the check was not asked."""
        try:
            if self.allowed:
                self._finish(Outcome.OK, None)
            else:
                self._finish(*((Outcome.USER, REFUSED) if self.allowed is False else not_asked))
        except Exception as fault:  # noqa: BLE001 - see above
            self.hook.fault(fault)

    def _finish(self, outcome: Outcome, error: object) -> None:
        receipt, metadata = self.receipt, self._metadata
        self._receipts.finish(
            receipt, services.COMPONENTS, receipt.label, outcome=outcome, error=error, metadata=metadata
        )


async def run(press: Press, call: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    """Run discord.py's own coroutine for a view or modal, as part of the press's trace."""
    token = tracing.begin(press.receipt)
    try:
        result = await call(*arguments)
        press.ended()
    except BaseException as error:  # cancelled, or raised by the host's error handler
        press.failed(error)
        raise
    else:
        return result
    finally:
        tracing.end(token)


class SeenView:
    """Stands in for a view or modal while one press of it runs."""

    __slots__ = ("__press", "__view")

    def __init__(self, view: Any, press: Press) -> None:
        object.__setattr__(self, "_SeenView__view", view)
        object.__setattr__(self, "_SeenView__press", press)

    # So that isinstance() and super() take it for the view. It is read alone, so it has no setter.
    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The view's class."""
        return type(self.__view)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__view, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__view, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__view, name)

    def __repr__(self) -> str:
        return repr(self.__view)

    async def interaction_check(self, interaction: Any) -> Any:
        """The view's own check."""
        allowed = await self.__view.interaction_check(interaction)
        self.__press.allowed = bool(allowed)
        return allowed

    async def on_error(self, interaction: Any, error: Exception, *item: Any) -> Any:
        """The view's own error handler."""
        self.__press.failed(error)
        return await self.__view.on_error(interaction, error, *item)


_running: ContextVar[Press | None] = ContextVar("cogmeter_press", default=None)


async def run_dynamic(press: Press, call: Callable[[SeenFactory], Coroutine[Any, Any, Any]], factory: type[Any]) -> Any:
    """Run discord.py's own coroutine for a dynamic item, as part of the press's trace."""
    token, running, seen = tracing.begin(press.receipt), _running.set(press), SeenFactory(factory, press)
    try:
        result = await call(seen)
        press.ended(not_asked=(Outcome.ERROR, NOT_FOUND))
    except BaseException as error:
        press.failed(error)
        raise
    else:
        return result
    finally:
        seen.let_go()
        _running.reset(running)
        tracing.end(token)


class SeenFactory:
    """Stands in for a dynamic item's class: the item that it makes is listened to until the press ends."""

    def __init__(self, factory: type[Any], press: Press) -> None:
        self._factory = factory
        self._press = press
        self._ears: list[Ear] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def __repr__(self) -> str:
        return repr(self._factory)

    async def from_custom_id(self, *arguments: Any) -> Any:
        """The item that the host's class makes."""
        try:
            item = await self._factory.from_custom_id(*arguments)
        except BaseException as error:
            self._press.failed(error)
            raise
        try:
            self._ears = [listen(item, name) for name in ("interaction_check", "callback")]
        except Exception as fault:  # noqa: BLE001 - a host's item may be anything
            self._press.hook.fault(fault)
        return item

    def let_go(self) -> None:
        """Leave the item as it was."""
        for ear in self._ears:
            ear.let_go()


class Ear:
    """Takes the place of a dynamic item's method, of this one object alone; a host may hand out one item twice."""

    __slots__ = ("_before", "_item", "_method", "_name", "_users")

    def __init__(self, item: Any, name: str) -> None:
        self._item, self._name = item, name
        self._method = getattr(item, name)
        self._before = vars(item).get(name)
        self._users = 0
        setattr(item, name, self)

    async def __call__(self, interaction: Any) -> Any:
        """The item's own method."""
        press = _running.get()
        try:
            result = await self._method(interaction)
        except BaseException as error:
            if press is not None:
                press.failed(error)
            raise
        if press is not None and self._name == "interaction_check":
            press.allowed = bool(result)
        return result

    def use(self) -> Ear:
        """One more press listens."""
        self._users += 1
        return self

    def let_go(self) -> None:
        """One press less; the last one puts the item's own method back, unless somebody replaced it since."""
        self._users -= 1
        if self._users or vars(self._item).get(self._name) is not self:
            return
        if self._before is None:
            delattr(self._item, self._name)
        else:
            setattr(self._item, self._name, self._before)


def listen(item: Any, name: str) -> Ear:
    """The ear on this method of this item."""
    there = vars(item).get(name)
    return (there if isinstance(there, Ear) else Ear(item, name)).use()
