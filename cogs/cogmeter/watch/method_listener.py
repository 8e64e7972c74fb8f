"""Listens to one method of one object: what the host's own view or item does, as it does it.

discord.py and hosts look such methods up on the object at each call, so a listener in the object's own dictionary hears
of every call, whichever class defines the method. It passes everything on, and is taken out again.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cogmeter.watch.presses import Press, Presses

ON_ERROR: Final = "on_error"


class MethodListener:
    """Takes the place of one object's method while presses of it run, and tells each press how its calls end."""

    __slots__ = ("_method", "_name", "_presses", "_thing", "_users", "before")

    def __init__(self, presses: Presses, thing: Any, name: str) -> None:
        self._presses, self._thing, self._name = presses, thing, name
        self._method = getattr(thing, name)
        self.before = vars(thing).get(name)  # what the object itself held; None: its class has the method
        self._users = 0
        vars(thing)[name] = self  # as setattr() would, without a __setattr__ of the host's

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def __repr__(self) -> str:
        return repr(self._method)

    def __copy__(self) -> Any:
        return self._method

    def __deepcopy__(self, known: dict[int, Any]) -> Any:
        return copy.deepcopy(self._method, known)  # discord.py copies items; what we hold must not come along

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The object's own method."""
        press = self._presses.called_with((*arguments, *options.values()))
        if press is None:
            return await self._method(*arguments, **options)
        if self._name == ON_ERROR:
            self._told(press, arguments)
        token = press.enter(self._name)
        try:
            result = await self._method(*arguments, **options)
            press.returned(self, self._name, result)
        except BaseException as error:
            press.note(self, error)
            raise
        else:
            return result
        finally:
            press.leave(token)

    def _told(self, press: Press, arguments: tuple[Any, ...]) -> None:
        """The error handler gets an exception; not every host's passes it at the same place."""
        try:
            error = next((one for one in arguments if isinstance(one, BaseException)), None)
            if error is not None:
                press.failed(error)
        except Exception as fault:  # noqa: BLE001 - the host's handler must hear of its own exception
            press.hook.fault(fault)

    def use(self) -> MethodListener:
        """One more press listens."""
        self._users += 1
        return self

    def let_go(self) -> None:
        """One press less; the last one puts the object's own method back, unless somebody replaced it since."""
        self._users -= 1
        held = vars(self._thing)
        if self._users or held.get(self._name) is not self:
            return
        if self.before is None:
            del held[self._name]
        else:
            held[self._name] = self.before


def listen(presses: Presses, thing: Any, name: str) -> MethodListener:
    """Return the listener on this method of this object, for one more press."""
    there = vars(thing).get(name)
    return (there if isinstance(there, MethodListener) else MethodListener(presses, thing, name)).use()


def held_by(thing: Any, name: str) -> Any:
    """Return what the object itself has under this name, not what its class has, nor a listener; None without it."""
    there = vars(thing).get(name)
    return there.before if isinstance(there, MethodListener) else there
