"""Which stored names are suggested for a mistyped one, and how much is compared for it."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import process

from cogmeter.query import name_matching
from cogmeter.query.name_matching import LONGEST, MOST, PARTS, near, suggest

NAMES = ["core-intelligence", "knowledge-graph", "web-crawling"]


@pytest.mark.parametrize("typed", ["know", "graph", "kgr", "graf", "knowlege-grap", "KNOWLEDGE-GRAHP", " knowledge "])
def test_names_that_begin_with_contain_spell_or_resemble_the_input_are_suggested(typed):
    assert near(typed, NAMES)[0] == "knowledge-graph"


def test_names_that_begin_with_the_input_come_before_those_that_contain_it():
    assert near("graph", ["knowledge-graph", "graph-of-knowledge", "g-r-a-p-h"]) == [
        "graph-of-knowledge",
        "knowledge-graph",
        "g-r-a-p-h",
    ]


@pytest.mark.parametrize("typed", ["", "  ", "zzz", "query"])
def test_an_input_that_is_like_no_name_has_no_suggestions(typed):
    assert near(typed, NAMES) == []


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=40), unique=True, max_size=30))
def test_suggestions_are_stored_names_each_once_and_at_most_the_limit(typed, names):
    found = near(typed, names, limit=5)
    assert len(found) <= 5
    assert len(set(found)) == len(found)
    assert set(found) <= set(names)


@pytest.fixture
def compared(monkeypatch):
    """The inputs and the names of each comparison."""
    seen, original = [], process.extract

    def extract(wanted, among, **options):
        among = among if isinstance(among, dict) else dict(enumerate(among))
        seen.append((options["scorer"].__name__, wanted, list(among.values())))
        return original(wanted, among, **options)

    monkeypatch.setattr(process, "extract", extract)
    return seen


@pytest.mark.parametrize("typed", ["graph-" * 1_000, "graph-" * 16, "grpah"])
def test_comparisons_are_bounded_in_the_letters_and_the_number_of_names(compared, typed):
    names = [f"{number}-{'knowledge-graph-' * 500}" for number in range(3 * MOST)]
    found = near(typed, names)
    assert set(found) <= set(names[:MOST])
    assert len(compared) == 3  # whatever the number of names
    for scorer, wanted, among in compared:
        assert len(wanted) <= LONGEST
        assert max(map(len, among), default=0) <= LONGEST
        assert len(among) <= (PARTS if scorer == "partial_ratio" else MOST)


@pytest.mark.parametrize("typed", ["İ" * 6_000, "ß" * 100])
def test_letters_that_grow_when_their_case_is_folded_stay_within_the_bound(compared, typed):
    near(typed, ["İ" * 100, "ß" * 100])
    assert all(len(one) <= LONGEST for _, wanted, among in compared for one in (wanted, *among))


async def test_suggestions_are_worked_out_outside_of_the_event_loops_thread(monkeypatch):
    threads = []

    def noted(*_):
        threads.append(threading.current_thread())
        return ["graph"]

    monkeypatch.setattr(name_matching, "near", noted)
    assert await suggest("grpah", NAMES) == ["graph"]
    assert threads != [threading.current_thread()]
