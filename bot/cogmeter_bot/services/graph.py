"""The service ``knowledge-graph``: facts about things, and the shortest path between two things."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cogmeter
from cogmeter_bot.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FACTS: Final = 5000

_link = cogmeter.track("knowledge-graph", "link")


@dataclass(frozen=True, slots=True)
class Fact:
    """One relation between two things."""

    subject: str
    relation: str
    target: str

    def __str__(self) -> str:
        return f"{self.subject} {self.relation} {self.target}"


class Graph:
    """Facts, found by either of their ends; names are compared ignoring case."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        """Start with these facts."""
        self._facts: dict[str, list[Fact]] = {}
        self._count = 0
        for fact in facts:
            self._add(fact)

    def __len__(self) -> int:
        return self._count

    def relate(self, subject: str, relation: str, target: str) -> Fact:
        """Add a fact, unless it exists already, and return it.

        Raises:
            UserInputError: the graph is full, or a name is blank.
        """
        with _link() as op:
            fact = Fact(subject.strip(), relation.strip(), target.strip())
            if not (fact.subject and fact.relation and fact.target):
                op.outcome = "user"  # a mistake of the user: recorded, but not counted as a failure
                raise UserInputError("A fact needs two things and a relation between them.")
            if fact in self.about(fact.subject):
                return fact
            if self._count >= MAX_FACTS:
                raise UserInputError(f"The graph is full: it has {MAX_FACTS:,} facts.")
            self._add(fact)
            return fact

    def about(self, name: str) -> list[Fact]:
        """Return the facts about a thing, oldest first."""
        return list(self._facts.get(name.strip().casefold(), ()))

    def names(self) -> list[str]:
        """Return all things in alphabetical order."""
        spelled = {name.casefold(): name for facts in self._facts.values() for f in facts for name in _ends(f)}
        return sorted(spelled.values(), key=str.casefold)

    @cogmeter.track("knowledge-graph", "query")
    def path(self, start: str, goal: str) -> list[Fact] | None:
        """Return the shortest path of facts between two things, by breadth-first search; None without a path."""
        start, goal = start.strip().casefold(), goal.strip().casefold()
        came_from: dict[str, tuple[str, Fact] | None] = {start: None}
        waiting = deque([start])
        while waiting:
            here = waiting.popleft()
            if here == goal:
                return _steps(came_from, goal)
            for fact in self._facts.get(here, ()):
                there = next((end for end in map(str.casefold, _ends(fact)) if end != here), here)
                if there not in came_from:
                    came_from[there] = (here, fact)
                    waiting.append(there)
        return None

    def _add(self, fact: Fact) -> None:
        self._facts.setdefault(fact.subject.casefold(), []).append(fact)
        self._facts.setdefault(fact.target.casefold(), []).append(fact)
        self._count += 1


def _ends(fact: Fact) -> tuple[str, str]:
    return fact.subject, fact.target


def _steps(came_from: dict[str, tuple[str, Fact] | None], goal: str) -> list[Fact]:
    steps: list[Fact] = []
    while (step := came_from[goal]) is not None:
        goal, fact = step
        steps.append(fact)
    return steps[::-1]
