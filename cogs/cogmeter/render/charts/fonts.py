"""Finds installed fonts that have the characters of a name, and replaces names that no font can draw.

DejaVu Sans comes with matplotlib and has all characters of our own texts. The other fonts are searched when a name
first needs them: with hundreds of fonts that takes some tenths of a second, once per process.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import ft2font
from matplotlib.font_manager import findfont, findSystemFonts, fontManager
from matplotlib.ft2font import FT2Font, StyleFlags

from cogmeter.render.charts.scripts import is_symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

MAIN: Final = "DejaVu Sans"
MISSING_LIMIT: Final = 500  # characters
# These fonts have every character, as a box.
_BOX_FONTS: Final = ("LastResort", "Last Resort", ".LastResort", "Adobe Blank", "AdobeBlank")
# Without libraqm, matplotlib draws letters one by one from left to right: Arabic and Hebrew cannot be read.
_HAS_SHAPING: Final = hasattr(ft2font, "__libraqm_version__")


@dataclass(frozen=True, slots=True)
class _Font:
    """An installed font."""

    path: str
    family: str
    codes: NDArray[np.uint32]  # of its characters, sorted

    def has(self, character: str) -> bool:
        index = int(np.searchsorted(self.codes, ord(character)))
        return index < len(self.codes) and int(self.codes[index]) == ord(character)


class Fonts:
    """The fonts that names need. ``missing_glyphs`` are the characters so far that no installed font has."""

    def __init__(self, paths: Callable[[], Iterable[str]] = findSystemFonts) -> None:
        """Search the files that ``paths`` returns."""
        self.missing_glyphs: set[str] = set()
        self._paths = paths
        self._main = frozenset(map(chr, FT2Font(findfont(MAIN)).get_charmap()))
        self._used: list[_Font] = []
        self._installed: list[_Font] | None = None  # not searched yet

    def families(self, text: str) -> list[str]:
        """Return the font families to draw a text with; the first one that has a character draws it."""
        if text.isascii() or self._main.issuperset(text):
            return [MAIN]
        return [MAIN, *(font.family for font in self._used if any(map(font.has, text)))]

    def legible(self, name: str, fallback: str) -> str:
        """Return a name without symbols that no font has; ``fallback`` if letters are missing."""
        name = _normal(name)
        missing = {character for character in name if not self._drawable(character)}
        if not missing:
            return name
        if all(map(is_symbol, missing)):
            legible = " ".join("".join(character for character in name if character not in missing).split())
            if any(map(str.isalnum, legible)):
                return legible
        return fallback

    def _drawable(self, character: str) -> bool:
        """Return whether a font has the character; a font that is found for it is used from then on."""
        if character in self.missing_glyphs:
            return False
        readable = _HAS_SHAPING or unicodedata.bidirectional(character) not in {"R", "AL"}
        if readable and (character in self._main or _is_invisible(character)):
            return True
        if readable and (any(font.has(character) for font in self._used) or self._find_font(character)):
            return True
        if len(self.missing_glyphs) < MISSING_LIMIT:
            self.missing_glyphs.add(character)
        return False

    def _find_font(self, character: str) -> bool:
        if self._installed is None:
            self._installed = _usable_fonts(self._paths())
        for font in self._installed:
            if font.has(character):
                try:
                    fontManager.addfont(font.path)
                except Exception:  # noqa: BLE001, S112 - a broken font raises many kinds of errors; try the next font
                    continue
                self._used.append(font)
                return True
        return False


def _normal(name: str) -> str:
    """Return the name in composed form (NFC), with every kind of space as the plain one."""
    composed = unicodedata.normalize("NFC", name)
    return "".join(" " if unicodedata.category(character) == "Zs" else character for character in composed)


def _is_invisible(character: str) -> bool:
    """Return whether a character only changes its neighbours: a joiner, a direction, a variation selector."""
    code = ord(character)
    return unicodedata.category(character) == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _usable_fonts(paths: Iterable[str]) -> list[_Font]:
    """Return the fonts that matplotlib can draw, plain sans-serif ones first."""
    fonts = []
    for path in paths:
        try:
            font = FT2Font(path)
            if not font.scalable or font.family_name.startswith(_BOX_FONTS):  # fonts of coloured emoji are not scalable
                continue
            codes = np.fromiter(font.get_charmap(), dtype=np.uint32)
            styled = bool(font.style_flags & (StyleFlags.BOLD | StyleFlags.ITALIC)) or font.style_name not in _PLAIN
            family = font.family_name
        except Exception:  # noqa: BLE001, S112 - a broken font raises many kinds of errors
            continue
        codes.sort()
        fonts.append(((styled, "Sans" not in family, path), _Font(path, family, codes)))
    return [font for _, font in sorted(fonts, key=lambda pair: pair[0])]


_PLAIN: Final = frozenset({"Regular", "Book", "Normal", "Roman", "Medium"})
