"""The demo's history: the same for a seed, in order, and as busy as the profiles."""

import asyncio
import importlib
import json
import pkgutil
import shutil
from collections import Counter

import numpy as np
import pytest
from discord.ext import commands

from cogmeter.alerts.review.what_if import Replayer
from cogmeter.query.comparison import compare
from cogmeter.query.errors import ungrouped_failures
from cogmeter.query.query import Query
from cogmeter.query.records import Period
from cogmeter.query.slow import slow_runs
from cogmeter.query.time_parts import first_output_us, first_response
from cogmeter.query.usage import registered_commands
from cogmeter.recording.service_names import ACKNOWLEDGEMENT, COMMANDS, TASKS
from cogmeter.settings import Settings
from cogmeter_bot import cogs as cogs_of_bot
from cogmeter_bot.demo.errors import past_errors
from cogmeter_bot.demo.history import GUILDS, USERS, make_history, store_history
from cogmeter_bot.demo.incidents import PAST, SLOW_RELEASE
from cogmeter_bot.demo.past import INTRODUCED, past_alerts, store_alerts, store_commands
from cogmeter_bot.demo.profiles import (
    CALLBACKS,
    FIRST_RESPONSES,
    LIVE_GUILDS,
    LIVE_USERS,
    PROFILES,
    person_hashes,
)
from cogmeter_bot.importing import ROWS_PER_CHUNK
from cogmeter_storage import open_store
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import DAY_US, FAILURES, HOUR_US, Outcome

UNTIL_US = 1_795_000_000_000_000
SETTINGS = Settings(
    _env_file=None, alert_window=60, alert_min_operations=15, alert_cooldown=120, alert_recovery=15
)  # the demo's


@pytest.fixture(scope="module")
def week():
    return make_history(UNTIL_US, 7, seed=1)


async def stored(history, path):
    store = await open_store(f"sqlite:///{path}")
    try:
        await store_history(store, history, until_us=UNTIL_US)
    finally:
        await store.close()
    return path


@pytest.fixture(scope="module")
def week_file(week, tmp_path_factory):
    return asyncio.run(stored(week, tmp_path_factory.mktemp("week") / "demo.db"))


@pytest.fixture
async def stored_week(week_file, tmp_path):
    """A file of its own for each test."""
    store = await open_store(f"sqlite:///{shutil.copy(week_file, tmp_path)}")
    yield store
    await store.close()


def test_the_same_seed_makes_the_same_history(week):
    again = make_history(UNTIL_US, 7, seed=1)
    assert np.array_equal(week.table, again.table)
    assert week.metadata == again.metadata


def test_another_seed_makes_another_history(week):
    assert len(make_history(UNTIL_US, 7, seed=2)) != len(week)


def test_a_week_has_about_as_many_operations_as_the_profiles_say(week):
    assert len(week) == pytest.approx(sum(one.per_minute for one in PROFILES) * 7 * 24 * 60, rel=0.02)


def test_operations_are_in_the_order_of_their_end_inside_the_range(week):
    end = week.table[:, 1]
    assert (np.diff(end) >= 0).all()
    assert end[0] >= UNTIL_US - 7 * DAY_US
    assert end[-1] < UNTIL_US


def test_durations_are_positive_and_near_the_profiles_medians(week):
    assert (week.table[:, 2] > 0).all()
    for number, profile in enumerate(PROFILES):
        took = week.table[week.table[:, 0] == number, 2]
        assert np.median(took) / 1000 == pytest.approx(profile.median_ms, rel=0.1)


def test_the_rows_come_in_slices_with_the_stores_ids(week):
    ids = [100 + number for number in range(len(week.names))]
    slices = list(week.chunks(ids))
    rows = [row for one in slices for row in one]
    assert len(rows) == len(week)
    assert max(map(len, slices)) == ROWS_PER_CHUNK
    assert {row[0] for row in rows} == set(ids)


