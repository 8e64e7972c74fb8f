"""Finds the stored names that are most similar to a name that a user typed.

``suggest`` runs in a thread, so that the event loop is not blocked. Its first call imports rapidfuzz (20 ms, 4 MB).
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST: Final = 100  # characters that are compared, of the input and of each name
MOST: Final = 2_000  # names that are compared: as many as a recorder keeps
SIMILAR: Final = 60.0  # least similarity of a whole name, 0 to 100: twice the shared letters over all letters
PART_SIMILAR: Final = 75.0  # least similarity of a part of a name that is as long as the input
PARTS: Final = 100  # names whose parts are compared, which takes a hundred times as long as whole names


async def suggest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Return the names most similar to this one, best first; ``near`` in a thread."""
    return await asyncio.to_thread(near, name, tuple(names), limit)


def near(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Return the names most similar to this one, best first.

    Names that begin with it come first, then names that contain it, names that have its letters in the same order, and
    names that are spelled similarly as a whole or in a part. At most MOST names and LONGEST characters are compared.
    """
    typed = name.strip()[:LONGEST].casefold()[:LONGEST]
    if not typed:
        return []
    known = list(islice(names, MOST))
    folded = [candidate[:LONGEST].casefold()[:LONGEST] for candidate in known]
    scores = _scores(typed, folded)
    for index, candidate in enumerate(folded):
        if typed in candidate:
            scores[index] = 400.0 if candidate.startswith(typed) else 300.0
    ranked = sorted((-score, len(known[index]), known[index]) for index, score in scores.items())
    return [candidate for _, _, candidate in ranked[:limit]]


def _scores(typed: str, folded: Sequence[str]) -> dict[int, float]:
    """Return the score by index of each name that is similar enough: up to 100, or 200 for all letters in order."""
    # Imported at the first use: most bots never need it.
    from rapidfuzz import fuzz, process
    from rapidfuzz.distance import LCSseq

    letters = process.extract(typed, folded, scorer=LCSseq.similarity, score_cutoff=round(0.6 * len(typed)), limit=None)
    in_order = {index: 200.0 for _, common, index in letters if common == len(typed)}
    # No other name can have a part that is similar enough. Names with the most letters in common come first.
    longer = {
        index: candidate for candidate, _, index in letters if index not in in_order and len(candidate) > len(typed)
    }
    compared = dict(islice(longer.items(), PARTS))
    parts = process.extract(typed, compared, scorer=fuzz.partial_ratio, score_cutoff=PART_SIMILAR, limit=None)
    scores = {index: 0.9 * score for _, score, index in parts}
    for _, score, index in process.extract(typed, folded, scorer=fuzz.ratio, score_cutoff=SIMILAR, limit=None):
        scores[index] = max(score, scores.get(index, 0.0))
    return scores | in_order
