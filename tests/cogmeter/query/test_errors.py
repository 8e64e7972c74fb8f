"""Error groups of a range: their trend, what is new, and which of them failures belong to."""

import pytest
from factories import make_errors

from cogmeter.query import errors
from cogmeter.query.errors import (
    NO_FAILURES,
    TREND_DAYS,
    error_details,
    error_groups,
    group_of_failures,
    last_deploy,
    ungrouped_failures,
)
from cogmeter.query.query import Query
from cogmeter.query.records import Period, Range, UnknownNameError
from cogmeter_storage import open_store
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US, ERROR_GROUP, HOUR_US, FailureGroup, Marker, OperationRecord, Outcome

TODAY_US = 20_000 * DAY_US
NOW_US = TODAY_US + 17 * HOUR_US
DAY = Range(TODAY_US, NOW_US, "today")


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


@pytest.fixture
def query(store):
    return Query(store, clock=lambda: NOW_US)


async def test_a_group_has_its_days_and_is_compared_with_as_many_days_before(store, query):
    counts = (2, 3, 4, 5, 7)  # today, yesterday, and so on
    await store.errors.add([make_errors("a", NOW_US - day * DAY_US, count=count) for day, count in enumerate(counts)])
    span = Range(TODAY_US - DAY_US, NOW_US, "two days")
    (trend,) = (await error_groups(query, span)).groups
    assert (trend.group.count, trend.before) == (2 + 3, 4 + 5)
    assert trend.group.days == ((19_999, 3), (20_000, 2))
    assert trend.days == (*(0,) * (TREND_DAYS - 5), 7, 5, 4, 3, 2)
    assert trend.group.total == 21


async def test_a_trend_is_as_long_as_a_longer_range(store, query):
    await store.errors.add([make_errors("a", NOW_US)])
    (trend,) = (await error_groups(query, Period.MONTH.range_at(NOW_US))).groups
    assert len(trend.days) == 31


async def test_groups_that_were_last_seen_before_the_range_are_left_out(store, query):
    await store.errors.add([make_errors(name, NOW_US - ago * HOUR_US) for name, ago in (("a", 0), ("b", 2), ("c", 3))])
    found = await error_groups(query, Range(NOW_US - HOUR_US, NOW_US + 1, "last hour"))
    assert [trend.group.message for trend in found.groups] == ["no node a"]


async def test_the_most_frequent_errors_come_first_and_of_equal_ones_the_last_seen(store, query, monkeypatch):
    counts = {"old": (3, 3), "rare": (1, 1), "often": (9, 2), "new": (3, 0)}
    await store.errors.add(
        [make_errors(name, NOW_US - ago * HOUR_US, count=count) for name, (count, ago) in counts.items()]
    )
    expected = ["no node often", "no node new", "no node old", "no node rare"]
    assert [trend.group.message for trend in (await error_groups(query, DAY)).groups] == expected
    pages = [(await error_groups(query, DAY, limit=2, offset=offset)).groups for offset in (0, 2)]
    assert [trend.group.message for page in pages for trend in page] == expected
    monkeypatch.setattr(errors, "RANKED", 2)  # then by the last error
    ranked = [trend.group.message for trend in (await error_groups(query, DAY)).groups]
    assert ranked == ["no node new", "no node rare", "no node often", "no node old"]


async def test_pages_lead_to_the_end_and_every_group_keeps_its_trend(store, query):
    await store.errors.add([make_errors(f"g{number}", NOW_US - number, count=number + 1) for number in range(5)])
    found, offset = [], 0
    while offset is not None:
        page = await error_groups(query, DAY, limit=2, offset=offset)
        found += page.groups
        offset = page.next_offset
    assert [(trend.group.count, trend.days[-1]) for trend in found] == [(count, count) for count in (5, 4, 3, 2, 1)]


async def test_kinds_services_and_resolved_groups_are_filtered(store, query):
    await store.series_ids([("other", "x"), ("knowledge-graph", "query")])
    await store.errors.add(
        [
            make_errors("a", NOW_US),
            make_errors("b", NOW_US, kind=ErrorKind.LOGGED),
            make_errors("c", NOW_US, where=("other", "x")),
        ]
    )
    (first, *_) = (await error_groups(query, DAY, kinds=[ErrorKind.LOGGED])).groups
    await store.errors.resolve(first.group.id, actor="Ada", now_us=NOW_US)

    async def messages(**filters):
        return {trend.group.message[-1] for trend in (await error_groups(query, DAY, **filters)).groups}

    assert await messages() == {"a", "b", "c"}
    assert await messages(kinds=[ErrorKind.FAILED]) == {"a", "c"}
    assert await messages(services=["other"]) == {"c"}
    assert await messages(services=["other"], operation="x") == {"c"}
    assert await messages(resolved=True) == {"b"}
    assert await messages(resolved=False) == {"a", "c"}
    await store.errors.add([make_errors("d", NOW_US, where=("log", "cogs.ask"))])
    assert await messages(services=["log"]) == {"d"}  # a service without operations
    with pytest.raises(UnknownNameError):
        await error_groups(query, DAY, services=["othr"])
    with pytest.raises(UnknownNameError, match=r"^No operation 'quer' .* Did you mean query\?$"):
        await error_groups(query, DAY, services=["knowledge-graph"], operation="quer")


