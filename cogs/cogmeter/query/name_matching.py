"""Finds the stored names that are most like what somebody typed.

On the event loop call ``suggestions.suggest``: it imports this module in a thread, which takes some 20 ms and 4 MB.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from rapidfuzz import fuzz, process
from rapidfuzz.distance import LCSseq

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST: Final = 100  # letters that are compared, of the input and of each name
MOST: Final = 2_000  # names that are compared: as many as a recorder knows
ALIKE: Final = 60.0  # least likeness of a whole name, 0 to 100: twice the letters in common over all letters
PART_ALIKE: Final = 75.0  # least likeness of a part of a name that is as long as the input
PARTS: Final = 100  # names whose parts are compared, which takes a hundred times as long as whole ones


def near(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """Return the names most like this one, best first.

    Names that begin with it come first, then those that contain it, those that have its letters in the same order, and
    those that are spelled alike as a whole or in a part. No more than MOST names and LONGEST letters are compared.
    """
    wanted = name.strip()[:LONGEST].casefold()[:LONGEST]
    if not wanted:
        return []
    known = list(islice(names, MOST))
    folded = [one[:LONGEST].casefold()[:LONGEST] for one in known]
    scores = _alike(wanted, folded)
    for place, one in enumerate(folded):
        if wanted in one:
            scores[place] = 400.0 if one.startswith(wanted) else 300.0
    ranked = sorted((-score, len(known[place]), known[place]) for place, score in scores.items())
    return [one for _, _, one in ranked[:limit]]


def _alike(wanted: str, folded: Sequence[str]) -> dict[int, float]:
    """Return the likeness of the names that are at least a little alike, by their place: up to 100, and 200 for those
    that have all letters in the same order.
    """
    letters = process.extract(
        wanted, folded, scorer=LCSseq.similarity, score_cutoff=round(0.6 * len(wanted)), limit=None
    )
    in_order = {place: 200.0 for _, common, place in letters if common == len(wanted)}
    # Nothing else can have a part that is alike enough; those with the most letters in common come first.
    longer = {place: one for one, _, place in letters if place not in in_order and len(one) > len(wanted)}
    some = dict(islice(longer.items(), PARTS))
    parts = process.extract(wanted, some, scorer=fuzz.partial_ratio, score_cutoff=PART_ALIKE, limit=None)
    scores = {place: 0.9 * score for _, score, place in parts}
    for _, score, place in process.extract(wanted, folded, scorer=fuzz.ratio, score_cutoff=ALIKE, limit=None):
        scores[place] = max(score, scores.get(place, 0.0))
    return scores | in_order
