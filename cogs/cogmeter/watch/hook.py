"""Hooks: attributes or dictionary entries of discord.py that are replaced while a surface is watched.

A hook checks itself when it is installed, and counts and swallows cogmeter's own faults. It is removed only while it is
the outermost wrapper; otherwise it stays below the other wrapper and only calls the original.
"""

from __future__ import annotations

import enum
import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_CLASSES: Final = 50  # whose overrides are hooked: a host may create classes without end

_logger = logging.getLogger("cogmeter.watch")
_ABSENT: Any = object()


class HookState(enum.Enum):
    """The state of a hook."""

    OFF = "off"  # not installed, or removed again
    ON = "on"
    FAILED = "failed"  # discord.py is not as expected; the surface falls back to public events
    BURIED = "buried"  # removed while another wrapper was on top: it only calls the original


class HookError(Exception):
    """discord.py is not as this hook expects it; the text names the difference."""


class Hook:
    """A replacement of ``owner.attribute`` (or ``owner[attribute]`` of a dictionary) by ``wrap(original, hook)``.

    The wrapper only calls the original while ``hook.active`` is false. Its own work is inside a ``try`` whose
    ``except`` calls ``hook.fault(error)``. ``expects`` names the original's parameters without ``self``; other
    parameters fail the hook.
    """

    def __init__(
        self,
        name: str,
        owner: Any,
        attribute: str,
        wrap: Callable[[Callable[..., Any], Hook], Callable[..., Any]],
        *,
        expects: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.state = HookState.OFF
        self.active = False  # the wrapper does more than call the original; no property: each call of the host reads it
        self.reason = ""
        self.faults = 0
        self._owner = owner
        self._attribute = attribute
        self._wrap = wrap
        self._expects = expects
        self._wrapper: Any = None
        self._before: Any = _ABSENT  # the owner's own attribute, if it had one

    def install(self) -> bool:
        """Install the wrapper. Return False, and log the reason, if discord.py is not as expected."""
        try:
            original = self._read()
            self._check(original)
            self._before = self._own()
            # The wrapper has the original's signature, which a hook on top of it checks: after a reload, the earlier
            # wrapper may be buried below another one.
            self._wrapper = functools.update_wrapper(self._wrap(original, self), original)
            self._write(self._wrapper)
        except Exception as error:  # noqa: BLE001 - private parts of another library may fail in any way
            self.state, self.reason = HookState.FAILED, f"{type(error).__name__}: {error}"
            _logger.warning("Cannot watch %s, using public events: %s", self.name, self.reason)
            return False
        self.state, self.active, self.reason = HookState.ON, True, ""
        return True

    def remove(self) -> None:
        """Restore the original unless another wrapper was installed since."""
        if not self.active:
            return
        if self._own() is self._wrapper:
            self._restore()
            self.state = HookState.OFF
        else:
            self.state, self.reason = HookState.BURIED, "another wrapper is on top; only calls the original"
            _logger.info("The hook on %s stays below another wrapper, and only calls the original", self.name)
        self.active = False

    def fault(self, error: BaseException) -> None:
        """Count and log a fault of cogmeter, the first one at ERROR."""
        self.faults += 1
        _logger.log(
            logging.ERROR if self.faults == 1 else logging.DEBUG,
            "The hook on %s failed",
            self.name,
            exc_info=error,
        )

    def _check(self, original: Any) -> None:
        if not callable(original):
            raise HookError(f"it is a {type(original).__name__}, not a function")
        if self._expects is None:
            return
        parameters = [name for name in inspect.signature(original).parameters if name != "self"]
        if parameters != list(self._expects):
            raise HookError(f"it takes ({', '.join(parameters)}), expected ({', '.join(self._expects)})")

    def _read(self) -> Any:
        if isinstance(self._owner, dict):
            return self._owner[self._attribute]
        return getattr(self._owner, self._attribute)

    def _own(self) -> Any:
        """Return the owner's own attribute: an instance often only inherits it."""
        attributes = self._owner if isinstance(self._owner, dict) else vars(self._owner)
        return attributes.get(self._attribute, _ABSENT)

    def _write(self, value: Any) -> None:
        if isinstance(self._owner, dict):
            self._owner[self._attribute] = value
        else:
            setattr(self._owner, self._attribute, value)

    def _restore(self) -> None:
        if self._before is not _ABSENT:
            self._write(self._before)
        elif isinstance(self._owner, dict):
            del self._owner[self._attribute]
        else:
            delattr(self._owner, self._attribute)


class Overrides:
    """Hooks on the host's classes that override a hooked method of discord.py, with or without ``super()``.

    An override that calls ``super()`` runs through both wrappers.
    """

    def __init__(
        self,
        hooks: list[Hook],
        wrap: Callable[[Callable[..., Any], Hook], Callable[..., Any]],
        hooked: Iterable[tuple[type, str]],
    ) -> None:
        """Add new hooks to ``hooks``; ``hooked`` are the methods of discord.py that are hooked already."""
        self._hooks = hooks
        self._wrap = wrap
        self._hooked = set(hooked)
        self._names = sorted({name for _, name in self._hooked})
        self._seen: set[type] = set()

    def see(self, command: object) -> None:
        """Hook the methods that a new class of this object overrides."""
        kind = type(command)
        if kind in self._seen or len(self._seen) >= MAX_CLASSES:
            return
        self._seen.add(kind)
        for name in self._names:
            owner = next((base for base in kind.__mro__ if name in vars(base)), None)
            if owner is not None and (owner, name) not in self._hooked:
                self._hooked.add((owner, name))
                hook = Hook(f"{owner.__qualname__}.{name}", owner, name, self._wrap)
                hook.install()
                self._hooks.append(hook)
