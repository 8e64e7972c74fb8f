"""Finds the stored names that are most like what somebody typed."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ALIKE = 0.6  # of difflib's ratio, 0 to 1


def near(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The names most like this one, best first: that begin with it, hold it, hold its letters in order, or are spelled
    alike as a whole or in one of their words.
    """
    wanted = name.casefold().strip()
    if not wanted:
        return []
    scored = sorted((-_likeness(wanted, one.casefold()), len(one), one) for one in names)
    return [one for score, _, one in scored if score < 0][:limit]


def _likeness(wanted: str, name: str) -> float:
    """How much a stored name is like what was typed, both folded: 0 not at all, above 3 for one that begins with it."""
    if wanted in name:
        return 4.0 if name.startswith(wanted) else 3.0
    letters = iter(name)
    if all(letter in letters for letter in wanted):
        return 2.0
    parts = (name, *re.split(r"[\W_]+", name))
    best = max(difflib.SequenceMatcher(None, wanted, part).ratio() for part in parts)
    return best if best >= ALIKE else 0.0
