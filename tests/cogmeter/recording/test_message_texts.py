"""What users wrote is removed from texts of errors; the rest of a text stays."""

from __future__ import annotations

import re
from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.recording.errors import _text
from cogmeter.recording.message_texts import received, without_message
from cogmeter.recording.operation import error_text

TEXT = "!weather zanzibar is my secret"


@pytest.fixture(autouse=True)
def no_message():
    token = received.set(None)
    yield
    received.reset(token)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"cannot answer {TEXT}", "cannot answer [message]"),
        ("cannot answer zanzibar is my secret!", "cannot answer [message]!"),
        ("'zanzibar'", "'[message]'"),
        ('Member "zanzibar" not found.', 'Member "[message]" not found.'),
        ('Member "my secret" not found.', 'Member "[message]" not found.'),
        ("no city `zanzibar`, no 'name'", "no city `[message]`, no 'name'"),
        ('Converting to "int" failed for parameter "count".', 'Converting to "int" failed for parameter "count".'),
        ("division by zero", "division by zero"),
        ("it's my turn", "it's my turn"),
        ("", ""),
    ],
)
def test_the_text_of_a_message_is_replaced_as_a_whole_and_in_quotation_marks(text, left):
    received.set(TEXT)
    assert without_message(text) == left


def test_without_a_message_nothing_is_replaced():
    for nothing in (None, "", {}, {"options": []}, {"options": "?"}, 7):
        received.set(nothing)
        assert without_message("KeyError: 'zanzibar'") == "KeyError: 'zanzibar'"


@pytest.mark.parametrize(
    "data",
    [
        {"name": "ask", "options": [{"name": "text", "value": "zanzibar"}]},
        {"options": [{"name": "sub", "options": [{"name": "text", "value": "zanzibar"}, {"value": 7}]}]},
        {"components": [{"type": 1, "components": [{"type": 4, "value": "zanzibar"}]}]},
        {"components": [{"type": 18, "component": {"type": 4, "value": "zanzibar"}}]},
    ],
)
def test_options_and_fields_of_interactions_are_replaced(data):
    received.set(data)
    assert error_text(LookupError("no zanzibar, no 'zanzibar'")) == "LookupError: no [message], no '[message]'"


def test_a_task_that_is_reported_by_other_code_has_its_own_message():
    received.set(TEXT)
    context = copy_context()
    received.set(None)
    assert without_message("no 'zanzibar'", context) == "no '[message]'"
    assert without_message("no 'zanzibar'") == "no 'zanzibar'"


@pytest.mark.parametrize("separator", [" ", "\n"])
def test_no_part_of_a_long_text_or_of_one_with_ids_is_stored(separator):
    received.set(f"!ban{separator}175928847299117063 {'a stupid guy ' * 100}")
    whole = received.get()
    for text in (whole, f"no member {whole.split(maxsplit=1)[1].strip()}", f"{'x' * 450} {whole}", repr(whole)):
        assert "stupid" not in error_text(LookupError(text))
        with pytest.raises(LookupError) as caught:
            raise LookupError(text)
        assert "stupid" not in _text(caught.value)


def test_the_representation_of_a_text_is_replaced():
    received.set('it\'s\na "secret" text')
    assert error_text(KeyError(received.get())) == "KeyError: '[message]'"


def test_no_text_is_kept_by_the_search():
    received.set("a secret of rhubarb")
    without_message("a 'secret' of a secret of rhubarb")
    assert not [key for key in re._cache if "rhubarb" in str(key)]


@given(st.text(min_size=4, max_size=50), st.text(max_size=20), st.text(max_size=20))
def test_a_whole_text_never_stays(text, before, after):
    received.set(text)
    assert text not in without_message(f"{before} {text}, {after}").replace("[message]", "")


def test_a_text_inside_of_a_word_stays():
    received.set("refuse")
    assert without_message("refused: do not refuse") == "refused: do not [message]"
