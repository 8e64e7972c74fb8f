"""The demo's history: the same for a seed, in order, and as busy as the profiles."""

import contextlib

import numpy as np
import pytest

from cogmeter.recording.service_names import COMMANDS
from cogmeter_bot.demo.history import GUILDS, USERS, make_history, store_history
from cogmeter_bot.demo.incidents import PAST
from cogmeter_bot.demo.past import past_alerts
from cogmeter_bot.demo.profiles import PROFILES
from cogmeter_bot.importing import ROWS_PER_CHUNK
from cogmeter_storage import open_store
from cogmeter_storage.model import DAY_US, HOUR_US, Outcome

UNTIL_US = 1_795_000_000_000_000


@pytest.fixture(scope="module")
def week():
    return make_history(UNTIL_US, 7, seed=1)


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


def test_the_past_alerts_are_those_that_the_operations_would_have_raised(week):
    alerts = past_alerts(week, UNTIL_US)
    assert [(one.rule, one.service) for one in alerts] == [
        ("response_time", "multimodal-processing"),
        ("error_rate", "knowledge-graph"),
        ("response_time", "core-intelligence"),
        ("error_rate", "web-crawling"),
    ]
    assert all(one.current > one.threshold and one.fired_us < one.resolved_us < UNTIL_US for one in alerts)


def test_a_short_history_has_only_the_alerts_of_its_time():
    assert [one.service for one in past_alerts(make_history(UNTIL_US, 1, seed=1), UNTIL_US)] == [
        "core-intelligence",
        "web-crawling",
    ]
    assert past_alerts(make_history(UNTIL_US, 0.01, seed=1), UNTIL_US) == []


async def test_the_stored_history_knows_who_used_the_commands(week, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        store = await open_store(f"sqlite:///{tmp_path / 'demo.db'}")
        stack.push_async_callback(store.close)
        await store_history(store, week, until_us=UNTIL_US)
        groups = {one.id: 0 for one in await store.series() if one.service == COMMANDS}
        (people,) = await store.usage.distinct(UNTIL_US - 7 * DAY_US, UNTIL_US, groups=groups)
        runs = await store.totals(UNTIL_US - 7 * DAY_US, UNTIL_US, groups=groups)
        contexts = await store.usage.counts(0, UNTIL_US, ["context"])
    assert (people.users, people.guilds) == (USERS, GUILDS)
    assert sum(contexts.values()) == int(runs.counts.sum())
