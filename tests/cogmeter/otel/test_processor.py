"""Spans of OpenTelemetry's own SDK, and of real instrumentations, as operations."""

import asyncio
import importlib
import sqlite3
import sys
import threading
from contextlib import closing

import pytest
import sqlalchemy
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

import cogmeter
from cogmeter.otel import SpanProcessor, processor
from cogmeter.recording import background, tracing
from cogmeter.recording.buffer import FIELDS
from cogmeter.recording.recorder import OTHER
from cogmeter.recording.tracing import Trace
from cogmeter_storage import Outcome, open_store

SQLITE = {"db.system": "sqlite"}


@pytest.fixture
def recorder():
    return cogmeter.Recorder()


@pytest.fixture
def span_processor(recorder):
    return SpanProcessor(recorder)


@pytest.fixture
def provider(span_processor):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(span_processor)
    yield provider
    provider.shutdown()


@pytest.fixture
def tracer(provider):
    return provider.get_tracer("opentelemetry.instrumentation.celery")


@pytest.fixture
def trace():
    """The trace that the test's code belongs to."""
    trace = Trace("ask", start_ns=0)
    token = tracing.begin(trace)
    yield trace
    tracing.end(token)


def operations(recorder):
    """The buffered operations as (service, operation, duration_ns, outcome, error, metadata)."""
    atoms = recorder.buffer.take()
    pieces = [atoms[at : at + FIELDS] for at in range(0, len(atoms), FIELDS)]
    return [
        (*recorder.names[series], duration, Outcome(outcome), *(extra or (None, None)))
        for series, _, duration, outcome, extra in pieces
    ]


def call(tracer, name="SELECT users", attributes=SQLITE, kind=SpanKind.CLIENT):
    return tracer.start_as_current_span(name, attributes=attributes, kind=kind)


def names(recorder):
    return [recorded[:2] for recorded in operations(recorder)]


def test_a_client_span_is_one_operation_with_the_spans_own_duration(tracer, recorder):
    span = tracer.start_span("SELECT users", kind=SpanKind.CLIENT, attributes=SQLITE, start_time=1_000)
    span.end(end_time=26_000)
    assert operations(recorder) == [("db.sqlite", "SELECT users", 25_000, Outcome.OK, None, None)]


def test_a_wall_clock_that_is_set_back_does_not_make_a_negative_duration(tracer, recorder):
    tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE, start_time=10_000).end(end_time=5_000)
    assert operations(recorder)[0][2] == 0


def test_a_duration_of_centuries_is_refused(tracer, recorder):
    tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE, start_time=1).end(end_time=10**19)
    assert operations(recorder) == []
    assert recorder.refused == 1


@pytest.mark.parametrize("kind", [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CONSUMER])
def test_spans_that_call_nothing_are_ignored(kind, tracer, recorder):
    with call(tracer, kind=kind):
        pass
    assert operations(recorder) == []


def test_a_message_that_is_sent_is_one_operation(tracer, recorder):
    with call(tracer, "send orders", {"messaging.system": "kafka"}, SpanKind.PRODUCER):
        pass
    assert names(recorder) == [("messaging.kafka", "send orders")]


def test_an_exception_is_the_error_and_no_statement_is_kept(tracer, recorder):
    statement = "SELECT card FROM users WHERE name = 'Zoe'"
    with pytest.raises(ValueError), call(tracer, attributes={**SQLITE, "db.statement": statement}):
        raise ValueError(f"bad: {statement}\n[parameters: ('Zoe',)]")
    assert operations(recorder)[0][3:5] == (Outcome.ERROR, "ValueError: bad: (statement)")


def test_an_error_text_contains_no_secret(tracer, recorder):
    with pytest.raises(ConnectionRefusedError), call(tracer):
        raise ConnectionRefusedError("postgres://bot:hunter2@db/main refused")
    _, _, _, outcome, text, _ = operations(recorder)[0]
    assert outcome is Outcome.UPSTREAM
    assert "hunter2" not in text


