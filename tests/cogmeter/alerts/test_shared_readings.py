"""What only a process itself can measure reaches the leader: of all processes the worst, with the process's name."""

from __future__ import annotations

import pytest

from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.model import CRITICAL, WARNING, LoopState, Reading, Subject
from cogmeter.alerts.shared_readings import KEY, SharedReadings
from cogmeter.alerts.thresholds.limits import Limits
from cogmeter.query.query import now_us
from cogmeter.settings import Settings
from cogmeter_storage import open_store
from cogmeter_storage.process import Process

LATENCY = "gateway.latency_ms.0"
OFF = {"alert_threshold_process_silent": 0, "alert_threshold_version_skew": 0}


@pytest.fixture
async def stores(postgres_url):
    """The stores of three processes."""
    opened = [await open_store(postgres_url, process=Process(name, "1.0", name)) for name in ("one", "two", "three")]
    yield opened
    for store in opened:
        await store.close()


@pytest.fixture
async def evaluators(stores):
    """Their evaluators; the first one leads."""
    made = [Evaluator([], Limits(Settings(_env_file=None, **OFF)), window_s=300) for _ in stores]
    for evaluator, store in zip(made, stores, strict=True):
        await evaluator.restore(store, now_us())
    return made


async def readings_of(evaluators):
    """Let the followers share, and the leader evaluate; return its readings by rule."""
    leader, *followers = evaluators
    for follower in followers:
        await follower.share(now_us())
    readings = await leader.evaluate(now_us())
    assert len(readings) == len({one.subject for one in readings})
    return {one.subject.rule: one for one in readings}


async def test_a_dead_loop_of_another_process_is_measured(evaluators):
    evaluators[1].sampled(now_us(), {}, [LoopState("Music.clean", dead=True, overdue_s=0.0, text="KeyError: 'x'")])
    found = await readings_of(evaluators)
    assert set(found) == {"dead_loops"}
    assert found["dead_loops"].breached
    assert found["dead_loops"].message.endswith(", in process two")
    evaluators[1].sampled(now_us(), {})
    assert not await readings_of(evaluators)


async def test_of_several_processes_the_worst_is_measured_and_named(evaluators):
    for evaluator, latency_ms in zip(evaluators, (5_000, 9_000, 7_000), strict=True):
        evaluator.sampled(now_us(), {LATENCY: latency_ms})
    (reading,) = (await readings_of(evaluators)).values()
    assert reading.current == 9_000
    assert reading.message.endswith(", in process two and 2 more")


async def test_the_leader_names_itself_only_among_others(evaluators, stores):
    evaluators[0].sampled(now_us(), {LATENCY: 9_000})
    (reading,) = (await readings_of(evaluators)).values()
    assert reading.message.endswith(", in process one")
    for store in stores[1:]:
        await store.close()
    (reading,) = await evaluators[0].evaluate(now_us())
    assert "process" not in reading.message


async def test_a_process_that_has_ended_is_not_measured(evaluators, stores):
    evaluators[1].sampled(now_us(), {LATENCY: 9_000})
    assert await readings_of(evaluators)
    await stores[1].close()
    assert not await evaluators[0].evaluate(now_us())


async def test_a_new_start_withdraws_what_the_last_one_has_stored(stores, postgres_url):
    subject = Subject("hung", "chat", "ask")
    reading = Reading(subject, 900.0, 300.0, "Running for 15 min exceeds threshold of 5 min", WARNING)
    await SharedReadings().share(stores[1], [reading])
    leader = SharedReadings()
    assert await leader.add_others(stores[0], [], await stores[0].processes())
    await SharedReadings().share(stores[1], [])
    assert not await leader.add_others(stores[0], [], await stores[0].processes())


async def test_readings_are_stored_only_when_they_have_changed_and_come_back_as_they_were(stores):
    reading = Reading(Subject("hung", "chat", "ask"), 900.0, 300.0, "Running for 15 min", CRITICAL, True, 3, 1)
    other = Reading(Subject("error_rate", "chat"), 0.5, 0.05, "Error rate of 50%", CRITICAL)
    shared = SharedReadings()
    await shared.share(stores[1], [reading, other])
    await stores[1].own.set_value(KEY, b"[]")  # to see whether it is written again
    await shared.share(stores[1], [reading])
    assert await stores[0].values_by_process(KEY) == {"two": b"[]"}
    await SharedReadings().share(stores[1], [reading, other])
    (found,) = await SharedReadings().add_others(stores[0], [], await stores[0].processes())
    assert found.message == "Running for 15 min, in process two"
    assert (found.subject, found.current, found.operations) == (reading.subject, 900.0, 3)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[[1]]",
        b'[[["later_rule", "a", ""], 1, 1, "x", "critical", true, 0, 0]]',
        b'[[["hung", "a", ""], "1", 1, "x", "critical", true, 0, 0]]',
        b'[[["hung", "a", ""], 1, 1, "x", "worst", true, 0, 0]]',
        b'[[["hung", "a", ""], 1, 1, "x", "critical", true, 0, 0, "more"]]',
    ],
)
async def test_what_another_version_has_stored_is_left_out(stores, value):
    await stores[1].own.set_value(KEY, value)
    assert not await SharedReadings().add_others(stores[0], [], await stores[0].processes())


async def test_without_the_database_the_readings_of_before_are_used(evaluators, stores, monkeypatch):
    evaluators[1].sampled(now_us(), {LATENCY: 9_000})
    before = await readings_of(evaluators)
    await stores[0].close()
    after = await evaluators[0].evaluate(now_us())
    assert [one.message for one in after] == [one.message for one in before.values()]
