"""One hook: an attribute (or dictionary entry) of discord.py that is replaced while we watch, and its state.

A hook checks itself when it is installed, counts and swallows our own faults, and is removed only while it is still on
top; otherwise it stays below the other's wrapper and does nothing but pass on.
"""

from __future__ import annotations

import enum
import functools
import inspect
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_logger = logging.getLogger("cogmeter.watch")
_ABSENT: Any = object()


class HookState(enum.Enum):
    """What has become of a hook."""

    OFF = "off"  # not installed, or removed again
    ON = "on"
    FAILED = "failed"  # discord.py is not as expected; the surface falls back to public events
    BURIED = "buried"  # removed while somebody else's wrapper was on top: it passes on, and does nothing


class HookError(Exception):
    """discord.py is not as this hook expects it; the text says what differs."""


class Hook:
    """Replaces ``owner.attribute`` (or ``owner[attribute]`` of a dictionary) by what ``wrap(original)`` gives.

    ``wrap`` gets the original and this hook; its wrapper must pass on to the original alone when ``hook.active`` is
    false, and puts its own work into ``try``/``except`` that calls ``hook.fault(error)``.
    ``expects`` names the original's parameters, without ``self``; another signature is a HookError.
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
        self.reason = ""
        self.faults = 0
        self._owner = owner
        self._attribute = attribute
        self._wrap = wrap
        self._expects = expects
        self._wrapper: Any = None
        self._before: Any = _ABSENT  # what the owner itself held, if anything

    @property
    def active(self) -> bool:
        """Whether the wrapper is to do its work."""
        return self.state is HookState.ON

    def install(self) -> bool:
        """Put the wrapper in place; False, with the reason kept and logged, if discord.py is not as expected."""
        try:
            original = self._read()
            self._check(original)
            self._before = self._own()
            # It looks like the original, so that a hook on top of it finds the signature that it expects: after a
            # reload, our own wrapper may lie buried below another's.
            self._wrapper = functools.update_wrapper(self._wrap(original, self), original)
            self._write(self._wrapper)
        except Exception as error:  # noqa: BLE001 - private parts of another library may have become anything
            self.state, self.reason = HookState.FAILED, f"{type(error).__name__}: {error}"
            _logger.warning("Cannot watch %s, using public events: %s", self.name, self.reason)
            return False
        self.state, self.reason = HookState.ON, ""
        return True

    def remove(self) -> None:
        """Put back what was there, if nobody has wrapped it since."""
        if self.state is not HookState.ON:
            return
        if self._own() is self._wrapper:
            self._restore()
            self.state = HookState.OFF
        else:
            self.state, self.reason = HookState.BURIED, "another wrapper is on top; it passes on"
            _logger.info("The hook on %s stays below another's wrapper, and only passes on", self.name)

    def fault(self, error: BaseException) -> None:
        """Count and log a fault of our own; the first one with its trace."""
        self.faults += 1
        _logger.log(
            logging.ERROR if self.faults == 1 else logging.DEBUG,
            "The hook on %s failed",
            self.name,
            exc_info=error,
        )

    def _check(self, original: Any) -> None:
        if not callable(original):
            raise HookError(f"it is no function but a {type(original).__name__}")
        if self._expects is None:
            return
        found = [name for name in inspect.signature(original).parameters if name != "self"]
        if found != list(self._expects):
            raise HookError(f"it takes ({', '.join(found)}), expected ({', '.join(self._expects)})")

    def _read(self) -> Any:
        if isinstance(self._owner, dict):
            return self._owner[self._attribute]
        return getattr(self._owner, self._attribute)

    def _own(self) -> Any:
        """What the owner itself holds: an instance often only inherits the attribute."""
        held = self._owner if isinstance(self._owner, dict) else vars(self._owner)
        return held.get(self._attribute, _ABSENT)

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
