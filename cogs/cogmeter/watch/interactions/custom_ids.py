"""Templates of custom ids: the name of a component without ids and random parts."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Final

from cogmeter.watch.names import fitted

HOLE: Final = "{}"
LONGEST_WORD: Final = 24  # letters; a longer run of letters is not a word
_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+")
_NUMBERED: Final = re.compile(r"([^\W\d_]{1,16})\d{1,6}")  # "page2"
_HOLES: Final = re.compile(r"\{\}(?:[-_]?\{\})+")
_GROUP: Final = re.compile(r"\(\?P<(\w+)>[^()]*\)")


@functools.lru_cache(maxsize=1024)
def template_of(custom_id: str) -> str:
    """Return the custom id with digits and random parts replaced: ``vote:{}:yes`` for ``vote:81234:yes``.

    It has at most 100 printable characters. Free text stays, so callers must limit the number of templates.
    """
    whole = _WORD.sub(_hollow, _UUID.sub(HOLE, custom_id))
    return fitted(_HOLES.sub(HOLE, whole))


@functools.lru_cache(maxsize=256)
def readable(pattern: str) -> str:
    """Return a dynamic item's pattern with its groups as ``{name}``: ``vote:{poll}`` for ``vote:(?P<poll>[0-9]+)``."""
    return _GROUP.sub(r"{\1}", pattern)


def _hollow(match: re.Match[str]) -> str:
    word = match[0]
    if word.isalpha():
        return HOLE if len(word) > LONGEST_WORD or _mixed(word) else word
    numbered = _NUMBERED.fullmatch(word)
    return numbered[1] + HOLE if numbered and not _mixed(numbered[1]) else HOLE


def _mixed(word: str) -> bool:
    """Return whether upper and lower case alternate as in random text: "xKqRtZpWvB", but not "confirmDelete"."""
    turns = sum(letter.isupper() != following.isupper() for letter, following in itertools.pairwise(word))
    return len(word) >= 8 and turns > len(word) // 2