def test_a_row_has_an_error_text_exactly_when_it_failed(week):
    rows = [row for one in week.chunks(range(len(week.names))) for row in one]
    assert all((outcome != Outcome.OK) == (error is not None) for _, _, _, outcome, error, _ in rows)
    assert 0.005 < sum(row[4] is not None for row in rows) / len(rows) < 0.03


def test_each_past_incident_shows_in_the_operations_of_its_service(week):
    series, end, took, outcome = week.table.T[:4]
    hours = (end - UNTIL_US) / HOUR_US
    for incident in PAST:
        ours = np.isin(series, [n for n, (service, _) in enumerate(week.names) if service == incident.service])
        inside = ours & (hours >= incident.start) & (hours < incident.end)
        usual = ours & ~inside
        failed = outcome != Outcome.OK
        assert failed[inside].mean() > 10 * failed[usual].mean() or took[inside].mean() > 3 * took[usual].mean()


@pytest.mark.parametrize("period", [Period.HOUR, Period.DAY, Period.WEEK])
@pytest.mark.parametrize("service", [COMMANDS, "core-intelligence", "multimodal-processing", "web-crawling"])
async def test_the_slowest_operations_have_traces_that_slow_shows(stored_week, period, service):
    query = Query(stored_week, clock=lambda: UNTIL_US)
    slowest = (await query.stats(service, None, period)).slowest
    run = (await slow_runs(query, period, service)).runs[0]
    traces = await stored_week.traces(None, None, 0, limit=10_000)

    def facts(trace):
        parts = [(one.service, one.operation, trace.at_us + one.start_us, one.duration_us) for one in trace.spans]
        return {(trace.service, trace.operation, trace.at_us, trace.duration_us), *parts}

    known = set.union(*map(facts, traces))
    expected = [(one.service, one.operation, one.start_us, one.duration_us) for one in slowest]
    assert len(expected) == 5
    assert set(expected) <= known
    assert run.traced
    assert expected[0] in facts(run.trace)


def test_a_stall_of_a_trace_is_a_recorded_stall(week):
    number = week.names.index(("discord.stalls", "services/images.py:41 thumbnail"))
    stalls = {(end, took) for series, end, took, *_ in week.table.tolist() if series == number}
    spans = [(trace.at_us, one) for trace in week.traces for one in trace.spans if one.service == "discord.stalls"]
    assert len(spans) > 20
    assert {(at_us + one.start_us + one.duration_us, one.duration_us) for at_us, one in spans} <= stalls


def test_each_error_that_ended_no_operation_happened_during_a_run_of_its_command(week):
    runs = {name: week.table[week.table[:, 0] == number] for number, name in enumerate(week.names)}
    batches = [one for one in past_errors(week, UNTIL_US, 7, 1) if one.kind is not ErrorKind.FAILED]
    assert {one.kind for one in batches} == {ErrorKind.LOGGED, ErrorKind.UNHANDLED}
    for example in (example for batch in batches for example in batch.examples):
        _, end, took, *_ = runs[example.service, example.operation].T
        assert ((end - took <= example.at_us) & (example.at_us <= end)).any()


def test_an_error_that_an_operation_inside_a_command_raised_is_counted_there_alone(week):
    counted = Counter()
    for batch in past_errors(week, UNTIL_US, 7, 1):
        if batch.kind is ErrorKind.FAILED:
            for (service, name, _), count in batch.counts.items():
                counted[service, name] += count
    series, _, _, outcome, *_ = week.table.T
    failed, ask = np.isin(outcome, FAILURES), series == week.names.index((COMMANDS, "ask"))
    passed_on = int((failed & ask & (week.raised_in != series)).sum())
    assert passed_on > 5
    assert counted[COMMANDS, "ask"] == int((failed & ask).sum()) - passed_on
    fetches = series == week.names.index(("web-crawling", "fetch"))
    assert not (fetches & (week.raised_in != series)).any()
    assert counted["web-crawling", "fetch"] == int((failed & fetches).sum())


