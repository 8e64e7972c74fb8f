"""The example bot's answers: from notes, facts and mood."""

import pytest

from cogmeter_bot.services.answers import answer
from cogmeter_bot.services.graph import Graph
from cogmeter_bot.services.memory import Memory


@pytest.fixture
def known():
    memory, graph = Memory(), Graph()
    memory.remember(1, "The backup runs at three")
    graph.relate("SQLite", "is a", "database")
    return {"memory": memory, "graph": graph}


def test_an_answer_contains_the_matching_notes_and_facts(known):
    found = answer(1, "When does the backup of SQLite run?", **known)
    assert found.text == "Your note: The backup runs at three\nFact: SQLite is a database"


def test_an_answer_that_finds_nothing_says_how_to_teach(known):
    assert "/remember" in answer(2, "What is the weather?", **known).text


def test_a_sad_question_gets_a_kind_word_first(known):
    assert answer(1, "Why is the backup so slow and broken?", **known).text.startswith("Sorry to hear that.")