def test_an_exception_that_was_handled_inside_the_span_is_no_failure(tracer, recorder):
    with call(tracer) as span:
        span.record_exception(OSError("tried again"))
    assert operations(recorder)[0][3] is Outcome.OK


def test_a_span_inside_an_interaction_is_a_span_of_its_trace(tracer, recorder, trace):
    with recorder.operation("notes", "read"), call(tracer):
        pass
    database, own = trace.spans
    assert (database.service, database.operation, database.parent) == ("db.sqlite", "SELECT users", own.id)
    assert operations(recorder)[0][5] == {"command": "ask", "parent": "notes/read"}


def test_a_span_that_ends_in_another_thread_belongs_to_the_interaction_of_its_start(tracer, recorder, trace):
    span = tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE)
    thread = threading.Thread(target=span.end)
    thread.start()
    thread.join()
    assert operations(recorder)[0][5] == {"command": "ask", "parent": "ask"}
    assert [span.operation for span in trace.spans] == ["SELECT"]


def test_a_span_that_ends_after_its_interaction_belongs_to_none(tracer, recorder, trace):
    span = tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE)
    trace.ended = True
    span.end()
    assert operations(recorder)[0][5] is None


def test_calls_of_the_monitors_own_commands_and_jobs_are_not_recorded(tracer, recorder, trace):
    trace.own = True
    with call(tracer):
        pass
    background.own_context().run(tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE).end)
    assert operations(recorder) == []


def test_spans_that_never_end_are_forgotten_one_by_one(tracer, span_processor, recorder, trace, monkeypatch):
    monkeypatch.setattr(processor, "MAX_OPEN", 2)
    spans = [tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE) for _ in range(3)]
    assert len(span_processor._scopes) == 2
    for span in spans:
        span.end()
    assert [metadata is not None for *_, metadata in operations(recorder)] == [False, True, True]
    assert not span_processor._scopes


def test_after_shutdown_nothing_is_recorded(provider, tracer, recorder):
    assert provider.force_flush()
    span = tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=SQLITE)
    provider.shutdown()
    span.end()
    assert operations(recorder) == []


def test_a_fault_of_ours_is_counted_and_does_not_reach_the_host(tracer, recorder, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("a fault")

    monkeypatch.setattr(recorder, "add_timed", fail)
    monkeypatch.setattr(processor, "current", fail)
    with call(tracer):
        pass
    assert recorder.refused == 2  # at the start and at the end


def test_threads_at_the_same_time_record_every_span(tracer, recorder):
    def work():
        for number in range(200):
            with call(tracer, f"SELECT t_{chr(97 + number % 20)}"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(operations(recorder)) == 800


def test_processors_that_run_in_threads_of_the_sdk_are_served(recorder):
    provider = TracerProvider(shutdown_on_exit=False, active_span_processor=ConcurrentMultiSpanProcessor(num_threads=2))
    provider.add_span_processor(SpanProcessor(recorder))
    with call(provider.get_tracer("t")):
        pass
    provider.shutdown()
    assert names(recorder) == [("db.sqlite", "SELECT users")]


def test_without_a_recorder_the_packages_own_one_is_used():
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    with call(provider.get_tracer("t")):
        pass
    provider.shutdown()
    assert names(cogmeter.default_recorder) == [("db.sqlite", "SELECT users")]


def test_without_the_sdk_the_import_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cogmeter.otel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'cogmeter\[otel\]'"):
        importlib.import_module("cogmeter.otel")


# Requests over HTTP


HTTP = {"http.request.method": "GET", "url.full": "https://api.openai.com:443/v1/chat?key=1"}


def test_requests_over_http_are_left_to_the_surface_that_records_them(tracer, recorder):
    with call(tracer, "GET", HTTP):
        pass
    with call(tracer, "HTTP GET", {"http.method": "GET", "http.url": "http://localhost/"}):
        pass
    assert operations(recorder) == []


@pytest.mark.parametrize(
    ("attributes", "service"),
    [
        (HTTP, "http.api.openai.com"),
        ({"http.method": "GET", "http.url": "http://user:pw@localhost:8080/a"}, "http.localhost"),
        ({"http.method": "GET", "net.peer.name": "Example.org"}, "http.example.org"),
        ({"http.method": "GET", "http.url": "http://[bad"}, f"http.{OTHER}"),
    ],
)
def test_with_http_a_request_is_an_operation_of_its_host(attributes, service, recorder):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor(recorder, http=True))
    with call(provider.get_tracer("t"), "GET /secret/path", attributes):
        pass
    provider.shutdown()
    assert names(recorder) == [(service, "GET")]


def test_requests_to_discord_are_never_counted_twice(recorder):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor(recorder, http=True))
    for host in ("discord.com", "canary.discord.com", "cdn.discordapp.com"):
        with call(provider.get_tracer("t"), "GET", {"http.method": "GET", "server.address": host}):
            pass
    provider.shutdown()
    assert operations(recorder) == []


