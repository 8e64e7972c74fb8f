"""Listens to one method of one object, a view or item of the host.

discord.py and hosts look up such methods on the object at each call, so a listener in the object's own dictionary gets
every call, whichever class defines the method. It calls the method, and is removed afterwards.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cogmeter.watch.interactions.presses import Presses


class MethodListener:
    """A replacement of an object's method while presses of it run; it reports the results of calls to the press."""

    __slots__ = ("_method", "_name", "_presses", "_users", "before", "target")

    def __init__(self, presses: Presses, target: Any, name: str) -> None:
        self._presses, self.target, self._name = presses, target, name
        self._method = getattr(target, name)
        self.before = vars(target).get(name)  # the object's own attribute; None: its class has the method
        self._users = 0
        vars(target)[name] = self  # as setattr() would, without a __setattr__ of the host's

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def __repr__(self) -> str:
        return repr(self._method)

    def __deepcopy__(self, known: dict[int, Any]) -> Any:
        return copy.deepcopy(self._method, known)  # our references must not be copied

    async def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the object's own method, as a part of its press."""
        press = self._presses.called_with((*arguments, *options.values()))
        if press is None:
            return await self._method(*arguments, **options)
        return await press.hear(self, self._name, self._method, *arguments, **options)

    def use(self) -> MethodListener:
        """Add a press that listens."""
        self._users += 1
        return self

    def release(self) -> None:
        """Remove a press; the last one restores the object's own method unless it was replaced since."""
        self._users -= 1
        attributes = vars(self.target)
        if self._users or attributes.get(self._name) is not self:
            return
        if self.before is None:
            del attributes[self._name]
        else:
            attributes[self._name] = self.before


def listen(presses: Presses, target: Any, name: str) -> MethodListener:
    """Return the listener on this method of this object, for one more press."""
    present = vars(target).get(name)
    if isinstance(present, MethodListener):
        if present.target is target:
            return present.use()
        del vars(target)[name]  # copied with the object by discord.py or the host during a press
        if present.before is not None:
            vars(target)[name] = present.before
    return MethodListener(presses, target, name).use()


def own_attribute(target: Any, name: str) -> Any:
    """Return the object's own attribute, below a listener but not from its class; None if it has none."""
    present = vars(target).get(name)
    return present.before if isinstance(present, MethodListener) else present
