"""Operation names for functions and classes of the host."""

from __future__ import annotations

import functools
from typing import Any, Final

from cogmeter.recording.recorder import MAX_NAME

NAMELESS: Final = "(nameless)"
_INSIDE = "<locals>."


def qualified(function: Any) -> str:
    """Return the name of a function, method or callable object, such as ``Greeter.on_message``; never empty."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition(_INSIDE)[2] or NAMELESS  # without the enclosing function


def fitted(name: str) -> str:
    """Return the name as a valid operation name: at most 100 characters, printable, not blank."""
    printable = name if name.isprintable() else "".join(char if char.isprintable() else "?" for char in name)
    printable = printable.strip()
    return (printable if len(printable) <= MAX_NAME else f"{printable[: MAX_NAME - 1]}…") or NAMELESS
