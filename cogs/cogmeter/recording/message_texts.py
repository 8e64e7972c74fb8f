"""Removes what users wrote from texts of errors: the message or the options that the running code was started by.

A host, discord.py and Python quote such texts in exceptions: ``Member "..." not found``, ``KeyError: '...'``. Only the
text is kept, for as long as code runs in its context; nothing is searched before an error occurs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from contextvars import Context

MARK: Final = "[message]"
LEAST: Final = 4  # characters of a text that is replaced without quotation marks
MAX_TEXTS: Final = 25  # of one interaction: a command's options or a modal's fields
DEEPEST: Final = 4  # a group's command's options, a modal's label's field
MAX_SEARCHED: Final = 10_000  # characters of an error's text; a message has at most 4,000

# What started the running code: the data of an interaction, the text of an edited message, or a new message's text, id
# and arrival (by time.perf_counter_ns). A second variable, set for each message, would take as long again.
Received: TypeAlias = Mapping[str, Any] | str | tuple[str, str, int] | None
received: Final[ContextVar[Received]] = ContextVar("cogmeter_received", default=None)

_MARKS: Final = "\"'`"
_QUOTED: Final = re.compile(r"""(?P<mark>["'`])(?P<text>(?:(?!(?P=mark)).){1,500})(?P=mark)""", re.DOTALL)
_WORD: Final = re.compile(r"""[^\s"'`]+""")
_INSIDE: Final = ("options", "components", "component")


def without_message(text: str, context: Context | None = None) -> str:
    """Return the text of an error with every text of the user replaced by ``[message]``.

    Replaced are the whole text, for a message also without its first word (the command), and each part in quotation
    marks that consists of words of the user. ``context``: that of the task that failed, if other code reports it.

    Call it before a text is cut or changed: a part of a message is not found.
    """
    source = received.get() if context is None else context.get(received)
    written = list(_texts(source)) if source else []
    if not written:
        return text
    text = text[:MAX_SEARCHED]
    for whole in written:
        for part in (whole, *whole.strip().split(maxsplit=1)[1:]):
            text = _without(text, part)
    if not any(mark in text for mark in _MARKS):
        return text
    words = {word for whole in written for word in _WORD.findall(whole)}
    return _QUOTED.sub(lambda match: _marked(match, written, words), text)


def _without(text: str, part: str) -> str:
    """Return the text without a part, also where it is quoted by ``repr``, but not inside of words."""
    for form in dict.fromkeys((part, repr(part)[1:-1])):
        # No pattern: ``re`` would compile the user's text, and keep it after the code has ended.
        at = text.find(form) if len(form) >= LEAST else -1
        while at >= 0:
            end = at + len(form)
            if _is_word(text[at - 1 : at]) or _is_word(text[end : end + 1]):
                at = text.find(form, at + 1)
            else:
                text = text[:at] + MARK + text[end:]
                at = text.find(form, at + len(MARK))
    return text


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _texts(source: Received) -> Iterator[str]:
    """Yield the texts of a message, or of an interaction's options and fields."""
    if isinstance(source, tuple):
        source = source[0]
    if isinstance(source, str):
        yield source
    elif isinstance(source, Mapping):
        yield from list(_values(source, DEEPEST))[:MAX_TEXTS]


def _values(data: Mapping[str, Any], depth: int) -> Iterator[str]:
    value = data.get("value")
    if isinstance(value, str) and value:
        yield value
    for name in _INSIDE if depth else ():
        inner = data.get(name)
        for part in inner if isinstance(inner, Sequence) else (inner,):
            if isinstance(part, Mapping):
                yield from _values(part, depth - 1)


def _marked(match: re.Match[str], written: Sequence[str], words: Collection[str]) -> str:
    quoted = match["text"]
    found = quoted in words or (" " in quoted and any(quoted in text for text in written))
    return f"{match['mark']}{MARK}{match['mark']}" if found else match[0]
