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
MILD: Final = 1.5  # weight of a mild word
STRONG: Final = 3.0
_MILD_POSITIVE = """able calm clean clear easy fair fast fine fun good happy helpful kind like neat nice pleasant quick
reliable smart smooth solid thank thanks useful warm well works"""
_STRONG_POSITIVE = (
    "amazing awesome beautiful brilliant delighted excellent fantastic great love loved perfect wonderful"
)
_MILD_NEGATIVE = """angry annoying bad boring broken bug confusing crash crashed difficult error fail failed fails hard
lost poor sad slow sorry stuck tired ugly unhappy upset wrong"""
_STRONG_NEGATIVE = "awful disaster dreadful furious hate hated horrible terrible unusable useless worst"
_NEGATING = "no not never none nothing without hardly can't don't isn't won't wasn't doesn't"
_BOOSTING = "very really so extremely totally absolutely incredibly"


def _weights() -> dict[str, float]:
    groups = ((_MILD_POSITIVE, MILD), (_STRONG_POSITIVE, STRONG), (_MILD_NEGATIVE, -MILD), (_STRONG_NEGATIVE, -STRONG))
    return {word: weight for words, weight in groups for word in words.split()}


LEXICON: Final = _weights()
NEGATIONS: Final = frozenset(_NEGATING.split())
BOOSTERS: Final = frozenset(_BOOSTING.split())


@dataclass(frozen=True, slots=True)
class Mood:
    """The mood of a text: a score from -1 (negative) to 1 (positive), and the words that affected it."""

    score: float
    words: tuple[str, ...]

    @property
    def label(self) -> str:
        """The mood in one word; neutral within 0.05 of zero."""
        if abs(self.score) < 0.05:
            return "neutral"
        return "positive" if self.score > 0 else "negative"


@cogmeter.track("sentiment-analysis", "analyze")
def analyze(text: str) -> Mood:
    """Return the mood of a text in English.

    The score is the sum of word weights. A negation within the three preceding words multiplies a weight by -0.74, a
    booster directly before raises it by 29.3%. The sum s is scaled to s / sqrt(s**2 + 15), as in VADER (Hutto and
    Gilbert, ICWSM 2014).
    """
    words = WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    weighted = [(word, _weight(words, index)) for index, word in enumerate(words) if word in LEXICON]
    total = sum(weight for _, weight in weighted)
    return Mood(total / math.sqrt(total * total + 15), tuple(dict.fromkeys(word for word, _ in weighted)))


def _weight(words: Sequence[str], index: int) -> float:
    weight = LEXICON[words[index]]
    before = words[max(0, index - 3) : index]
    if before and before[-1] in BOOSTERS:
        weight *= 1.293
    return -0.74 * weight if NEGATIONS.intersection(before) else weight
