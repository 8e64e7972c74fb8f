"""Listens to one method of one object: what the host's own view or item does, as it does it.

discord.py and hosts look such methods up on the object at each call, so a listener in the object's own dictionary hears
of every call, whichever class defines the method. It passes everything on, and is taken out again.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cogmeter.watch.interactions.presses import Presses


class MethodListener:
    """Takes the place of one object's method while presses of it run, and tells each press how its calls end."""

    __slots__ = ("_method", "_name", "_presses", "_users", "before", "thing")

    def __init__(self, presses: Presses, thing: Any, name: str) -> None:
        self._presses, self.thing, self._name = presses, thing, name
        self._method = getattr(thing, name)
        self.before = vars(thing).get(name)  # what the object itself held; None: its class has the method
        self._users = 0
        vars(thing)[name] = self  # as setattr() would, without a __setattr__ of the host's

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def __repr__(self) -> str:
        return repr(self._method)

    def __deepcopy__(self, known: dict[int, Any]) -> Any:
        return copy.deepcopy(self._method, known)  # what we hold must not come along

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The object's own method."""
        press = self._presses.called_with((*arguments, *options.values()))
        if press is None:
            return await self._method(*arguments, **options)
        return await press.hear(self, self._name, self._method, *arguments, **options)

    def use(self) -> MethodListener:
        """One more press listens."""
        self._users += 1
        return self

    def let_go(self) -> None:
        """One press less; the last one puts the object's own method back, unless somebody replaced it since."""
        self._users -= 1
        held = vars(self.thing)
        if self._users or held.get(self._name) is not self:
            return
        if self.before is None:
            del held[self._name]
        else:
            held[self._name] = self.before


def listen(presses: Presses, thing: Any, name: str) -> MethodListener:
    """Return the listener on this method of this object, for one more press."""
    there = vars(thing).get(name)
    if isinstance(there, MethodListener):
        if there.thing is thing:
            return there.use()
        del vars(thing)[name]  # it came along when discord.py or the host copied the object during a press
        if there.before is not None:
            vars(thing)[name] = there.before
    return MethodListener(presses, thing, name).use()


def held_by(thing: Any, name: str) -> Any:
    """Return what the object itself has under this name, not what its class has, nor a listener; None without it."""
    there = vars(thing).get(name)
    return there.before if isinstance(there, MethodListener) else there
