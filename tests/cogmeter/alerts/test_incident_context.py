"""The story of an alert, read from a real store."""

from __future__ import annotations

import json

import pytest
from factories import make_alert, make_errors

from cogmeter.alerts.incident_context import READ, IncidentReader
from cogmeter.alerts.model import BOT
from cogmeter_storage import open_store
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import ERROR_GROUP, HOUR_US, MINUTE_US, Marker, Outcome

NOW = 1_790_000_000_000_000 // HOUR_US * HOUR_US + 30 * MINUTE_US
WINDOW_S = 300.0
GRAPH = ("knowledge-graph", "query")
OK, ERROR, USER = Outcome.OK, Outcome.ERROR, Outcome.USER


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'story.db'}")
    yield store
    await store.close()


@pytest.fixture
def filled(store):
    """``await filled([(names, seconds from the breach, milliseconds, outcome, error, metadata), ...])``."""

    async def fill(operations):
        rows = []
        for names, at_s, duration_ms, outcome, error, metadata in sorted(operations, key=lambda one: one[1]):
            (series,) = await store.series_ids([names])
            said = json.dumps(metadata) if metadata else None
            rows.append((series, NOW + int(at_s * 1e6), int(duration_ms * 1000), int(outcome), error, said))
        await store.append([rows], now_us=NOW + 5 * MINUTE_US)

    return fill


@pytest.fixture
def teller(store):
    return IncidentReader(store, window_s=WINDOW_S)


def alert(rule="error_rate", service="knowledge-graph", operation="", threshold=0.05, **more):
    given = {"rule": rule, "service": service, "operation": operation, "threshold": threshold, **more}
    return make_alert(NOW, **{"seen_us": NOW + 60_000_000, **given})


def person(number, guild=1):
    return {"user": f"{number:08x}", "guild": f"{guild:08x}", "command": "ask"}


def failed(at_s, error="TimeoutError: no answer", metadata=None, names=GRAPH):
    return (names, at_s, 20, ERROR, error, metadata)


def well(at_s, duration_ms=20, metadata=None, names=GRAPH):
    return (names, at_s, duration_ms, OK, None, metadata)


async def test_failures_people_and_guilds_are_counted_from_the_windows_begin_to_the_last_measurement(teller, filled):
    await filled(
        [
            failed(-400, metadata=person(99)),  # before the window
            failed(-200, metadata=person(1)),
            failed(-100, metadata=person(2, guild=2)),
            failed(10, metadata=person(1)),
            failed(50, metadata=person(3)),
            failed(140, metadata=person(98)),  # after it was last measured
            *(well(second, metadata=person(50)) for second in range(-60, 0, 10)),
            failed(5, metadata=person(97), names=("other", "query")),
        ]
    )
    story = await teller.of(alert())
    assert (story.operations, story.failures, story.users, story.guilds) == (10, 4, 3, 2)
    assert story.since_us <= NOW - 300_000_000
    assert story.until_us >= NOW + 60_000_000


async def test_the_details_of_a_resolved_alert_include_its_end(teller, filled):
    await filled([failed(-10), failed(125)])
    seen = await teller.of(alert())
    resolved = await teller.of(alert(resolved_us=NOW + 130_000_000))
    assert (seen.failures, resolved.failures) == (1, 2)


async def test_an_alert_on_one_operation_is_about_that_alone(teller, filled):
    await filled([failed(1), failed(2, names=("knowledge-graph", "update")), failed(3, names=("query", "x"))])
    assert (await teller.of(alert(operation="update"))).failures == 1
    assert (await teller.of(alert())).failures == 2


async def test_the_number_of_people_is_unknown_where_no_failure_records_them(teller, filled):
    await filled([failed(1, metadata={"user": "premium", "guild": 7}), failed(2), well(3, metadata=person(1))])
    story = await teller.of(alert())
    assert (story.failures, story.users, story.guilds) == (2, None, None)


async def test_errors_that_differ_in_numbers_and_ids_alone_are_one_and_ids_of_people_are_not_shown(teller, filled):
    await filled(
        [
            failed(1, "ValueError: rare"),
            failed(2, "ValueError: rare"),
            failed(3, "NotFound: 404 member 80351110224678912 after 1.5 s"),
            failed(4, "NotFound: 404 member 197038439483310086 after 22.25 s"),
            failed(5, "NotFound: 404 member 381887213238583306 after 3.5 s"),
            failed(6, "RuntimeError: <Task at 0x7f3a9c> of 0f8fad5b-d9cb-469f-a165-70867728950e"),
            failed(7, None),
        ]
    )
    story = await teller.of(alert())
    assert story.most_common_error == "NotFound: 404 member (id) after 3.5 s"
    assert story.most_common_count == 3


async def test_the_most_common_error_has_its_group_with_file_and_line(teller, store, filled):
    metadata = {ERROR_GROUP: "Rex".rjust(16, "0")}
    errors = [failed(second, f"ValueError: no node {second}", metadata) for second in range(3)]
    elsewhere = [failed(second, f"ValueError: no node {second}", {ERROR_GROUP: "other"}) for second in range(2)]
    await filled([*errors, *elsewhere, failed(5, "KeyError: 'x'")])
    await store.errors.add([make_errors("Rex", NOW, count=3, message="no node 2")])
    found = await teller.of(alert())
    group = found.error_group
    assert found.most_common_count == 3
    assert (group.id, group.place.file, group.place.line) == (1, "cogs/graph.py", 42)


async def test_failures_that_were_stored_before_errors_had_a_place_have_no_group(teller, filled):
    await filled([failed(1, "ValueError: no node 1")])
    found = await teller.of(alert())
    assert (found.most_common_error, found.error_group) == ("ValueError: no node 1", None)


