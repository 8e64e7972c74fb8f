"""The demo's traffic: as busy as the history, with incidents that raise alerts and end."""

import asyncio
import contextvars
import itertools

import numpy as np
import pytest

from cogmeter.recording.service_names import BY_OPERATION
from cogmeter_bot.demo.errors import ASKED
from cogmeter_bot.demo.incidents import FIRST_AFTER_S, LIVE_LENGTH_S, PAUSE_S, live_incidents
from cogmeter_bot.demo.profiles import PROFILES, activity
from cogmeter_bot.demo.traffic import STEP_S, USERS, Traffic
from cogmeter_storage.errors import ErrorKind

NOW_US = 1_795_000_000_000_000


class Notebook:
    """Takes what the traffic records."""

    def __init__(self):
        self.lines = []

    def __call__(self, service, operation, *, duration_ms, error=None, outcome=None, metadata=None):
        self.lines.append((service, operation, duration_ms, error, outcome, metadata))


def run(traffic: Traffic, until_s: float, *, since_s: float = 0.0) -> None:
    for number in range(int(since_s / STEP_S), int(until_s / STEP_S)):
        traffic.step((number + 1) * STEP_S, STEP_S, NOW_US)


def test_quiet_traffic_is_as_busy_as_the_history_at_that_hour():
    notebook = Notebook()
    traffic = Traffic(1, record=notebook)
    traffic._incidents = iter(())
    traffic._incident = next(live_incidents(np.random.default_rng(0)))
    for _ in range(4000):
        traffic.step(0.0, STEP_S, NOW_US)
    expected = sum(one.per_minute for one in PROFILES) * float(activity(NOW_US)) / 60 * STEP_S * 4000
    assert len(notebook.lines) == pytest.approx(expected, rel=0.15)


def test_the_first_incident_fails_often_enough_for_an_alert():
    notebook = Notebook()
    traffic = Traffic(1, record=notebook)
    run(traffic, FIRST_AFTER_S + 30)
    ill = [error for service, _, _, error, _, _ in notebook.lines if service == "knowledge-graph"]
    assert len(ill) >= 15
    assert sum(error is not None for error in ill) / len(ill) > 0.2


def test_after_an_incident_the_service_is_healthy_again():
    notebook = Notebook()
    traffic = Traffic(1, record=notebook)
    run(traffic, FIRST_AFTER_S + LIVE_LENGTH_S)
    notebook.lines.clear()
    run(traffic, FIRST_AFTER_S + LIVE_LENGTH_S + PAUSE_S[0], since_s=FIRST_AFTER_S + LIVE_LENGTH_S)
    assert sum(error is not None for _, _, _, error, _, _ in notebook.lines) <= 3


def test_incidents_never_meet_and_their_alerts_are_more_than_15_seconds_apart():
    incidents = list(itertools.islice(live_incidents(np.random.default_rng(3)), 20))
    assert all(later.start - earlier.end >= PAUSE_S[0] for earlier, later in itertools.pairwise(incidents))
    assert incidents[0].start == FIRST_AFTER_S


def test_no_incident_makes_a_service_so_busy_that_the_throughput_alert_joins_in():
    busiest = max(sum(p.per_minute for p in PROFILES if p.service == one.service) for one in PROFILES)
    assert busiest * 1.6 * 1.2 + 60 * 0.9 < 100


def test_each_logged_error_is_that_of_a_recorded_run():
    notebook = Notebook()
    traffic = Traffic(1, record=notebook)
    run(traffic, 3_000)
    logged = [line[:2] for line in notebook.lines if line[5] == {"logged_errors": 1}]
    errors = [one for (_, kind), one in traffic._errors.items() if kind is ErrorKind.LOGGED]
    assert logged
    assert set(logged) == {ASKED}
    assert sum(sum(one.counts.values()) for one in errors) == len(logged)


def test_the_user_of_each_command_is_counted():
    notebook, users = Notebook(), []
    traffic = Traffic(1, record=notebook, count_user=lambda *use: users.append(use))
    run(traffic, 600)
    assert [use[:2] for use in users] == [line[:2] for line in notebook.lines if line[0] in BY_OPERATION]
    assert {user for *_, user in users} <= set(range(USERS))


@pytest.mark.slow
async def test_the_live_task_runs_in_an_empty_context_and_ends_when_stopped():
    outside = contextvars.ContextVar("outside", default="unset")
    outside.set("set")
    seen = []
    traffic = Traffic(1, record=lambda *_, **__: seen.append(outside.get()))
    traffic.start()
    while not seen:
        await asyncio.sleep(0.05)
    await traffic.stop()
    await traffic.stop()
    assert set(seen) == {"unset"}
    assert len(asyncio.all_tasks()) == 1
