"""The service ``context-memory``: notes of users, found again by their words."""

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
MAX_NOTES: Final = 200  # per person
_STOP = """a an and are as at be but by can did do does for from had has have how i in is it its me my not of on or
our so that the their then they this to was we were what when where which who why will with you your"""
STOP_WORDS: Final = frozenset(_STOP.split())

# Defined once: the fastest way to record frequent operations.
_store = cogmeter.track("context-memory", "store")
_retrieve = cogmeter.track("context-memory", "retrieve")


@dataclass(frozen=True, slots=True)
class MemoryNote:
    """A note and the counts of its words."""

    text: str
    terms: Counter[str]


@dataclass(frozen=True, slots=True)
class Hit:
    """A matching note and its score, 0 to 1."""

    text: str
    score: float


class Memory:
    """The latest notes of each person, in memory; a new person replaces the least recent one."""

    def __init__(self) -> None:
        self._notes: OrderedDict[int, deque[MemoryNote]] = OrderedDict()

    def remember(self, person: int, text: str) -> int:
        """Store a note, and return the number of the person's notes."""
        with _store():
            notes = self._notes.setdefault(person, deque(maxlen=MAX_NOTES))
            self._notes.move_to_end(person)
            if len(self._notes) > MAX_PEOPLE:
                self._notes.popitem(last=False)
            notes.append(MemoryNote(text, Counter(terms_of(text))))
            return len(notes)

    def recall(self, person: int, question: str, limit: int = 3) -> list[Hit]:
        """Return the notes most similar to a question, best first: cosine similarity of tf-idf weights."""
        with _retrieve() as op:
            notes = self._notes.get(person, ())
            rarity = _rarity(notes)
            query = _vector(Counter(terms_of(question)), rarity)
            hits = [Hit(note.text, _cosine(query, _vector(note.terms, rarity))) for note in notes]
            op.annotate(notes=len(notes))
            return sorted((hit for hit in hits if hit.score > 0), key=lambda hit: -hit.score)[:limit]


def terms_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without stop words."""
    return [word for word in re.findall(r"\w+", text.casefold()) if word not in STOP_WORDS]


def _rarity(notes: Iterable[MemoryNote]) -> dict[str, float]:
    """Return the inverse document frequency of each word: log((1 + n) / (1 + notes with the word)) + 1."""
    notes = list(notes)
    note_counts = Counter(term for note in notes for term in note.terms)
    return {term: math.log((1 + len(notes)) / (1 + count)) + 1 for term, count in note_counts.items()}


def _vector(terms: Counter[str], rarity: dict[str, float]) -> dict[str, float]:
    return {term: count * rarity[term] for term, count in terms.items() if term in rarity}


def _cosine(first: dict[str, float], second: dict[str, float]) -> float:
    shared = sum(weight * second[term] for term, weight in first.items() if term in second)
    lengths = math.hypot(*first.values()) * math.hypot(*second.values())
    return shared / lengths if lengths else 0.0