async def test_addresses_and_uuids_do_not_make_errors_different(teller, filled):
    await filled(
        [
            failed(1, "RuntimeError: <Task at 0x7f3a9c> of 0f8fad5b-d9cb-469f-a165-70867728950e"),
            failed(2, "ValueError: other"),
            failed(3, "RuntimeError: <Task at 0x7f3bbb> of 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ]
    )
    assert (await teller.of(alert())).most_common_count == 2


async def test_the_example_is_the_newest_failure_that_leads_to_its_place(store, filled):
    await filled([failed(1, metadata=person(1)), failed(2, metadata=person(2)), failed(3, "E: 80351110224678912")])
    ways = {f"{1:08x}": "https://discord.com/channels/1/2/3"}
    teller = IncidentReader(store, window_s=WINDOW_S, url_of=lambda one: ways.get(one.metadata.get("user")))
    story = await teller.of(alert())
    assert story.example.end_us == NOW + 1_000_000
    assert story.example_url == "https://discord.com/channels/1/2/3"
    ways.clear()
    story = await teller.of(alert())
    assert (story.example.end_us, story.example.error) == (NOW + 3_000_000, "E: (id)")
    assert story.example_url is None


async def test_the_context_of_slowness_has_the_slowest_and_those_who_waited_longer_than_the_threshold(teller, filled):
    await filled(
        [
            well(1, 9_000, person(1)),
            well(2, 6_000, person(2, guild=2)),
            well(3, 4_000, person(3)),
            (GRAPH, 4, 8_000, ERROR, "TimeoutError", person(1)),
        ]
    )
    story = await teller.of(alert("response_time", threshold=5_000))
    assert (story.operations, story.failures, story.users, story.guilds) == (4, 1, 2, 2)
    assert (story.example.duration_us, story.example.outcome) == (9_000_000, OK)
    assert (story.most_common_error, story.most_common_count) == ("TimeoutError", 1)


@pytest.mark.parametrize(
    ("rule", "operations"),
    [("disconnects", 2), ("many_services", 2), ("stall", 1), ("rate_limits", 3)],
)
async def test_the_context_of_an_alert_on_the_whole_bot_comes_from_the_operations_that_it_shows_in(
    teller, filled, rule, operations
):
    rest, stalls = ("discord.rest", "GET /x"), ("discord.stalls", "render (bot.py:7)")
    await filled(
        [
            failed(1),
            well(2, names=("discord.commands", "ask")),
            *(failed(second, "429", names=rest) for second in (3, 4, 5)),
            well(6, 9_000, names=stalls),
            well(7, names=("discord.listeners", "on_message")),
        ]
    )
    story = await teller.of(alert(rule, BOT))
    assert story.operations == operations


async def test_an_unknown_service_has_a_story_without_operations(teller, filled):
    await filled([failed(1)])
    story = await teller.of(alert(service="gone"))
    assert (story.operations, story.failures, story.users, story.example, story.most_common_error) == (
        (0, 0) + (None,) * 3
    )
    assert story.since_us == NOW - 300_000_000
    story = await teller.of(alert(operation="gone"))
    assert story.operations == 0


async def test_what_changed_in_the_hour_before_is_listed_newest_first(teller, store):
    for minutes, name in (
        (-61, "long ago"),
        (-30, "deployed 1.4"),
        (-1, "reloaded cogs.music"),
        (0, "now"),
        (1, "later"),
    ):
        await store.add_marker(Marker(NOW + minutes * MINUTE_US, "mark", name))
    story = await teller.of(alert())
    assert [one.name for one in story.markers] == ["now", "reloaded cogs.music", "deployed 1.4"]


async def test_a_long_breach_is_read_within_bounds(teller, filled):
    await filled([failed(second / 10, f"E: {second}", person(second)) for second in range(READ + 50)])
    story = await teller.of(alert(seen_us=NOW + 3_600_000_000))
    assert (story.failures, story.users, story.most_common_count) == (READ + 50, READ, READ)
    assert story.most_common_error == f"E: {READ + 49}"


@pytest.mark.parametrize(
    ("rule", "service", "kind", "names"),
    [
        ("logged_errors", "knowledge-graph", ErrorKind.LOGGED, "often"),
        ("unhandled_errors", BOT, ErrorKind.UNHANDLED, "often"),
    ],
)
async def test_a_rule_about_errors_names_their_most_frequent_group(store, teller, rule, service, kind, names):
    await store.errors.add(
        [
            make_errors("often", NOW, count=7, kind=kind),
            make_errors("rare", NOW + 1, kind=kind),
            make_errors("over", NOW - HOUR_US, count=99, kind=kind),
            make_errors("other", NOW, count=99),
        ]
    )
    context = await teller.of(alert(rule, service))
    assert context.error_group.place.function == f"Graph.{names}"
    assert context.most_common_error == f"ValueError: no node {names}"


async def test_an_alert_about_a_new_error_names_its_own_group(store, teller):
    await store.errors.add([make_errors("other", NOW, count=99), make_errors("new", NOW, count=4)])
    context = await teller.of(alert("new_error", operation="ValueError in Graph.new (error 2)"))
    assert (context.error_group.id, context.most_common_count) == (2, 4)


@pytest.mark.parametrize("operation", ["ValueError in Graph.new (error 9)", "ValueError in Graph.new", ""])
async def test_an_alert_about_an_error_that_was_removed_names_none(store, teller, operation):
    await store.errors.add([make_errors("other", NOW)])
    assert (await teller.of(alert("new_error", operation=operation))).error_group is None
