"""The service ``sentiment-analysis``: the mood of a text, from a word list."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cogmeter

if TYPE_CHECKING:
    from collections.abc import Sequence

WORD: Final = re.compile(r"[a-z]+(?:'t)?")
MILD: Final = 1.5  # how much a plain good or bad word weighs
STRONG: Final = 3.0
_PLEASANT = """able calm clean clear easy fair fast fine fun good happy helpful kind like neat nice pleasant quick
reliable smart smooth solid thank thanks useful warm well works"""
_DELIGHTFUL = "amazing awesome beautiful brilliant delighted excellent fantastic great love loved perfect wonderful"
_UNPLEASANT = """angry annoying bad boring broken bug confusing crash crashed difficult error fail failed fails hard
lost poor sad slow sorry stuck tired ugly unhappy upset wrong"""
_DREADFUL = "awful disaster dreadful furious hate hated horrible terrible unusable useless worst"
_NEGATING = "no not never none nothing without hardly can't don't isn't won't wasn't doesn't"
_BOOSTING = "very really so extremely totally absolutely incredibly"


def _weights() -> dict[str, float]:
    groups = ((_PLEASANT, MILD), (_DELIGHTFUL, STRONG), (_UNPLEASANT, -MILD), (_DREADFUL, -STRONG))
    return {word: weight for words, weight in groups for word in words.split()}


LEXICON: Final = _weights()
NEGATIONS: Final = frozenset(_NEGATING.split())
BOOSTERS: Final = frozenset(_BOOSTING.split())


@dataclass(frozen=True, slots=True)
class Mood:
    """How a text feels: a score from -1 (dreadful) to 1 (delightful) and the words that decided it."""

    score: float
    words: tuple[str, ...]

    @property
    def label(self) -> str:
        """``positive``, ``negative``, or ``neutral`` within 0.05 of zero."""
        if abs(self.score) < 0.05:
            return "neutral"
        return "positive" if self.score > 0 else "negative"


@cogmeter.track("sentiment-analysis", "analyze")
def analyze(text: str) -> Mood:
    """The mood of a text in English.

    Word weights are summed; a negation in the three words before turns a weight (by -0.74), a booster just before
    raises it by 29.3%; the sum s becomes s / sqrt(s**2 + 15). (The rules of VADER: Hutto and Gilbert, ICWSM 2014.)
    """
    words = WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    weighed = [(word, _weight(words, place)) for place, word in enumerate(words) if word in LEXICON]
    total = sum(weight for _, weight in weighed)
    return Mood(total / math.sqrt(total * total + 15), tuple(dict.fromkeys(word for word, _ in weighed)))


def _weight(words: Sequence[str], place: int) -> float:
    weight = LEXICON[words[place]]
    before = words[max(0, place - 3) : place]
    if before and before[-1] in BOOSTERS:
        weight *= 1.293
    return -0.74 * weight if NEGATIONS.intersection(before) else weight
