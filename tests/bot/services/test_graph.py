"""The graph of facts: the shortest path between two things."""

import pytest

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.services import graph as module
from cogmeter_bot.services.graph import Fact, Graph


@pytest.fixture
def graph():
    made = Graph()
    for fact in (("cogmeter", "stores in", "SQLite"), ("SQLite", "is a", "database"), ("Ada", "wrote", "programs")):
        made.relate(*fact)
    return made


def test_the_path_between_two_things_is_the_shortest_chain_of_facts(graph):
    graph.relate("cogmeter", "needs no other", "database")
    assert graph.path("COGMETER", "database") == [Fact("cogmeter", "needs no other", "database")]


def test_a_path_also_runs_against_the_direction_of_a_fact(graph):
    assert [str(fact) for fact in graph.path("database", "cogmeter")] == [
        "SQLite is a database",
        "cogmeter stores in SQLite",
    ]


def test_there_is_no_path_between_things_that_nothing_connects(graph):
    assert graph.path("Ada", "database") is None
    assert graph.path("nobody", "database") is None


def test_a_thing_is_connected_with_itself_by_no_fact(graph):
    assert graph.path("Ada", "ada") == []


def test_a_known_fact_is_not_added_again(graph):
    graph.relate("cogmeter", "stores in", "SQLite")
    assert len(graph) == 3


def test_a_fact_about_one_thing_alone_is_no_trap(graph):
    graph.relate("Ada", "is", "ada")
    assert graph.path("Ada", "programs") == [Fact("Ada", "wrote", "programs")]


def test_facts_that_are_known_from_the_start_are_found_like_others():
    assert Graph([Fact("Ada", "wrote", "programs")]).path("programs", "ada") == [Fact("Ada", "wrote", "programs")]


def test_a_blank_name_is_refused(graph):
    with pytest.raises(UserInputError, match="two things"):
        graph.relate("  ", "is", "nothing")


def test_a_full_graph_says_so(graph, monkeypatch):
    monkeypatch.setattr(module, "MAX_FACTS", 3)
    with pytest.raises(UserInputError, match="3 facts"):
        graph.relate("one", "too", "many")
