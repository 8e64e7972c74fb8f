"""Which kind of writing a character belongs to, and the package whose fonts have it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEYCAP: Final = "\N{COMBINING ENCLOSING KEYCAP}"
_UNDEFINED: Final = frozenset({"Co", "Cn"})  # for private use, or not assigned
_EAST_ASIAN: Final = frozenset(
    {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"}
)


def packages_for(characters: Iterable[str]) -> str:
    """Return the Debian packages whose fonts have these characters: ``fonts-noto-cjk`` for Chinese, for one."""
    return " ".join(sorted({_package(one) for one in characters}))


def is_symbol(character: str) -> bool:
    """Whether a name can be read without it: an emoji, a sign, a keycap, a code that Unicode does not define."""
    category = unicodedata.category(character)
    return category.startswith("S") or category in _UNDEFINED or character == _KEYCAP


def _package(character: str) -> str:
    if unicodedata.name(character, "").partition(" ")[0] in _EAST_ASIAN:
        return "fonts-noto-cjk"
    return "fonts-symbola" if is_symbol(character) else "fonts-noto-core"
