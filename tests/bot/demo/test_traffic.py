"""The demo's traffic: as busy as the history, with incidents that raise alerts and end."""

import asyncio
import contextvars
import itertools

import numpy as np
import pytest

from cogmeter.recording.service_names import ACKNOWLEDGEMENT, BY_OPERATION, COMMANDS, REST, TASKS
from cogmeter_bot.demo.errors import ASKED
from cogmeter_bot.demo.incidents import FIRST_AFTER_S, LIVE_LENGTH_S, PAUSE_S, live_incidents
from cogmeter_bot.demo.profiles import CALLBACKS, LIVE_USERS, PROFILES, USERS, activity
from cogmeter_bot.demo.traces import TRACE_TEMPLATES
from cogmeter_bot.demo.traffic import STEP_S, Traffic
from cogmeter_storage.errors import ErrorKind
from cogmeter_storage.model import FAILURES

SOURCES = {template.source for template in TRACE_TEMPLATES if template.source}
NOW_US = 1_795_000_000_000_000


class Notebook:
    """Takes what the traffic records."""

    def __init__(self):
        self.lines = []

    def __call__(self, service, operation, *, duration_ms, error=None, outcome=None, metadata=None):
        self.lines.append((service, operation, duration_ms, error, outcome, metadata))


def run(traffic: Traffic, until_s: float, *, since_s: float = 0.0) -> None:
    for number in range(int(since_s / STEP_S), int(until_s / STEP_S)):
        traffic.step((number + 1) * STEP_S, STEP_S, NOW_US + int((number + 1) * STEP_S * 1e6))


def test_quiet_traffic_is_as_busy_as_the_history_at_that_hour():
    notebook = Notebook()
    traffic = Traffic(1, record=notebook)
    traffic._incidents = iter(())
    traffic._incident = next(live_incidents(np.random.default_rng(0)))
    for _ in range(4000):
        traffic.step(0.0, STEP_S, NOW_US)
    recorded = [one for one in PROFILES if not one.steady]  # a steady one is a loop that runs by itself
    expected = sum(one.per_minute for one in recorded) * float(activity(NOW_US)) / 60 * STEP_S * 4000
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
    assert {user for *_, user in users} <= set(range(USERS, USERS + LIVE_USERS))


def test_slow_operations_of_live_traffic_have_traces_and_happen_inside_commands():
    notebook, traces = Notebook(), []
    traffic = Traffic(1, record=notebook, add_trace=traces.append)
    run(traffic, 1_800)
    slow = {}
    for service, operation, duration_ms, error, *_ in notebook.lines:
        if duration_ms >= 3_000 and (service, operation) in SOURCES:
            slow.setdefault((service, operation), []).append((int(duration_ms * 1000), error))
    spans = {(span.service, span.operation, span.duration_us) for trace in traces for span in trace.spans}
    missing = [(*names, us) for names, runs in slow.items() for us, _ in runs if (*names, us) not in spans]
    assert sum(map(len, slow.values())) > 20
    assert len(missing) <= 0.1 * sum(map(len, slow.values()))
    commands = [(int(line[2] * 1000), line[1]) for line in notebook.lines if line[0] == COMMANDS]
    for trace in traces:
        assert any(name == trace.operation and abs(us - trace.duration_us) <= 1 for us, name in commands)
        assert all(span.start_us >= 0 and span.start_us + span.duration_us <= trace.duration_us for span in trace.spans)
    expected = sum(one.per_minute for one in PROFILES if one.service == COMMANDS) * 30 * float(activity(NOW_US))
    assert 0.7 * expected < len(commands) < 2.5 * expected  # while a service is slow, more people wait for it


def test_every_slow_or_failed_command_of_live_traffic_has_a_trace():
    notebook, traces = Notebook(), []
    traffic = Traffic(1, record=notebook, add_trace=traces.append)
    run(traffic, 1_800)
    traced = {(trace.operation, trace.duration_us) for trace in traces}
    known = {template.command for template in TRACE_TEMPLATES}
    for service, operation, duration_ms, _, outcome, _ in notebook.lines:
        if service == COMMANDS and operation in known and (duration_ms >= 1_000 or outcome in FAILURES):
            assert {(operation, int(duration_ms * 1000) + more) for more in (-1, 0, 1)} & traced


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


def test_each_command_of_live_traffic_has_a_first_response_and_each_that_was_sent_a_request():
    notebook = Notebook()
    run(Traffic(1, record=notebook), 3_000)
    commands = [line for line in notebook.lines if line[0] == COMMANDS]
    responses = [line for line in notebook.lines if line[0] == ACKNOWLEDGEMENT]
    requests = [line for line in notebook.lines if line[:2] == (REST, CALLBACKS.operation)]
    assert len(commands) == len(responses) > 100
    assert len(requests) == sum(line[3] is None for line in responses)
    assert not any(line[0] == TASKS for line in notebook.lines)  # the demo's loops run by themselves
