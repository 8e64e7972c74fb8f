"""Templates of custom ids: what a component is, without the ids and random parts that its custom id carries."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Final

from cogmeter.watch.names import fitted

HOLE: Final = "{}"
LONGEST_WORD: Final = 24  # letters; a longer run of them is no word
_UUID: Final = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_WORD: Final = re.compile(r"[^\W_]+")
_NUMBERED: Final = re.compile(r"([^\W\d_]{1,16})\d{1,6}")  # "page2"
_HOLES: Final = re.compile(r"\{\}(?:[-_]?\{\})+")
_GROUP: Final = re.compile(r"\(\?P<(\w+)>[^()]*\)")


@functools.lru_cache(maxsize=1024)
def template_of(custom_id: str) -> str:
    """The custom id with digits and random parts replaced: ``vote:81234:yes`` is ``vote:{}:yes``.

    At most 100 printable characters. Free text in a custom id stays; who counts templates must bound their number.
    """
    whole = _WORD.sub(_hollow, _UUID.sub(HOLE, custom_id))
    return fitted(_HOLES.sub(HOLE, whole))


@functools.lru_cache(maxsize=256)
def readable(pattern: str) -> str:
    """A dynamic item's pattern with its named groups as ``{name}``: ``vote:(?P<poll>[0-9]+)`` is ``vote:{poll}``."""
    return _GROUP.sub(r"{\1}", pattern)


def _hollow(found: re.Match[str]) -> str:
    word = found[0]
    if word.isalpha():
        return HOLE if len(word) > LONGEST_WORD or _mixed(word) else word
    numbered = _NUMBERED.fullmatch(word)
    return numbered[1] + HOLE if numbered and not _mixed(numbered[1]) else HOLE


def _mixed(word: str) -> bool:
    """Whether capitals come and go as in random text: "xKqRtZpWvB", unlike "confirmDelete" and "HTTP"."""
    turns = sum(one.isupper() != other.isupper() for one, other in itertools.pairwise(word))
    return len(word) >= 8 and turns > len(word) // 2
