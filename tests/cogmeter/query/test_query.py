"""What the summary counts, what it counts apart, and which names are near."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cogmeter.query.query import Query
from cogmeter.query.records import MOST_BINS, Period, Range, UnknownNameError
from cogmeter.query.statistics import figures
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, MINUTE_US, Marker, Retention

NOW_US = 1_800_000_000_000_000 + 17 * MINUTE_US + 3_000_000


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    yield store
    await store.close()


async def recorded(store, *operations):
    """Operations as (service, operation, end_us, duration_us, outcome)."""
    ids = await store.series_ids([one[:2] for one in operations])
    rows = [(number, *one[2:], None, None) for number, one in zip(ids, operations, strict=True)]
    await store.append([sorted(rows, key=lambda row: row[1])], now_us=NOW_US)


def query(store):
    return Query(store, clock=lambda: NOW_US)


async def test_what_runs_in_the_background_is_counted_apart(store):
    await recorded(
        store,
        ("discord.commands", "ask", NOW_US - 5, 1_000_000, 1),
        *(("discord.listeners", "on_message", NOW_US - number, 10, 0) for number in range(6, 100)),
    )
    summary = await query(store).summary(Period.HOUR)
    assert (summary.total.operations, summary.total.error_rate) == (1, 1.0)
    assert [name for name, _ in summary.services] == ["discord.commands"]
    assert [(name, one.operations) for name, one in summary.background] == [("discord.listeners", 94)]
    assert sum(summary.timeline.per_minute) == pytest.approx(20)  # one operation in the three seconds of the last bin


RANKED = (
    *(("discord.commands", "ask", NOW_US - number, 2_000_000, 0) for number in range(1, 5)),
    *(("discord.commands", "help", NOW_US - number, 1_000, 0) for number in range(5, 7)),
    ("discord.components", "Shop.buy", NOW_US - 7, 5_000, 1),
    *(("discord.replies", "on_message", NOW_US - number, 9_000_000, 0) for number in range(8, 11)),
    *(("knowledge-graph", name, NOW_US - 12 + number, 3_000, 0) for number, name in enumerate(("query", "load"))),
    ("discord.listeners", "on_message", NOW_US - 13, 3, 0),
)


async def test_commands_components_and_replies_are_ranked_by_their_own_name(store):
    await recorded(store, *RANKED)
    summary = await query(store).summary(Period.HOUR)
    assert [(one.label, one.figures.operations) for one in summary.commands] == [
        ("/ask", 4),
        ("reply on_message", 3),
        ("/help", 2),
        ("button Shop.buy", 1),
    ]
    assert summary.commands[3].figures.error_rate == 1.0
    assert summary.commands[0].figures.max_us == 2_000_000


async def test_the_newest_operation_is_one_of_those_that_are_counted(store):
    await recorded(store, *RANKED)
    for typed, before_us in (("/ask", 1), ("/help", 5), ("knowledge-graph", 11)):
        assert (await query(store).stats(typed, period=Period.HOUR)).last_end_us == NOW_US - before_us
    past = Range(NOW_US - 2 * DAY_US, NOW_US - DAY_US, "a day before")
    assert (await query(store).stats("/ask", period=past)).last_end_us is None


async def test_services_that_are_ranked_by_operation_stay_among_the_services(store):
    await recorded(store, *RANKED)
    summary = await query(store).summary(Period.HOUR)
    assert [(name, one.operations) for name, one in summary.services] == [
        ("discord.commands", 6),
        ("discord.replies", 3),
        ("knowledge-graph", 2),
        ("discord.components", 1),
    ]
    assert [name for name, _ in summary.own_services] == ["knowledge-graph"]
    assert [name for name, _ in summary.background] == ["discord.listeners"]
    assert summary.total.operations == 12
    assert (await query(store).overview(Period.HOUR)).own_services == summary.own_services


async def test_the_figures_of_a_service_are_the_same_with_and_without_ranked_operations(store):
    await recorded(store, *RANKED)
    services = dict((await query(store).overview(Period.HOUR)).services)
    stats = await query(store).stats("discord.commands", period=Period.HOUR)
    assert services["discord.commands"] == stats.total
    ranked = {one.operation: one.figures for one in (await query(store).overview(Period.HOUR)).commands}
    assert {name: ranked[name] for name, _ in stats.operations} == dict(stats.operations)


async def test_an_overview_reads_totals_once(store, monkeypatch):
    await recorded(store, *RANKED)
    reads, totals = [], store.totals

    async def counted(*arguments, **options):
        reads.append(options)
        return await totals(*arguments, **options)

    monkeypatch.setattr(store, "totals", counted)
    await query(store).overview(Period.DAY)
    assert len([options for options in reads if options["groups"]]) == 1


@pytest.mark.parametrize(("ago_us", "minutes"), [(2 * 24 * 60 * MINUTE_US, 1440), (10 * MINUTE_US, 10), (1, 1)])
async def test_rates_are_over_the_time_from_the_first_record_on(store, ago_us, minutes):
    await recorded(store, *RANKED, ("graph", "query", NOW_US - ago_us, 5, 0))
    summary = await query(store).summary(Period.DAY)
    stats = await query(store).stats("discord.commands", period=Period.DAY)
    operations = await query(store).operations("discord.commands", Period.DAY)
    span = query(store).span(Period.DAY)
    ids = await query(store).ids("discord.commands")
    together = figures(await query(store).totals(span, dict.fromkeys(ids, 0)), span)
    of_parts = (summary.services[0][1], summary.commands[0].figures, operations["ask"])
    for one in (summary.total, stats.total, together, *of_parts):
        assert one.per_minute == pytest.approx(one.operations / minutes, rel=0.1)
    assert summary.before.per_minute == pytest.approx(summary.before.operations / 1440, rel=0.01)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("knowledge-graph", ("knowledge-graph", None)),
        ("discord.commands", ("discord.commands", None)),
        ("/ask", ("discord.commands", "ask")),
        ("ask", ("discord.commands", "ask")),
        (" /Ask ", ("discord.commands", "ask")),
        ("button Shop.buy", ("discord.components", "Shop.buy")),
        ("Shop.buy", ("discord.components", "Shop.buy")),
        ("reply on_message", ("discord.replies", "on_message")),
        ("on_message", ("discord.replies", "on_message")),
        ("knowledge-graph / load", ("knowledge-graph", "load")),
    ],
)
async def test_a_typed_name_means_a_service_or_the_operation_with_that_label(store, typed, meant):
    await recorded(store, *RANKED)
    assert await query(store).subject_of(typed) == meant
    stats = await query(store).stats(typed, period=Period.HOUR)
    assert (stats.service, stats.operation) == meant
    assert await query(store).timeline(typed) == await query(store).timeline(*meant)
    assert await query(store).ids(typed) == await query(store).ids(*meant)


async def test_a_service_precedes_a_label(store):
    await recorded(store, ("/ask", "run", NOW_US - 2, 1, 0), ("discord.commands", "ask", NOW_US - 1, 1, 0))
    assert await query(store).subject_of("/ask") == ("/ask", None)
    assert await query(store).subject_of("ask") == ("discord.commands", "ask")


async def test_a_name_that_means_nothing_raises_an_error_with_similar_labels_and_services(store):
    await recorded(store, *RANKED)
    with pytest.raises(UnknownNameError, match=r"No service or command '/asc' has been recorded.*/ask") as raised:
        await query(store).stats("/asc")
    assert (raised.value.parameter, raised.value.near[0]) == ("service", "/ask")
    with pytest.raises(UnknownNameError, match="knowledge-graph"):
        await query(store).subject_of("knowlege-graph")


async def test_a_label_with_another_operation_raises_an_error(store):
    await recorded(store, *RANKED)
    assert await query(store).subject_of("/ask", "ask") == ("discord.commands", "ask")
    with pytest.raises(UnknownNameError) as raised:
        await query(store).stats("/ask", "help")
    assert (raised.value.kind, raised.value.name, raised.value.near) == ("operation", "help", ("ask",))


async def test_the_title_of_a_commands_chart_is_its_label(store):
    await recorded(store, *RANKED)
    assert (await query(store).timeline("discord.commands", "ask")).title == "/ask"
    assert (await query(store).timeline("knowledge-graph", "load")).title == "knowledge-graph / load"


async def test_the_period_before_ends_where_this_one_begins(store):
    begin = (NOW_US - HOUR_US) // MINUTE_US * MINUTE_US
    await recorded(store, ("a", "x", begin - 1, 1, 0), ("a", "x", begin, 1, 0), ("a", "x", NOW_US - 1, 1, 0))
    stats = await query(store).stats("a", period=Period.HOUR)
    assert (stats.before.operations, stats.total.operations) == (1, 2)


async def test_no_percentile_lies_beyond_the_slowest_operation(store):
    durations_us = (1, 7_333, 176_778, 912_942)
    await recorded(store, *((f"s{took}", "x", NOW_US - 5, took, 0) for took in durations_us))
    summary = await query(store).summary(Period.HOUR)
    found = [one for _, one in summary.services]
    assert [one.max_us for one in sorted(found, key=lambda one: one.max_us)] == list(durations_us)
    assert all(one.p50_us <= one.p95_us <= one.p99_us <= one.max_us for one in [*found, summary.total])


async def test_the_rate_of_the_bin_that_is_still_filling_is_over_the_time_that_passed(store):
    await recorded(store, *(("a", "x", NOW_US - 1_000 - number, 1, 0) for number in range(10)))
    timeline = (await query(store).stats("a", period=Period.HOUR)).timeline
    assert timeline.per_minute[-1] == pytest.approx(10 / 3 * 60)


async def test_an_unknown_operation_raises_an_error_with_similar_names(store):
    await recorded(store, ("knowledge-graph", "query", NOW_US - 1, 1, 0))
    with pytest.raises(UnknownNameError, match=r"Did you mean query\?") as raised:
        await query(store).stats("knowledge-graph", "querry")
    assert (raised.value.kind, raised.value.near) == ("operation", ("query",))


async def test_an_unknown_service_has_no_operations_and_is_no_error(store):
    await recorded(store, ("knowledge-graph", "query", NOW_US - 1, 1, 0))
    assert await query(store).operations("knowledge-grap", Period.DAY) == {}
    assert list(await query(store).operations("knowledge-graph", Period.DAY)) == ["query"]


def test_every_period_has_a_readable_number_of_bins():
    for period in Period:
        span = period.range_at(NOW_US)
        assert 50 <= (span.until_us - span.since_us) / span.step_us <= 130


@given(st.integers(1, 10_000 * DAY_US))
def test_no_range_has_more_bins_than_can_be_distinguished(length_us):
    span = Range(0, length_us, "some time")
    assert length_us <= MOST_BINS * span.step_us
    assert span.step_us % MINUTE_US == 0


async def test_a_range_is_answered_as_a_period_is(store):
    await recorded(store, ("a", "x", NOW_US - 1, 1, 0))
    span = Period.HOUR.range_at(NOW_US)
    assert await query(store).summary(span) == await query(store).summary(Period.HOUR)
    assert (await query(store).stats("a", period=Range(0, 10 * MINUTE_US, "long ago"))).total.operations == 0


async def test_a_timeline_of_all_services_leaves_out_what_runs_in_the_background(store):
    await recorded(
        store,
        ("a", "x", NOW_US - 1, 1, 0),
        ("discord.rest", "GET", NOW_US - 1, 1, 0),
        ("db.sqlite", "SELECT", NOW_US - 1, 1, 0),
    )
    line = await query(store).timeline(step_us=10 * MINUTE_US)
    assert line.step_us == 10 * MINUTE_US
    assert sum(line.per_minute) > 0
    assert sum(line.per_minute) == sum((await query(store).timeline("a", "x", step_us=10 * MINUTE_US)).per_minute)


async def test_a_summary_of_some_services_counts_those_alone(store):
    await recorded(store, ("a", "x", NOW_US - 1, 1, 0), ("b", "x", NOW_US - 1, 1, 0))
    found = await query(store).summary(Period.HOUR, services=["b"])
    assert [name for name, _ in found.services] == ["b"]
    assert found.total.operations == 1


async def test_the_computation_of_a_figure_is_logged_at_debug(store, caplog):
    await recorded(store, ("a", "x", NOW_US - 1, 1, 0))
    with caplog.at_level("DEBUG", logger="cogmeter.query"):
        await query(store).stats("a", period=Period.HOUR)
    assert any(message.startswith("last hour: 1 operations in 1 groups") for message in caplog.messages)


async def test_a_title_that_is_not_ascii_has_an_ascii_alias(store):
    await recorded(
        store,
        *(("music", name, NOW_US - 9, 1, 0) for name in ("play", "再生")),
        *(("音楽", name, NOW_US - 8, 1, 0) for name in ("再生", "stop")),
        ("データ", "読む", NOW_US - 7, 1, 0),
    )
    asked = query(store)
    titles = [
        (one.title, one.alias)
        for one in (
            await asked.timeline(),
            await asked.timeline("music", "play"),
            await asked.timeline("music", "再生"),
            await asked.timeline("音楽"),
            await asked.timeline("音楽", "stop"),
            (await asked.stats("データ", "読む")).timeline,
        )
    ]
    assert titles == [
        ("All services", ""),
        ("music / play", ""),
        ("music / 再生", "music / operation 2"),
        ("音楽", "service 2"),
        ("音楽 / stop", "service 2 / stop"),
        ("データ / 読む", "service 3 / operation 1"),
    ]


# Where a chart begins ----------------------------------------------------------------------------------------------

TEN_MINUTES_AGO_US = NOW_US - 10 * MINUTE_US


def times(*ended_us, service="a"):
    return [(service, "x", at_us, 1_000, 0) for at_us in ended_us]


@pytest.mark.parametrize("period", list(Period))
async def test_a_bot_that_started_ten_minutes_ago_gets_a_chart_of_ten_minutes(store, period):
    await recorded(store, *times(*range(TEN_MINUTES_AGO_US, NOW_US, MINUTE_US)))
    summary, stats = await query(store).summary(period), await query(store).stats("a", period=period)
    for line in (summary.timeline, stats.timeline, await query(store).timeline("a", period=period, trim=True)):
        assert line.edges_us[0] == TEN_MINUTES_AGO_US // MINUTE_US * MINUTE_US
        assert (len(line.edges_us), line.step_us) == (11, MINUTE_US)
        assert all(line.per_minute[:-1])  # the last bin has just begun
        assert line.range == summary.range == period.range_at(NOW_US)  # the figures are over the whole period


async def test_a_timeline_has_the_whole_range_unless_it_is_trimmed(store):
    await recorded(store, *times(TEN_MINUTES_AGO_US))
    line = await query(store).timeline("a", period=Period.DAY)
    assert line.edges_us[0] == Period.DAY.range_at(NOW_US).since_us


@pytest.mark.parametrize("hours", [1, 3, 7, 20])
async def test_the_axis_begins_within_the_first_bin_that_has_operations(store, hours):
    first_us = NOW_US - hours * HOUR_US
    await recorded(store, *times(first_us, NOW_US - 1))
    line = (await query(store).summary(Period.MONTH)).timeline
    assert 0 <= first_us - line.edges_us[0] < line.step_us
    assert line.step_us == Range(line.edges_us[0], NOW_US, "").step_us


async def test_time_without_operations_stays_when_something_was_recorded_before_it(store):
    await recorded(store, *times(NOW_US - 2 * DAY_US, NOW_US - 1))
    line = (await query(store).summary(Period.DAY)).timeline
    assert line.edges_us[0] == Period.DAY.range_at(NOW_US).since_us


async def test_a_new_service_of_an_old_bot_is_seen_as_new(store):
    await recorded(store, *times(NOW_US - 23 * HOUR_US, service="old"), *times(NOW_US - 1, service="new"))
    line = (await query(store).stats("new", period=Period.DAY)).timeline
    assert NOW_US - line.edges_us[0] > 22 * HOUR_US


async def test_the_axis_begins_with_the_start_of_the_bot_where_a_marker_says_it(store):
    await store.add_marker(Marker(NOW_US - 30 * MINUTE_US, "start", "bot started"))
    await recorded(store, *times(TEN_MINUTES_AGO_US))
    line = (await query(store).summary(Period.DAY)).timeline
    assert line.edges_us[0] == (NOW_US - 30 * MINUTE_US) // MINUTE_US * MINUTE_US


async def test_statistics_that_outlive_their_operations_are_on_the_axis(store):
    since_us = Period.MONTH.range_at(NOW_US).since_us
    await recorded(store, *times(since_us + HOUR_US, NOW_US - 1))
    await store.fold(now_us=NOW_US)
    await store.clean(Retention(raw_hours=24), now_us=NOW_US)
    assert (await store.status()).first_end_us == NOW_US - 1
    assert (await query(store).summary(Period.MONTH)).timeline.edges_us[0] <= since_us


async def test_a_chart_begins_with_the_first_statistics_when_all_operations_were_deleted(store):
    first_us = NOW_US - 10 * DAY_US
    await recorded(store, *times(first_us))
    await store.append([], now_us=NOW_US)
    await store.fold(now_us=NOW_US)
    await store.clean(Retention(raw_hours=24), now_us=NOW_US)
    assert (await store.status()).first_end_us is None
    edges_us = (await query(store).summary(Period.MONTH)).timeline.edges_us
    assert Period.MONTH.range_at(NOW_US).since_us < edges_us[0] <= first_us


async def test_without_any_record_a_chart_has_the_whole_range(store):
    span = Period.DAY.range_at(NOW_US)
    assert await query(store).covered(span) == span
    assert (await query(store).summary(Period.DAY)).timeline.edges_us[0] == span.since_us
