"""Hooks on the host's own classes that override a hooked method of discord.py, with or without ``super()``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cogmeter.watch.hook import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST: Final = 50  # classes; a host that makes classes on the fly is not followed for ever


class Overrides:
    """Finds the class that defines a method of an object, and hooks it unless it is hooked already.

    The wrapper may be called inside of another one: an override that calls ``super()`` runs through both.
    """

    def __init__(
        self,
        hooks: list[Hook],
        wrap: Callable[[Callable[..., Any], Hook], Callable[..., Any]],
        hooked: Iterable[tuple[type, str]],
    ) -> None:
        """Add to ``hooks``; ``hooked`` are the classes and methods of discord.py that need no hook more."""
        self._hooks = hooks
        self._wrap = wrap
        self._hooked = set(hooked)
        self._names = sorted({name for _, name in self._hooked})
        self._seen: set[type] = set()

    def see(self, thing: object) -> None:
        """Hook what the class of this object overrides, if it is new."""
        kind = type(thing)
        if kind in self._seen or len(self._seen) >= MOST:
            return
        self._seen.add(kind)
        for name in self._names:
            owner = next((one for one in kind.__mro__ if name in vars(one)), None)
            if owner is not None and (owner, name) not in self._hooked:
                self._hooked.add((owner, name))
                hook = Hook(f"{owner.__qualname__}.{name}", owner, name, self._wrap)
                hook.install()
                self._hooks.append(hook)