async def test_new_means_first_seen_since_the_last_version_and_else_since_the_last_start(store, query):
    await store.errors.add([make_errors("old", NOW_US - 5 * HOUR_US), make_errors("new", NOW_US - HOUR_US)])

    async def new():
        return {trend.group.message for trend in (await error_groups(query, DAY)).groups if trend.is_new}

    assert await new() == set()
    await store.add_marker(Marker(NOW_US - 2 * HOUR_US, "start", "bot started"))
    assert await new() == {"no node new"}
    await store.add_marker(Marker(NOW_US - 6 * HOUR_US, "version", "version 1.4"))
    assert await new() == {"no node new", "no node old"}


async def test_the_last_version_is_found_behind_any_number_of_other_markers(store, query):
    await store.add_marker(Marker(NOW_US - 10 * HOUR_US, "version", "version 1.4"))
    for number in range(450):
        await store.add_marker(Marker(NOW_US - HOUR_US + number, "extension", "reloaded cogs.music"))
    assert (await last_deploy(query)).name == "version 1.4"


async def test_details_have_the_examples_and_the_running_version(store, query):
    await store.add_marker(Marker(NOW_US - HOUR_US, "version", "version 1.5"))
    await store.errors.add([make_errors("a", NOW_US - 20 * DAY_US), make_errors("a", NOW_US, count=3)])
    details = await error_details(query, 1)
    assert details.running_version == "1.5"
    assert [example.at_us for example in details.examples] == [NOW_US, NOW_US - 20 * DAY_US]
    assert (details.trend.days[-1], sum(details.trend.days), details.trend.before) == (3, 3, 1)
    assert not details.trend.is_new
    assert await error_details(query, 2) is None


def failures(error, service, operation, fingerprint):
    metadata = {} if fingerprint is None else {ERROR_GROUP: fingerprint.rjust(16, "0")}
    example = OperationRecord(1, service, operation, NOW_US, NOW_US, Outcome.ERROR, error, metadata)
    return FailureGroup(service, operation, error, Outcome.ERROR, 1, NOW_US, NOW_US, example, truncated=False)


async def test_failures_belong_to_the_group_that_their_operations_name_however_their_text_reads(store):
    await store.errors.add(
        [
            make_errors("a", NOW_US, message="gone"),
            make_errors("b", NOW_US, message="gone", where=("web", "fetch")),
            make_errors("c", NOW_US),
            make_errors("c", NOW_US, kind=ErrorKind.LOGGED),
            make_errors("d", NOW_US),
            make_errors("d", NOW_US, kind=ErrorKind.LOGGED, where=("discord.commands", "ask")),
        ]
    )
    groups = await store.errors.groups(TODAY_US, NOW_US + 1)
    expected = {
        "a": ("a", ErrorKind.FAILED),
        "b": ("b", ErrorKind.FAILED),  # an operation inside this one raised it
        "c": ("c", ErrorKind.FAILED),
        "d": ("d", ErrorKind.LOGGED),  # the command logged its error before it failed, and is counted there
        "x": None,  # its errors were dropped
        None: None,  # a failure without an exception
    }
    for fingerprint, identity in expected.items():
        group = group_of_failures(failures("ValueError: gone", "discord.commands", "ask", fingerprint), groups)
        assert (group and (group.fingerprint.lstrip("0"), group.kind)) == identity, fingerprint


async def test_the_inner_errors_of_a_service_are_its_failures_that_another_operation_counts(store, query):
    ids = await store.series_ids([("discord.commands", "ask"), ("web", "fetch")])
    rows = [
        (ids[0], NOW_US - 3, 9, Outcome.ERROR, "ValueError: no node own", None),
        (ids[0], NOW_US - 2, 9, Outcome.ERROR, "ValueError: no host", '{"error_group": "000000000000host"}'),
        (ids[0], NOW_US - 1, 9, Outcome.ERROR, "ValueError: no host", '{"error_group": "000000000000host"}'),
        (ids[1], NOW_US - 2, 5, Outcome.ERROR, "ValueError: no host", '{"error_group": "000000000000host"}'),
    ]
    await store.append([rows], now_us=NOW_US)
    await store.errors.add([make_errors("host", NOW_US, where=("web", "fetch"), message="no host")])
    found = await ungrouped_failures(query, DAY, ["discord.commands"])
    (inner,) = found.inner
    assert found.unplaced == 1  # "no node own"
    assert (inner.failures.operation, inner.failures.count, inner.raised_in) == ("ask", 2, ("web", "fetch"))
    assert await ungrouped_failures(query, DAY, ["web"]) == NO_FAILURES
    assert await ungrouped_failures(query, DAY, ["log"]) == NO_FAILURES  # a service of errors without operations
