"""Find the fonts of the machine that have the characters of a name, and say names differently where none has.

DejaVu Sans comes with matplotlib and draws all words of ours. The other fonts are looked at when a name first has a
character that it lacks: with hundreds of fonts that takes some tenths of a second, once for each process.
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
REMEMBERED: Final = 500  # characters that no font has
# They have every character, as a box.
_BOXES: Final = ("LastResort", "Last Resort", ".LastResort", "Adobe Blank", "AdobeBlank")
# Without it, matplotlib draws letters one by one from left to right: no Arabic or Hebrew word can be read.
_SHAPES: Final = hasattr(ft2font, "__libraqm_version__")


@dataclass(frozen=True, slots=True)
class _Font:
    """A font file that was looked at."""

    path: str
    family: str
    codes: NDArray[np.uint32]  # of the characters that it has, sorted

    def has(self, character: str) -> bool:
        at = int(np.searchsorted(self.codes, ord(character)))
        return at < len(self.codes) and int(self.codes[at]) == ord(character)


class Fonts:
    """The fonts that names need. ``lacking`` has every character so far that no font of the machine has."""

    def __init__(self, paths: Callable[[], Iterable[str]] = findSystemFonts) -> None:
        """``paths`` gives the files of all installed fonts."""
        self.lacking: set[str] = set()
        self._paths = paths
        self._main = frozenset(map(chr, FT2Font(findfont(MAIN)).get_charmap()))
        self._used: list[_Font] = []
        self._installed: list[_Font] | None = None  # not looked at yet

    def families(self, words: str) -> list[str]:
        """Return the families to draw these words with, the first for all characters that it has."""
        if words.isascii() or self._main.issuperset(words):
            return [MAIN]
        return [MAIN, *(font.family for font in self._used if any(map(font.has, words)))]

    def legible(self, name: str, otherwise: str) -> str:
        """Return a name as it can be drawn: without symbols that no font has, or ``otherwise`` if it lacks letters."""
        name = _normal(name)
        missing = {one for one in name if not self._drawable(one)}
        if not missing:
            return name
        if all(map(is_symbol, missing)):
            kept = " ".join("".join(one for one in name if one not in missing).split())
            if any(map(str.isalnum, kept)):
                return kept
        return otherwise

    def _drawable(self, character: str) -> bool:
        """Whether some font has it; a font that is found for it is used from then on."""
        if character in self.lacking:
            return False
        readable = _SHAPES or unicodedata.bidirectional(character) not in {"R", "AL"}
        if readable and (character in self._main or _is_invisible(character)):
            return True
        if readable and (any(font.has(character) for font in self._used) or self._found(character)):
            return True
        if len(self.lacking) < REMEMBERED:
            self.lacking.add(character)
        return False

    def _found(self, character: str) -> bool:
        if self._installed is None:
            self._installed = _looked_at(self._paths())
        for font in self._installed:
            if font.has(character):
                try:
                    fontManager.addfont(font.path)
                except Exception:  # noqa: BLE001, S112 - a broken font raises many kinds; there may be another one
                    continue
                self._used.append(font)
                return True
        return False


def _normal(name: str) -> str:
    """The name with each letter as one character where there is one, and every kind of space as the plain one."""
    composed = unicodedata.normalize("NFC", name)
    return "".join(" " if unicodedata.category(one) == "Zs" else one for one in composed)


def _is_invisible(character: str) -> bool:
    """Return whether it only changes its neighbours: a joiner, a direction, a variation selector."""
    code = ord(character)
    return unicodedata.category(character) == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF


def _looked_at(paths: Iterable[str]) -> list[_Font]:
    """Return the fonts that can be drawn with, plain sans-serif ones first."""
    found = []
    for path in paths:
        try:
            font = FT2Font(path)
            if not font.scalable or font.family_name.startswith(_BOXES):  # not scalable: pictures of coloured emoji
                continue
            codes = np.fromiter(font.get_charmap(), dtype=np.uint32)
            odd = bool(font.style_flags & (StyleFlags.BOLD | StyleFlags.ITALIC)) or font.style_name not in _PLAIN
            family = font.family_name
        except Exception:  # noqa: BLE001, S112 - a broken font raises many kinds; it is not used
            continue
        codes.sort()
        found.append(((odd, "Sans" not in family, path), _Font(path, family, codes)))
    return [font for _, font in sorted(found, key=lambda pair: pair[0])]


_PLAIN: Final = frozenset({"Regular", "Book", "Normal", "Roman", "Medium"})
