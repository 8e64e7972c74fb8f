"""Groups of errors: their types, places, fingerprints and texts, from real tracebacks."""

from __future__ import annotations

import json
import zipimport
from zipfile import ZipFile

import pytest
from tests.cogmeter.recording import tracebacks
from tests.cogmeter.recording.tracebacks import CASES

from cogmeter.recording.error_batches import fingerprint, masked
from cogmeter.recording.errors import ErrorRecorder
from cogmeter.watch.outcomes import cause_of
from cogmeter_storage.errors import Frame


def error_of(raises):
    """Return the exception that a function raises, or returns where Python does not raise it."""
    try:
        return raises()
    except BaseException as error:
        return error


def batch_of(raises, *, recorder=None):
    errors = recorder or ErrorRecorder()
    errors.unwrap = cause_of if raises.__name__ in WRAPPED else errors.unwrap
    errors.failed(error_of(raises), "music", "play")
    (batch,) = errors.take()
    assert not errors.dropped
    return batch


WRAPPED = {"slash_command", "prefix_command", "converter", "hybrid_command", "extension"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.raises.__name__)
def test_an_error_has_its_type_and_the_innermost_own_function(case):
    batch = batch_of(case.raises)

    place = batch.place and (batch.place.file, batch.place.function)
    expected = None if case.function is None else (case.file, case.function)
    assert (batch.type, place) == (case.type, expected)
    (example,) = batch.examples
    assert len(example.chain) == case.links
    assert example.chain[0].type == case.type
    assert all(len(link.frames) <= 30 for link in example.chain)


def test_the_table_is_long():
    assert len({case.raises for case in CASES}) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.raises.__name__)
def test_an_error_that_is_raised_twice_is_one_group(case):
    first, second = batch_of(case.raises), batch_of(case.raises)

    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 16


def test_cases_with_different_types_or_places_are_different_groups():
    batches = [batch_of(case.raises) for case in CASES]

    identities = {(batch.type, batch.place and batch.place[:2], masked(batch.message)) for batch in batches}
    fingerprints = {batch.fingerprint for batch in batches}
    places = {(batch.type, batch.place[:2] if batch.place else masked(batch.message)) for batch in batches}
    assert len(fingerprints) == len(places) <= len(identities)


def test_lines_and_messages_do_not_separate_groups():
    def answer(text):
        if text == "a":
            raise ValueError("first")
        raise ValueError("second")

    errors = ErrorRecorder()
    for text in "ab":
        errors.failed(error_of(lambda text=text: answer(text)), "music", "play")

    (batch,) = errors.take()
    assert sum(batch.counts.values()) == 2
    assert batch.message == "second"


def test_functions_of_the_same_name_in_different_files_are_different_groups():
    def of(file):
        def raises():
            tracebacks.run("def play():\n    return 1/0\nplay()", file)

        return batch_of(raises).fingerprint

    assert of("cogs/music.py") == of(r"cogs\music.py") != of("cogs/quotes.py")


def test_errors_without_own_code_are_grouped_by_their_masked_message():
    errors = ErrorRecorder()
    for text in ("{", "    {", "[1, 2", '["a"'):
        error = error_of(lambda text=text: json.loads(text))
        error.__traceback__ = error.__traceback__.tb_next.tb_next  # of the library alone
        errors.failed(error, "music", "play")

    batches = errors.take()
    assert [sum(batch.counts.values()) for batch in batches] == [2, 2]
    assert [batch.place for batch in batches] == [None, None]


def test_code_in_an_archive_is_the_hosts(tmp_path):
    with ZipFile(tmp_path / "bot.zip", "w") as archive:
        archive.writestr("music.py", "def play():\n    return 1 / 0\n")
    names = {"__name__": "music"}
    exec(zipimport.zipimporter(str(tmp_path / "bot.zip")).get_code("music"), names)

    batch = batch_of(names["play"])

    assert (batch.place.file, batch.place.function) == ("bot.zip/music.py", "play")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no user 5", "no user (number)"),
        ("took 1.5 s of 10:30", "took (number) s of (number)"),
        ("no guild 175928847299117063", "no guild (number)"),
        ("job 3f2504e0-4f89-11d3-9a0c-0305e82c3301 failed", "job (id) failed"),
        ("commit deadbeef1 is unknown", "commit (id) is unknown"),
        ("invalid literal: 'abc def'", "invalid literal: (quoted)"),
        ('no "key" here', "no (quoted) here"),
        ("it isn't there, and can't be", "it isn't there, and can't be"),
        ("<Player object at 0x7f00aabbcc>", "<Player object at (address)>"),
        ("GET https://example.com/a/1?b=2 failed", "GET (address) failed"),
        ("mail to someone@example.com", "mail to (address)"),
        ("connect to 10.0.0.1:5432", "connect to (number)"),
        ("a deadlock", "a deadlock"),
    ],
)
def test_what_differs_from_error_to_error_is_masked(message, expected):
    assert masked(message) == expected


def test_a_stored_text_has_no_secrets_ids_or_characters_that_a_database_refuses():
    token = "mfa." + "a" * 30

    def raises():
        raise ValueError(f"{token} for 175928847299117063 \ud800\0" + "x" * 3_000)

    message = batch_of(raises).message

    assert token not in message
    assert "175928847299117063" not in message
    assert len(message) <= 500
    message.encode()
    assert "\0" not in message


def test_fingerprints_are_stable_because_they_are_stored():
    place = Frame("cogs/music.py", "Music.play", 5, own=True)

    assert fingerprint("ValueError", None, "no answer") == "a20c18524e5acc85"
    assert fingerprint("ValueError", place, "") == fingerprint("ValueError", place._replace(line=9), "")
    assert fingerprint("ValueError", place, "") == "f6b42c40b72fcf43"