async def test_each_failure_of_the_past_has_the_error_group_of_the_operation_that_raised_it(week, stored_week):
    for batch in past_errors(week, UNTIL_US, 7, 1):
        await stored_week.errors.add([batch])
    query = Query(stored_week, clock=lambda: UNTIL_US)
    span = query.span(Period.WEEK)
    found = await ungrouped_failures(query, span, [COMMANDS], "ask")
    assert found.unplaced == 0
    assert {"core-intelligence", "web-crawling"} <= {inner.raised_in[0] for inner in found.inner}
    assert all(inner.failures.kind.startswith(inner.group.type) for inner in found.inner)


async def test_the_past_alerts_are_those_that_a_preview_of_the_thresholds_counts(stored_week):
    alerts = await past_alerts(stored_week, SETTINGS, until_us=UNTIL_US)
    replayer = Replayer(stored_week, SETTINGS, now_us=UNTIL_US)
    previews = [await replayer.what_if(key, value) for key, value in (("error_rate", "5%"), ("response_time", "5s"))]
    assert {one.service for one in alerts} >= {one.service for one in PAST if one.service != "context-memory"}
    for rule, preview in zip(("error_rate", "response_time"), previews, strict=True):
        fired = [one for one in alerts if one.rule == rule]
        assert (len(fired), sum(one.resolved_us - one.fired_us for one in fired)) == (
            preview.now_times,
            preview.now_length_us,
        )
        assert preview.windows > preview.too_few > 0
    assert all(one.current > one.threshold and one.fired_us < one.resolved_us < UNTIL_US for one in alerts)


async def test_a_short_history_has_only_the_alerts_of_its_time(tmp_path):
    for days, services in ((1, {"core-intelligence", "web-crawling"}), (0.01, set())):
        path = await stored(make_history(UNTIL_US, days, seed=1), tmp_path / f"{days}.db")
        store = await open_store(f"sqlite:///{path}")
        try:
            alerts = await past_alerts(store, SETTINGS, until_us=UNTIL_US)
        finally:
            await store.close()
        assert {one.service for one in alerts} == services


async def test_the_stored_history_knows_who_used_the_commands(stored_week):
    groups = {one.id: 0 for one in await stored_week.series() if one.service == COMMANDS}
    (people,) = await stored_week.usage.distinct(UNTIL_US - 7 * DAY_US, UNTIL_US, groups=groups)
    runs = await stored_week.totals(UNTIL_US - 7 * DAY_US, UNTIL_US, groups=groups)
    contexts = await stored_week.usage.counts(0, UNTIL_US, ["context"])
    assert (people.users, people.guilds) == (USERS, GUILDS)
    assert sum(contexts.values()) == int(runs.counts.sum())


def test_the_people_of_costs_and_errors_are_most_of_those_who_use_the_commands(week):
    known = [person_hashes(user) for user in range(USERS)]
    servers = {one["user"]: one.get("guild") for one in known}
    assert len(servers) == USERS
    used = np.unique(week.table[:, 5])
    spending = [json.loads(week.metadata[place]) for place in used.tolist() if week.metadata[place]]
    spent = {(one["user"], one.get("guild")) for one in spending if "user" in one}
    failed = {user for batch in past_errors(week, UNTIL_US, 7, 1) for user in batch.users}
    assert all(servers[user] == guild for user, guild in spent)
    assert failed <= servers.keys()
    assert 0.8 * USERS < len(spent) <= USERS
    assert 0.5 * USERS < len(failed) <= USERS


async def test_a_comparison_finds_the_command_that_the_last_deploy_made_slower(stored_week):
    await store_alerts(stored_week, [], until_us=UNTIL_US, days=7)
    query = Query(stored_week, clock=lambda: UNTIL_US)
    mood, remember = await compare(query, "/mood"), await compare(query, "/remember")
    assert (mood.marker.name, mood.latency.verdict) == ("deployed 1.4", "worse")
    assert mood.latency.ratio == pytest.approx(SLOW_RELEASE.slowdown - 1, abs=0.15)
    assert remember.latency.verdict == "unchanged"


