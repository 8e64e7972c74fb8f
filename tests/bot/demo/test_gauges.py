"""The demo's made-up life with Discord: first responses, money, gauges, slow commands, background loops."""

import asyncio
import json
from collections import Counter

import numpy as np
import pytest

from cogmeter.query.slow_patterns import PATTERNS, TracedRun, matches
from cogmeter.settings import Settings
from cogmeter.watch.event_loop.lag import Lag
from cogmeter.watch.rest.budget import Budget
from cogmeter_bot.demo.environment import DEFAULTS
from cogmeter_bot.demo.gauges import (
    HEARTBEAT_S,
    SLOW_HOURS,
    heartbeat_age_s,
    latency_ms,
    past_gauges,
    store_gauges,
)
from cogmeter_bot.demo.history import make_history
from cogmeter_bot.demo.runner import Chores
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, Outcome

UNTIL_US = 1_795_000_000_000_000


@pytest.fixture(scope="module")
def week():
    return make_history(UNTIL_US, 7, seed=1)


@pytest.fixture
async def store(tmp_path):
    opened = await open_store(f"sqlite:///{tmp_path}/demo.db")
    yield opened
    await opened.close()


def rows_of(week, service):
    ours = [number for number, (name, _) in enumerate(week.names) if name == service]
    return [row for one in week.chunks(range(len(week.names))) for row in one if row[0] in ours]


def test_a_first_response_comes_within_three_seconds_or_never_and_says_when_it_was_nearly_too_late(week):
    rows = rows_of(week, "discord.acknowledgement")
    late = [took_us for _, _, took_us, outcome, _, _ in rows if outcome == Outcome.ERROR]
    assert set(late) == {4_000_000}
    well = [(took_us, json.loads(note)) for _, _, took_us, outcome, _, note in rows if outcome == Outcome.OK]
    assert max(took_us for took_us, _ in well) < 3_000_000
    assert all(("near_miss" in note) == (took_us > 2_000_000) for took_us, note in well)
    assert sum("near_miss" in note for _, note in well) > 10


def test_no_whole_day_of_the_past_is_above_the_demos_budget_and_none_is_far_below_it(week):
    dollars = Counter()
    for _, end_us, _, _, _, note in (row for one in week.chunks(range(len(week.names))) for row in one):
        if note is not None:
            dollars[end_us // DAY_US] += json.loads(note).get("cost_usd", 0.0)
    whole = sorted(dollars.items())[1:-1]
    budget = float(DEFAULTS["alert_threshold_cost"])
    assert len(whole) == 6
    assert all(0.5 * budget < amount < budget for _, amount in whole)


def test_a_stall_of_the_past_has_a_stack_whose_line_is_its_name(week):
    names = {number: name for number, (_, name) in enumerate(week.names)}
    for series, _, _, _, _, note in rows_of(week, "discord.stalls"):
        assert names[series].replace(" ", ":") in json.loads(note)["stack"]


def test_the_past_gauges_are_named_as_the_watch_names_them():
    found = past_gauges(np.random.default_rng(1), UNTIL_US - HOUR_US, UNTIL_US)
    lag = Lag()
    lag.add(1_000)
    assert Budget().gauges(0.0).keys() <= found.keys()
    assert lag.take().keys() <= found.keys()
    assert found["loop.lag_p50_ms"] < found["loop.lag_p99_ms"] < found["loop.lag_max_ms"]


def test_the_connection_has_the_same_latency_at_the_same_time_and_was_slow_once():
    now = latency_ms(UNTIL_US, now_us=UNTIL_US)
    assert latency_ms(UNTIL_US, now_us=UNTIL_US) == now
    assert 40 < now < 200
    slow_us = int(UNTIL_US + (SLOW_HOURS[0] + 0.1) * HOUR_US)
    assert 300 < latency_ms(slow_us, now_us=UNTIL_US) < Settings().alert_threshold_gateway_latency
    assert 0 <= heartbeat_age_s(UNTIL_US) < HEARTBEAT_S


async def test_gauges_of_the_past_are_finer_within_the_last_day(store, week):
    await store_gauges(store, week, until_us=UNTIL_US, days=3, seed=1)
    name = "gateway.latency_ms.shard_0"
    found = [at_us for at_us, _ in (await store.samples([name], 0, UNTIL_US))[name]]
    steps = np.diff(found)
    assert steps[0] == 5 * steps[-1]
    assert found[0] == UNTIL_US - 3 * DAY_US
    assert len(found) == 2 * 144 + 720


async def test_the_rate_limits_of_the_past_are_the_rejected_requests_of_the_history(store, week):
    await store_gauges(store, week, until_us=UNTIL_US, days=3, seed=1)
    ends = [row[1] for row in rows_of(week, "discord.rest") if row[4] is not None]
    name = "rest.rate_limited.user"
    found = (await store.samples([name], 0, UNTIL_US))[name]
    for at_us, limited in found:
        assert limited == sum(at_us - 600_000_000 < end_us <= at_us for end_us in ends)
    recent = [limited for at_us, limited in found if at_us > UNTIL_US - DAY_US]
    assert max(recent) >= 3  # Discord limited the bot four hours ago
    assert max(recent) <= sum(end_us > UNTIL_US - DAY_US for end_us in ends)


async def test_slow_commands_of_the_past_are_consistent(store, week):
    await store.add_traces(week.traces)
    found = await store.traces("discord.commands", None, UNTIL_US - 7 * DAY_US, limit=10_000)
    assert len(found) == len(week.traces)
    for trace in found:
        assert trace.duration_us >= Settings().trace_threshold * 1_000
        assert (trace.error is None) == (trace.outcome is Outcome.OK)
        ends = [span.start_us + span.duration_us for span in trace.spans]
        assert max(ends) <= trace.duration_us
        assert ends == sorted(ends)
        assert {span.parent for span in trace.spans} <= {0, *(span.id for span in trace.spans)}


async def test_the_slow_commands_of_the_past_show_the_known_patterns(store, week):
    await store.add_traces(week.traces)
    found = await store.traces("discord.commands", None, UNTIL_US - 7 * DAY_US, limit=10_000)
    shown = {match.pattern.key for trace in found for match in matches(TracedRun(trace, trace.spans))}
    assert shown == set(PATTERNS) - {"cold_start"}


async def test_the_chores_run_without_anybody_moving_a_clock_and_end_with_their_cog(monkeypatch):
    blocked = []
    monkeypatch.setattr("cogmeter_bot.demo.runner.read_archive", lambda: blocked.append(True))
    chores = Chores()
    await chores.cog_load()
    while not blocked:
        await asyncio.sleep(0.05)
    loops = (chores.refresh_feeds, chores.trim_memory, chores.index_messages, chores.write_digest)
    assert all(loop.is_running() for loop in loops)
    await chores.cog_unload()
    while any(loop.is_running() for loop in loops):
        await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == 1
