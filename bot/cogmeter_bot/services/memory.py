"""The service ``context-memory``: what people asked the bot to remember, found again by meaning words."""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cogmeter

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PEOPLE: Final = 1000
MAX_NOTES: Final = 200  # a person
_STOPPING = """a an and are as at be but by can did do does for from had has have how i in is it its me my not of on or
our so that the their then they this to was we were what when where which who why will with you your"""
STOP_WORDS: Final = frozenset(_STOPPING.split())

# Defined once: the cheapest way to record what happens often.
_store = cogmeter.track("context-memory", "store")
_retrieve = cogmeter.track("context-memory", "retrieve")


@dataclass(frozen=True, slots=True)
class MemoryNote:
    """Something to remember, with its words counted."""

    text: str
    terms: Counter[str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A note that was found, and how well it fits, 0 to 1."""

    text: str
    score: float


class Memory:
    """Each person's latest notes, in memory; the person unused for longest makes room for a new one."""

    def __init__(self) -> None:
        self._notes: OrderedDict[int, deque[MemoryNote]] = OrderedDict()

    def remember(self, person: int, text: str) -> int:
        """Keep a note; returns how many this person has now."""
        with _store():
            notes = self._notes.setdefault(person, deque(maxlen=MAX_NOTES))
            self._notes.move_to_end(person)
            if len(self._notes) > MAX_PEOPLE:
                self._notes.popitem(last=False)
            notes.append(MemoryNote(text, Counter(terms_of(text))))
            return len(notes)

    def recall(self, person: int, question: str, limit: int = 3) -> list[Hit]:
        """The notes nearest to a question, best first: cosine similarity of tf-idf weights."""
        with _retrieve() as op:
            notes = self._notes.get(person, ())
            rarity = _rarity(notes)
            wanted = _vector(Counter(terms_of(question)), rarity)
            hits = [Hit(note.text, _cosine(wanted, _vector(note.terms, rarity))) for note in notes]
            op.annotate(notes=len(notes))
            return sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)[:limit]


def terms_of(text: str) -> list[str]:
    """The words of a text that carry meaning, in lower case."""
    return [word for word in re.findall(r"\w+", text.casefold()) if word not in STOP_WORDS]


def _rarity(notes: Iterable[MemoryNote]) -> dict[str, float]:
    """Inverse document frequency, log((1 + n) / (1 + notes with the word)) + 1, of each known word."""
    notes = list(notes)
    holding = Counter(term for note in notes for term in note.terms)
    return {term: math.log((1 + len(notes)) / (1 + count)) + 1 for term, count in holding.items()}


def _vector(terms: Counter[str], rarity: dict[str, float]) -> dict[str, float]:
    return {term: count * rarity[term] for term, count in terms.items() if term in rarity}


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    shared = sum(weight * other[term] for term, weight in one.items() if term in other)
    lengths = math.hypot(*one.values()) * math.hypot(*other.values())
    return shared / lengths if lengths else 0.0