@pytest.mark.parametrize(
    ("status", "outcome"), [(503, Outcome.UPSTREAM), (429, Outcome.UPSTREAM), (404, Outcome.ERROR)]
)
def test_a_refused_request_has_the_outcome_of_its_status(status, outcome, recorder):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor(recorder, http=True))
    with call(provider.get_tracer("t"), "GET", {**HTTP, "http.response.status_code": status}) as span:
        span.set_status(StatusCode.ERROR)
    provider.shutdown()
    assert operations(recorder)[0][3:5] == (outcome, str(status))


# Real instrumentations


@pytest.fixture
def instrumented(provider):
    SQLite3Instrumentor().instrument(tracer_provider=provider)
    yield
    SQLite3Instrumentor().uninstrument()


def test_statements_of_sqlite_are_recorded_in_the_thread_of_a_command(instrumented, recorder, trace):
    def read():
        with closing(sqlite3.connect(":memory:")) as database, closing(database.cursor()) as cursor:
            cursor.execute("CREATE TABLE users (name)")
            cursor.execute("SELECT name FROM users WHERE name = ?", ("Zoe",))
            with pytest.raises(sqlite3.OperationalError):
                cursor.execute("SELECT 'Zoe' FROM nowhere")

    asyncio.run(asyncio.to_thread(read))
    first, second, third = operations(recorder)
    assert [first[:2], second[:2]] == [("db.sqlite", "CREATE"), ("db.sqlite", "SELECT")]
    assert third[1:5:2] == ("SELECT", Outcome.ERROR)
    assert third[4] == "OperationalError: no such table: nowhere"
    assert all(metadata == {"command": "ask", "parent": "ask"} for *_, metadata in (first, second, third))
    assert [span.operation for span in trace.spans] == ["CREATE", "SELECT", "SELECT"]


async def test_the_monitors_own_database_is_neither_traced_nor_disturbed(instrumented, recorder, tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'monitor.db'}")
    await store.backup(tmp_path / "copy.db")
    await store.close()
    assert operations(recorder) == []


def test_statements_of_sqlalchemy_are_named_without_the_path_of_the_database(provider, recorder, tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'bot.db'}")
    SQLAlchemyInstrumentor().instrument(engine=engine, tracer_provider=provider)
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
            with pytest.raises(sqlalchemy.exc.OperationalError):
                connection.execute(sqlalchemy.text("SELECT a FROM nowhere WHERE b = :b"), {"b": "Zoe"})
    finally:
        SQLAlchemyInstrumentor().uninstrument()
        engine.dispose()
    recorded = [one for one in operations(recorder) if one[1] != "connect"]
    assert [one[:2] for one in recorded] == [("db.sqlite", "SELECT"), ("db.sqlite", "SELECT")]
    assert recorded[1][3:5] == (Outcome.ERROR, "OperationalError: no such table: nowhere")
