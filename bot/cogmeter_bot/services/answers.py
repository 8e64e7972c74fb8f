"""The service ``core-intelligence``: answers a question from what the other services know."""

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

SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class KnowledgeAnswer:
    """What was found for a question: notes, facts, and the mood it was asked in."""

    text: str
    mood: Mood
    notes: tuple[Hit, ...]
    facts: tuple[Fact, ...]


def answer(person: int, question: str, *, memory: Memory, graph: Graph) -> KnowledgeAnswer:
    """Answer from this person's notes and from the graph; says so when nothing fits.

    Each service that is asked on the way records its own operation inside this one.
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
    """The facts about the things that the question names, at most SHOWN."""
    asked = set(terms_of(question))
    named = [name for name in graph.names() if asked.issuperset(terms_of(name)) and terms_of(name)]
    return tuple(dict.fromkeys(fact for name in named for fact in graph.about(name)))[:SHOWN]


def _compose(notes: Sequence[Hit], facts: Sequence[Fact], mood: Mood) -> str:
    lines = [f"You told me: {hit.text}" for hit in notes]
    lines += [f"I know that {fact}." for fact in facts]
    if not lines:
        lines = ["Nothing I know fits that. Teach me with /remember or /relate, then ask again."]
    if mood.label == "negative":
        lines.insert(0, "That sounds unpleasant; let me see.")
    return "\n".join(lines)
