"""The service ``core-intelligence``: answers a question with the notes and facts of the other services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cogmeter
from cogmeter_bot.services.memory import terms_of
from cogmeter_bot.services.sentiment import analyze

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cogmeter_bot.services.graph import Fact, Graph
    from cogmeter_bot.services.memory import Hit, Memory
    from cogmeter_bot.services.sentiment import Mood

MAX_FACTS: Final = 5


@dataclass(frozen=True, slots=True)
class KnowledgeAnswer:
    """The answer to a question: its text, the mood of the question, and the matching notes and facts."""

    text: str
    mood: Mood
    notes: tuple[Hit, ...]
    facts: tuple[Fact, ...]


def answer(person: int, question: str, *, memory: Memory, graph: Graph) -> KnowledgeAnswer:
    """Answer with this person's notes and the graph; without a match, the text says so.

    Each service that it uses records its own operation inside this one.
    """
    with cogmeter.operation("core-intelligence", "process", model="word-overlap") as op:
        mood = analyze(question)
        notes = tuple(memory.recall(person, question))
        facts = _facts(question, graph)
        text = _compose(notes, facts, mood)
        op.annotate(tokens_in=len(question.split()), tokens_out=len(text.split()), notes=len(notes), facts=len(facts))
        return KnowledgeAnswer(text, mood, notes, facts)


@cogmeter.track("core-intelligence", "route")
def _facts(question: str, graph: Graph) -> tuple[Fact, ...]:
    """Return at most MAX_FACTS facts about the things that the question names."""
    terms = set(terms_of(question))
    named = [name for name in graph.names() if terms.issuperset(terms_of(name)) and terms_of(name)]
    return tuple(dict.fromkeys(fact for name in named for fact in graph.about(name)))[:MAX_FACTS]


def _compose(notes: Sequence[Hit], facts: Sequence[Fact], mood: Mood) -> str:
    lines = [f"Your note: {hit.text}" for hit in notes]
    lines += [f"Fact: {fact}" for fact in facts]
    if not lines:
        lines = ["No note or fact matches. Add one with /remember or /relate, then try again."]
    if mood.label == "negative":
        lines.insert(0, "Sorry to hear that.")
    return "\n".join(lines)
