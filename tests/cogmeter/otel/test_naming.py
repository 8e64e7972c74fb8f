"""Names of spans: safe to show, and limited in number."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind

import cogmeter
from cogmeter.otel.naming import MAX_OPERATIONS, MAX_SERVICES, Names, operation_name
from cogmeter.recording.recorder import OTHER, valid_name
from cogmeter.recording.service_names import DATABASE, DEPENDENCIES, RPC, in_background

TOKEN = "sk-proj-4f9aB27cD81eF03gH55iJ69k"


@pytest.mark.parametrize(
    ("system", "name", "expected"),
    [
        ("sqlite", "SELECT users", "SELECT users"),
        ("sqlite", "SELECT", "SELECT"),
        ("mongodb", "notes.find", "notes.find"),
        ("mssql", "EXEC dbo.report", "EXEC dbo.report"),
        ("sqlite", "SELECT /home/alice/bot.db", "SELECT"),
        ("sqlite", "SELECT :memory:", "SELECT"),
        ("postgresql", "SELECT db.internal:5432", "SELECT"),
        ("postgresql", "SELECT 'Zoe'", "SELECT"),
        ("postgresql", "SELECT name FROM users WHERE name = 'Zoe'", "SELECT ..."),
        ("postgresql", "SELECT\n  name\nFROM users", "SELECT ..."),
        ("postgresql", "BEGIN;", "BEGIN"),
        ("postgresql", "SELECT orders_20261129", "SELECT orders_#"),
        ("postgresql", f"SELECT {TOKEN}", "SELECT"),
        ("postgresql", "postgres://bot:hunter2@db/main", "postgres"),
        ("redis", "GET", "GET"),
        ("redis", "GET session", "GET"),
        ("redis", "SET GET EXPIRE", "SET ..."),
        ("redis", "", OTHER),
        ("sqlite", "   ", OTHER),
        ("sqlite", "'Zoe'", OTHER),
    ],
)
def test_a_database_span_is_named_by_verb_and_target(system, name, expected):
    assert operation_name(DATABASE, system, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/helloworld.Greeter/SayHello", "/helloworld.Greeter/SayHello"),
        ("S3.PutObject", "S3.PutObject"),
        ("send orders", "send orders"),
        ("chat gpt-4o", "chat gpt-4o"),
        ("send amq.gen-0f8fad5b-d9cb-469f-a165-70867728950e", "send"),
        ("call 123456789012345678", "call"),
        ("send orders-0f8fad5bd9cb469f", "send orders-#"),
        ("a b c d e f", "a b c d"),
        (f"chat {TOKEN}", "chat"),
    ],
)
def test_other_spans_keep_their_words_without_ids(name, expected):
    assert operation_name(RPC, "grpc", name) == expected


@pytest.mark.parametrize(
    ("attributes", "service"),
    [
        ({"db.system": "redis"}, "db.redis"),
        ({"db.system.name": "microsoft.sql_server", "db.system": "mssql"}, "db.microsoft.sql_server"),
        ({"db.system.name": "elasticsearch", "http.request.method": "GET"}, "db.elasticsearch"),
        ({"messaging.system": "rabbitmq"}, "messaging.rabbitmq"),
        ({"rpc.system": "grpc"}, "rpc.grpc"),
        ({"gen_ai.provider.name": "openai"}, "gen_ai.openai"),
        ({}, "otel.celery"),
        ({"db.system": "post gres\u202e"}, f"db.{OTHER}"),
        ({"db.system": 5}, "otel.celery"),
    ],
)
def test_a_span_belongs_to_the_service_of_its_system(attributes, service):
    recorder = cogmeter.Recorder()
    number = Names(recorder, http=False).series_of(span("call", attributes))
    assert recorder.names[number][0] == service
    assert in_background(service)


def test_a_service_has_at_most_200_operations():
    recorder = cogmeter.Recorder()
    known = Names(recorder, http=False)
    for first in range(MAX_OPERATIONS + 50):
        known.series_of(span(f"SELECT {word(first)}", {"db.system": "sqlite"}))
    assert len([name for name in recorder.names if name[0] == "db.sqlite"]) == MAX_OPERATIONS + 1
    assert ("db.sqlite", OTHER) in recorder.names


def test_systems_beyond_50_share_a_service():
    recorder = cogmeter.Recorder()
    known = Names(recorder, http=False)
    for number in range(MAX_SERVICES + 50):
        known.series_of(span("GET", {"db.system": f"system{number}"}))
    services = {service for service, _ in recorder.names} - {OTHER}
    assert len(services) == MAX_SERVICES + 1
    assert f"db.{OTHER}" in services


KEYS = ("db.system", "db.system.name", "messaging.system", "rpc.system", "gen_ai.system", "http.method", "http.url")
VALUES = st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text(max_size=5), max_size=3))


@given(name=st.text(max_size=400), attributes=st.dictionaries(st.sampled_from(KEYS), VALUES), http=st.booleans())
def test_any_name_and_attributes_make_valid_names_of_a_background_service(name, attributes, http):
    recorder = cogmeter.Recorder()
    number = Names(recorder, http=http).series_of(span(name, attributes))
    if number is not None:
        service, operation = recorder.names[number]
        assert valid_name(service)
        assert valid_name(operation)
        assert service.startswith(DEPENDENCIES)


@given(secret=st.text("abcdefghijklmnopqrstuvwxyz", min_size=8, max_size=12), tail=st.text(max_size=30))
def test_no_literal_of_a_statement_is_in_a_name(secret, tail):
    assert secret not in operation_name(DATABASE, "sqlite", f"SELECT '{secret}' FROM t {tail}")
    assert secret not in operation_name(DATABASE, "redis", f"AUTH {secret}")


def span(name, attributes):
    return ReadableSpan(
        name,
        attributes=attributes,
        kind=SpanKind.CLIENT,
        resource=SimpleNamespace(),
        instrumentation_scope=InstrumentationScope("opentelemetry.instrumentation.celery"),
    )


def word(number):
    """A word without digits for each number."""
    return "t" + str(number).translate(str.maketrans("0123456789", "abcdefghij"))
