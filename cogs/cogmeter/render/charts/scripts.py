"""Finds the package whose fonts have a character, without importing matplotlib."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEYCAP: Final = "\N{COMBINING ENCLOSING KEYCAP}"
_UNDEFINED: Final = frozenset({"Co", "Cn"})  # private use, not assigned
_EAST_ASIAN: Final = frozenset(
    {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"}
)


def packages_for(characters: Iterable[str]) -> str:
    """Return the Debian packages whose fonts have these characters, such as ``fonts-noto-cjk`` for Chinese."""
    return " ".join(sorted({_package(character) for character in characters}))


def is_symbol(character: str) -> bool:
    """Return whether a name can be read without it: an emoji, a sign, a keycap, a code that Unicode does not define."""
    category = unicodedata.category(character)
    return category.startswith("S") or category in _UNDEFINED or character == _KEYCAP


def _package(character: str) -> str:
    if unicodedata.name(character, "").partition(" ")[0] in _EAST_ASIAN:
        return "fonts-noto-cjk"
    return "fonts-symbola" if is_symbol(character) else "fonts-noto-core"
