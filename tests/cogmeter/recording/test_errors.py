"""The recorder of errors: what it captures, its bounds, and what it leaves out."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import threading
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from cogmeter.recording import errors as errors_module
from cogmeter.recording.buffer import Buffer
from cogmeter.recording.errors import MAX_GROUPS, STACKS_PER_MINUTE, ErrorRecorder
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.recorder import Recorder
from cogmeter_storage import open_store
from cogmeter_storage.errors import MAX_EXAMPLES, ErrorKind


@pytest.fixture
def errors():
    return ErrorRecorder()


@pytest.fixture
def one_minute(monkeypatch):
    """Stop the clock: the stacks of one minute are limited."""
    stopped = SimpleNamespace(now_us=lambda: 1_800_000_000_000_000)
    monkeypatch.setattr(errors_module, "clock", stopped)
    return stopped


@pytest.fixture
def logger(errors):
    """Return a logger whose records are errors."""
    logger = logging.Logger("host")  # noqa: LOG001 - of this test alone
    handler = logging.Handler()
    handler.emit = lambda record: errors.logged(record, "music", "play", affected={"user": "u1"})
    logger.addHandler(handler)
    return logger


def failure(text="no answer", kind=ValueError):
    try:
        raise kind(text)
    except kind as error:
        return error


def down(depth):
    if depth:
        down(depth - 1)
    raise ValueError("the end")


def total(batches):
    return sum(sum(batch.counts.values()) for batch in batches)


def test_an_error_is_stored_with_its_operation_people_version_and_day(errors):
    errors.version = "1.4"
    errors.failed(failure("5 of 175928847299117063"), "music", "play", affected={"user": "u1", "guild": "g1"})

    (batch,) = errors.take()
    assert (batch.kind, batch.type, batch.message) == (ErrorKind.FAILED, "ValueError", "5 of (id)")
    assert batch.counts == {("music", "play", batch.first_us // 86_400_000_000): 1}
    assert (batch.users, batch.guilds, batch.version) == ({"u1"}, {"g1"}, "1.4")
    (example,) = batch.examples
    assert (example.service, example.operation, example.user, example.version) == ("music", "play", "u1", "1.4")
    assert batch.place == example.chain[0].frames[-1]
    assert errors.take() == []


def test_people_that_are_no_hashes_are_left_out(errors):
    errors.failed(failure(), "music", "play", affected={"user": 175928847299117063})

    (batch,) = errors.take()
    assert batch.users == frozenset()
    assert batch.examples[0].user is None


def test_a_deep_stack_keeps_its_outermost_and_innermost_frames(errors):
    with contextlib.suppress(ValueError):
        try:
            down(300)
        except ValueError as error:
            errors.failed(error, "music", "play")
            raise

    frames = errors.take()[0].examples[0].chain[0].frames
    assert len(frames) == 30
    assert frames[0].function == "test_a_deep_stack_keeps_its_outermost_and_innermost_frames"
    assert {frame.function for frame in frames[1:]} == {"down"}
    assert frames[-1].line == frames[-2].line + 1


def test_an_own_frame_between_the_kept_ones_is_the_place(errors):
    def own(depth):
        library(depth)

    namespace = {}
    source = "def library(depth):\n    if depth:\n        library(depth - 1)\n    raise ValueError\n"
    exec(compile(source, "/x/site-packages/library.py", "exec"), namespace)
    library = namespace["library"]
    source = "def outer(depth, own):\n    if depth:\n        outer(depth - 1, own)\n    own(40)\n"
    exec(compile(source, "/x/site-packages/library.py", "exec"), namespace)
    try:
        namespace["outer"](40, own)
    except ValueError as error:
        errors.failed(error, "music", "play")

    (batch,) = errors.take()
    assert batch.place.function.endswith("<locals>.own")
    assert len(batch.examples[0].chain[0].frames) == 30


def test_a_storm_keeps_a_few_stacks_a_minute_and_counts_all(errors, monkeypatch, one_minute):
    captured = []
    links = errors_module._links
    monkeypatch.setattr(errors_module, "_links", lambda *args: captured.append(1) or links(*args))

    for number in range(1_000):
        errors.failed(failure(f"no {number}"), "music", "play")

    (batch,) = errors.take()
    assert total([batch]) == 1_000
    assert len(batch.examples) == MAX_EXAMPLES
    assert len(captured) == STACKS_PER_MINUTE


def test_a_group_that_is_only_counted_keeps_its_last_message(errors, one_minute):
    for _ in range(STACKS_PER_MINUTE):
        errors.failed(failure("first"), "music", "play")
    errors.take()
    errors.failed(failure("second"), "music", "play")

    (batch,) = errors.take()
    assert (batch.message, batch.examples) == ("first", ())

    one_minute.now_us = lambda: 1_800_000_060_000_000
    errors.failed(failure("third"), "music", "play")
    (batch,) = errors.take()
    assert (batch.message, len(batch.examples)) == ("third", 1)


def test_a_storm_without_own_code_is_few_groups(errors):
    for number in range(1_000):
        error = failure()
        error.args = (f"no guild {number}",)
        error.__traceback__ = None
        errors.failed(error, "music", "play")

    batches = errors.take()
    assert (len(batches), total(batches), errors.dropped) == (1, 1_000, 0)


def test_groups_beyond_the_bound_are_dropped_and_counted(errors):
    for number in range(MAX_GROUPS + 5):
        errors.unhandled(None, "x" * (number + 1), "music", "play")

    assert errors.dropped == 5
    assert total(batch for found in iter(errors.take, []) for batch in found) == MAX_GROUPS


def test_groups_that_are_put_back_are_added_up(errors):
    for text in ("first", "second"):
        errors.failed(failure(text), "music", text)
        batches = errors.take()
        errors.put_back(batches)
    errors.failed(failure("third"), "music", "first")

    (batch,) = errors.take()
    assert sorted(count for count in batch.counts.values()) == [1, 2]
    assert [example.chain[0].message for example in batch.examples] == ["first", "second", "third"]
    assert batch.message == "third"
    assert errors.take() == []


def test_groups_beyond_the_bound_are_not_put_back(errors):
    for number in range(MAX_GROUPS):
        errors.unhandled(None, "x" * (number + 1), "music", "play")
    batches = [batch for found in iter(errors.take, []) for batch in found]
    errors.unhandled(None, "y", "music", "play")
    errors.unhandled(None, "y", "music", "play")

    errors.put_back(batches)
    errors.put_back(errors.take(0) or [])
    assert len(errors) == MAX_GROUPS + 1
    again = [batch for batch in errors.take(MAX_GROUPS) if batch.message == "y"]
    errors.put_back(batches)
    errors.put_back(again)

    assert errors.dropped == 2


def test_every_take_returns_a_bounded_part(errors):
    for number in range(50):
        errors.unhandled(None, "x" * (number + 1), "music", "play")

    sizes = [len(batches) for batches in iter(errors.take, [])]

    assert sum(sizes) == 50
    assert max(sizes) == errors_module.TAKEN


def test_nothing_is_captured_while_monitoring_is_disabled(errors):
    errors.failed(failure(), "music", "play")
    errors.disable()
    errors.failed(failure(), "music", "play")

    assert (errors.take(), errors.dropped) == ([], 0)


def test_the_child_of_a_fork_starts_empty(errors):
    errors.failed(failure(), "music", "play")
    errors.put_back(errors.take())
    errors.dropped = 5

    errors.forked()

    assert (len(errors), errors.dropped, errors.take()) == (0, 0, [])


def test_threads_capture_at_the_same_time(errors):
    def work():
        for _ in range(200):
            errors.failed(failure(), "music", "play")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    found = [batch for _ in range(20) for batch in errors.take()]
    for thread in threads:
        thread.join()
    found += errors.take()

    assert (total(found), errors.dropped) == (1_600, 0)


def test_an_exception_that_cannot_be_read_is_counted_as_dropped(errors):
    class HostileError(Exception):
        @property
        def __cause__(self):
            raise RuntimeError

    errors.failed(HostileError(), "music", "play")

    assert errors.dropped == 1


# Log records.


def test_a_log_record_is_grouped_by_its_call(logger, errors):
    def play(number):
        logger.error("no answer from %s", f"node {number}")
        logger.error("no song")

    for number in range(3):
        play(number)

    first, second = errors.take()
    assert (total([first]), total([second])) == (3, 3)
    assert (first.type, first.kind, first.users) == ("logging.ERROR", ErrorKind.LOGGED, {"u1"})
    assert first.place.function.endswith("<locals>.play")
    assert second.place.line == first.place.line + 1
    assert first.examples[0].chain[0].frames == (first.place,)


def test_texts_that_are_built_before_the_call_are_one_group(logger, errors):
    def play(number):
        text = f"no answer from node {number}"
        logger.error(text)

    for number in range(3):
        play(number)

    (batch,) = errors.take()
    assert total([batch]) == 3


def test_a_log_record_has_its_numbers_and_exceptions_but_no_other_values(logger, errors):
    error = KeyError("song")
    logger.error("HTTP %d after %.1f s: %s for %r and %s", 503, 1.25, error, {"token": "abc"}, "hello bot")

    (batch,) = errors.take()
    assert batch.message == "HTTP 503 after 1.2 s: KeyError: 'song' for '…' and …"


@pytest.mark.parametrize("arguments", [("text",), ({"name": "text"},)])
def test_a_log_record_whose_values_do_not_fit_has_its_template(logger, errors, arguments):
    logger.error("HTTP %d", *arguments)

    assert errors.take()[0].message == "HTTP %d"


def test_a_critical_log_record_has_its_own_type(logger, errors):
    logger.critical("no database")

    assert errors.take()[0].type == "logging.CRITICAL"


def test_a_log_record_of_another_thread_has_its_file_and_function(errors):
    record = logging.makeLogRecord(
        {"name": "host", "levelno": 40, "msg": "no song", "pathname": __file__, "lineno": 5, "funcName": "play"}
    )

    assert errors.logged(record, "music", "play")

    place = errors.take()[0].place
    assert (place.file, place.function, place.line, place.own) == (
        "tests/cogmeter/recording/test_errors.py",
        "play",
        5,
        True,
    )


def test_a_report_without_an_exception_is_grouped_by_its_masked_text(errors):
    for number in range(3):
        assert errors.unhandled(None, f"Task {number} was destroyed but it is pending!", "music", "play")

    (batch,) = errors.take()
    assert (batch.kind, batch.type, batch.place, total([batch])) == (ErrorKind.UNHANDLED, "unhandled", None, 3)


# The store.


async def test_the_database_has_no_locals_tokens_or_ids_of_an_error(tmp_path):
    token = "MTc1OTI4ODQ3Mjk5MTE3MDYz.GaBcDe.abcdefghijklmnopqrstuvwxyz0123456789AB"
    secrets = [token, "175928847299117063", "a private message", "local value", "hunter2hunter2"]

    def answer(content, password):
        local = "local value"
        raise ValueError(
            f"user 175928847299117063 has {token} at https://a:{password}@example.com", len(local + content)
        )

    recorder = Recorder(Buffer(1_000))
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    try:
        answer("a private message", "hunter2hunter2")
    except ValueError as error:
        recorder.errors.failed(error, "music", "play")
        record = logging.makeLogRecord({"msg": "answer to %s failed", "args": ("a private message",), "levelno": 40})
        recorder.errors.logged(record, "music", "play")
    record = logging.makeLogRecord({"msg": "answer to %s failed", "args": ("a private message",), "levelno": 40})
    recorder.errors.logged(record, "music", "play")
    await Flusher(recorder, store).flush()
    groups = await store.errors.groups(0, 2**53)
    await store.close()

    assert len(groups) == 2
    content = "\n".join(sqlite3.connect(tmp_path / "performance.db").iterdump())
    assert "ValueError" in content
    assert [secret for secret in secrets if secret in content] == []
    assert json.dumps([asdict(group) for group in groups])
