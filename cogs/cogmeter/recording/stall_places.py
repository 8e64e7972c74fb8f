"""The names of blocks of the event loop that no line of code explains, and what to do about a block by its place."""

from __future__ import annotations

from typing import Final

C_CODE: Final = "(no stack: C code held the interpreter)"
NOTHING_RAN: Final = "(no stack: nothing ran in this process)"
COLLECTION: Final = "(garbage collection)"
NO_TURN: Final = "(no stack: the loop got no CPU time)"

_BLOCKED: Final = "Move the blocking call to a thread (await asyncio.to_thread(...)), or use an async library"
_STARVED: Final = "Give the bot more CPU time: the machine or container did not run it, or was stopped"
_ADVICE: Final = {
    COLLECTION: "Keep fewer objects alive: limit caches and histories, or call gc.freeze() after the start",
    C_CODE: "Look for long work in C, such as regular expressions, JSON or images; move it to another process",
    NOTHING_RAN: _STARVED,
    NO_TURN: _STARVED,
}


def names_code(text: str) -> bool:
    """Return whether a place, or a text that contains one, is not one of the places without a line of code."""
    return not any(place in text for place in _ADVICE)


def stall_advice(text: str = "") -> str:
    """Return what to do about a block at a place: an imperative without a full stop; ``text`` contains the place."""
    return next((advice for place, advice in _ADVICE.items() if place in text), _BLOCKED)