def test_each_command_of_the_past_has_a_first_response_and_each_that_was_sent_a_request(week):
    of = {name: week.table[week.table[:, 0] == number] for number, name in enumerate(week.names)}
    responses = {operation: rows for (service, operation), rows in of.items() if service == ACKNOWLEDGEMENT}
    assert {name: len(rows) for name, rows in responses.items()} == {
        name: len(of[COMMANDS, name]) for name in ("ask", "mood", "remember", "look")
    }
    sent = sum(int((rows[:, 3] == Outcome.OK).sum()) for rows in responses.values())
    assert len(of[CALLBACKS.service, CALLBACKS.operation]) == sent


def test_a_background_loop_runs_by_the_clock_and_its_errors_concern_nobody_and_no_command(week):
    ends = week.table[week.table[:, 0] == week.names.index((TASKS, "Chores.refresh_feeds")), 1]
    assert set(np.diff(ends).tolist()) == {20_000_000}
    errors = [one for one in past_errors(week, UNTIL_US, 7, 1) if TASKS in {service for service, *_ in one.counts}]
    assert errors
    for one in errors:
        assert (one.users, one.guilds) == (frozenset(), frozenset())
        frames = [frame.file for example in one.examples for link in example.chain for frame in link.frames]
        assert {*frames} == {"discord/ext/tasks/__init__.py", "cogs/chores.py"}
        assert {example.user for example in one.examples} == {None}


async def test_the_bot_has_each_command_since_a_deploy_or_the_begin_of_its_history(stored_week):
    await store_commands(stored_week, until_us=UNTIL_US, days=7)
    known = await registered_commands(stored_week)
    names = (one.name for one in pkgutil.iter_modules(cogs_of_bot.__path__))
    modules = [importlib.import_module(f"cogmeter_bot.cogs.{name}") for name in names]
    found = (one for module in modules for one in vars(module).values() if isinstance(one, type))
    classes = [one for one in found if issubclass(one, commands.Cog)]
    assert set(known) == set(INTRODUCED) == {made.name for one in classes for made in one.__cog_app_commands__}
    days = {name: (UNTIL_US - at_us) / DAY_US for name, at_us in known.items()}
    assert [round(days[name], 1) for name in ("ask", "recall", "relate", "read")] == [7, 4.7, 2.3, 0.4]


def test_a_history_of_less_than_a_minute_is_empty():
    assert len(make_history(UNTIL_US, 0.0, seed=1)) == 0


def test_the_first_response_of_a_traced_command_is_in_time_and_the_recorded_one(week):
    recorded = {name: set() for name in FIRST_RESPONSES}
    for number, (service, name) in enumerate(week.names):
        if service == ACKNOWLEDGEMENT:
            rows = week.table[week.table[:, 0] == number]
            recorded[name] = set(zip((rows[:, 1] - rows[:, 2]).tolist(), rows[:, 2].tolist(), strict=True))
    shown = [(trace, first_output_us(trace)) for trace in week.traces if trace.operation in FIRST_RESPONSES]
    answered = [(trace, after_us) for trace, after_us in shown if first_response(trace) is not None]
    assert len(shown) >= len(answered) > 500
    assert all(after_us < 3_000_000 for _, after_us in answered)
    for name in ("ask", "look"):
        assert {(trace.at_us, after_us) for trace, after_us in answered if trace.operation == name} <= recorded[name]


def test_costs_and_usage_count_the_same_servers_and_direct_messages():
    people = [person_hashes(user) for user in range(USERS)]
    assert len({one["guild"] for one in people if "guild" in one}) == GUILDS
    assert sum("guild" not in one for one in people) == USERS // 20
    live = {person_hashes(USERS + user)["guild"] for user in range(LIVE_USERS)}
    assert len(live) == LIVE_GUILDS
    assert live.isdisjoint({one.get("guild") for one in people})
