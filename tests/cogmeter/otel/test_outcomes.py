"""The outcome and the error text of failed spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status, StatusCode

from cogmeter.otel.outcomes import failure_of
from cogmeter.recording.operation import MAX_ERROR
from cogmeter_storage import Outcome


def failed(attributes=None, description=None, **exception):
    events = [Event("exception", {f"exception.{key}": value for key, value in exception.items()})] if exception else []
    return ReadableSpan("s", attributes=attributes or {}, events=events, status=Status(StatusCode.ERROR, description))


@pytest.mark.parametrize(
    "kind",
    [
        "TimeoutError",
        "ConnectionRefusedError",
        "BrokenPipeError",
        "socket.gaierror",
        "asyncpg.exceptions.ConnectionDoesNotExistError",
        "redis.exceptions.TimeoutError",
        "pymongo.errors.ServerSelectionTimeoutError",
        "httpx.ConnectError",
    ],
)
def test_time_outs_and_lost_connections_are_the_other_systems_failure(kind):
    assert failure_of(failed(type=kind, message="m")) == (Outcome.UPSTREAM, f"{kind.rpartition('.')[2]}: m")


@pytest.mark.parametrize("code", ["timeout", "UNAVAILABLE", "DEADLINE_EXCEEDED", "08006", "57P01", "503", "429"])
def test_so_are_codes_of_them(code):
    assert failure_of(failed({"error.type": code})) == (Outcome.UPSTREAM, code)


def test_so_are_the_codes_of_grpc():
    assert failure_of(failed({"rpc.grpc.status_code": 14}))[0] is Outcome.UPSTREAM
    assert failure_of(failed({"rpc.grpc.status_code": 5}))[0] is Outcome.ERROR


@pytest.mark.parametrize("kind", ["ValueError", "sqlite3.OperationalError", "asyncpg.exceptions.UniqueViolationError"])
def test_other_exceptions_are_errors(kind):
    assert failure_of(failed({"error.type": kind}, type=kind, message="connection"))[0] is Outcome.ERROR


def test_a_cancelled_call_is_cancelled():
    assert failure_of(failed(type="asyncio.exceptions.CancelledError", message=""))[0] is Outcome.CANCELLED


def test_the_newest_exception_counts():
    span = ReadableSpan(
        "s",
        events=[Event("exception", {"exception.type": name}) for name in ("TimeoutError", "ValueError")],
        status=Status(StatusCode.ERROR),
    )
    assert failure_of(span) == (Outcome.ERROR, "ValueError")


def test_without_an_exception_the_description_of_the_status_is_the_text():
    assert failure_of(failed(description="disk full\nSELECT 'Zoe'")) == (Outcome.ERROR, "disk full")


def test_without_anything_the_text_is_failed():
    assert failure_of(failed()) == (Outcome.ERROR, "failed")


@given(
    kind=st.text(max_size=50),
    message=st.text(max_size=2_000),
    attributes=st.dictionaries(
        st.sampled_from(["error.type", "db.statement", "http.response.status_code", "rpc.grpc.status_code"]),
        st.one_of(st.text(), st.integers(), st.lists(st.text(max_size=3), max_size=3)),
    ),
)
def test_any_span_has_an_outcome_and_a_short_text(kind, message, attributes):
    outcome, text = failure_of(failed(attributes, type=kind, message=message))
    assert outcome in {Outcome.ERROR, Outcome.UPSTREAM, Outcome.CANCELLED}
    assert 0 < len(text) <= MAX_ERROR
    text.encode()
