"""Names for what the host defined: from qualified names to operation names that a series can bear."""

from __future__ import annotations

import functools
from typing import Any, Final

from cogmeter.recording.recorder import MAX_NAME

NAMELESS: Final = "(nameless)"
_INSIDE = "<locals>."


def qualified(function: Any) -> str:
    """The name of a function, method or callable object, such as ``Greeter.on_message``; never empty."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition(_INSIDE)[2] or NAMELESS  # what encloses it tells nobody anything


def fitted(name: str) -> str:
    """A name that a series can bear: at most 100 characters, printable, not blank."""
    shown = name if name.isprintable() else "".join(char if char.isprintable() else "?" for char in name)
    shown = shown.strip()
    return (shown if len(shown) <= MAX_NAME else f"{shown[: MAX_NAME - 1]}…") or NAMELESS
