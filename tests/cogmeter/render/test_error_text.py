"""Errors as text: frames, places, chains, people and states."""

import pytest

from cogmeter.render import error_text
from cogmeter_storage.errors import ErrorLink, Frame

OWN = Frame("bot/cogs/ask.py", "setup.<locals>.Ask.ask", 42, own=True)
LIBRARY = Frame("discord/http.py", "HTTPClient.request", 7, own=False)


def test_a_place_names_file_line_and_function():
    assert error_text.place_text(OWN) == "bot/cogs/ask.py:42 in Ask.ask"
    assert error_text.place_text(None) == "place unknown"


def test_a_chain_lists_each_exception_with_its_frames_and_marks_own_ones():
    chain = (ErrorLink("ValueError", "no\nnode", (LIBRARY, OWN)), ErrorLink("KeyError", "", (LIBRARY,)))
    assert list(error_text.chain_lines(chain)) == [
        ("ValueError: no node", True),
        ("    discord/http.py:7 in HTTPClient.request", False),
        ("  > bot/cogs/ask.py:42 in Ask.ask", True),
        ("Cause: KeyError", True),
        ("    discord/http.py:7 in HTTPClient.request", False),
    ]


def test_after_an_exception_group_an_exception_is_a_member_or_a_cause():
    chain = (ErrorLink("ExceptionGroup", "two", ()), ErrorLink("KeyError", "a", ()))
    assert [error_text.relation_text(chain, place) for place in range(2)] == ["", "Member or cause"]


@pytest.mark.parametrize(
    ("users", "guilds", "text"),
    [
        (0, 0, ""),
        (1, 0, "1 user"),
        (3, 2, "3 users, 2 servers"),
        (1_000, 1, "at least 1,000 users, 1 server"),
    ],
)
def test_people_are_counted_up_to_the_maximum(users, guilds, text):
    assert error_text.people_text(users, guilds) == text


def test_of_several_states_the_decision_of_a_person_is_shown_first():
    flags = {"is_new": True, "reopened": True, "muted": True, "resolved": True}
    shown = []
    for off in ("resolved", "muted", "reopened", "is_new"):
        shown.append(error_text.state_word(**flags))
        flags[off] = False
    assert [*shown, error_text.state_word(**flags)] == ["resolved", "muted", "reopened", "new", "open"]


def test_a_deploy_is_a_version_or_the_last_start():
    assert error_text.deploy_text("version", "version 1.4") == "version 1.4"
    assert error_text.deploy_text("start", "bot started") == "the last start"


@pytest.mark.parametrize(
    ("kind", "places", "text"),
    [
        ("failed", [("discord.commands", "ask")], "It ended the operation."),
        ("logged", [("discord.commands", "ask")], "The code caught it and logged it."),
        (
            "unhandled",
            [("discord.commands", "remember"), ("unhandled", "Chat.index")],
            "Nothing caught it: it ended a task, callback or thread that /remember had started.",
        ),
        (
            "unhandled",
            [("unhandled", "Chat.index")],
            "Nothing caught it: it ended Chat.index, which no operation had started.",
        ),
        ("unhandled", [], "Nothing caught it: it ended a task, callback or thread."),
    ],
)
def test_what_happened_is_a_sentence_with_what_ran(kind, places, text):
    assert error_text.happened_text(kind, places) == text
