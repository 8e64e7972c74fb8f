"""The rule hung: an operation that does not end, against the threshold and its own usual duration."""

import logging

import pytest

from cogmeter.alerts.model import LoopState
from cogmeter.alerts.rules.running import HUNG
from cogmeter.recording.waiting import Running
from cogmeter_storage import open_store
from cogmeter_storage.base import StorageError

ASK = ("discord.commands", "ask")


class Hanging:
    """A Measured, and what runs now."""

    def __init__(self, one):
        self.one, self.running, self.requested_s = one, [], []
        one.evaluator._running_from = self.of

    async def of(self, least_s):
        self.requested_s.append(least_s)
        return sorted((one for one in self.running if one.age_s >= least_s), key=lambda one: -one.age_s)

    def run(self, age_s, service="discord.commands", operation="ask", **facts):
        self.running = [*self.running, Running(service, operation, age_s, **{"line": "bot.py:42 in ask", **facts})]
        return self

    async def readings(self):
        return await self.one.readings("hung")

    async def names(self):
        return [(one.subject.service, one.subject.operation) for one in await self.readings()]


@pytest.fixture
def hanging(measured):
    return lambda *overrides, **settings: Hanging(measured(*overrides, **settings))


async def test_an_operation_older_than_the_threshold_is_reported_with_its_line(hanging):
    (reading,) = await hanging().run(75).readings()
    assert (reading.subject.rule, reading.subject.service, reading.subject.operation) == ("hung", *ASK)
    assert (reading.current, reading.threshold, reading.severity, reading.breached) == (75, 60, "warning", True)
    assert reading.message == "Running for 75s at bot.py:42 in ask exceeds threshold of 60s"


async def test_a_younger_operation_is_not_reported(hanging):
    assert await hanging().run(59).readings() == []


async def test_an_operation_that_hangs_for_ten_times_the_threshold_is_critical(hanging):
    (reading,) = await hanging().run(600).readings()
    assert (reading.severity, reading.message) == (
        "critical",
        "Running for 10 min at bot.py:42 in ask exceeds threshold of 60s",
    )


async def test_the_alert_recovers_when_the_operation_has_ended(hanging):
    one = hanging().run(75)
    assert len(await one.readings()) == 1
    one.running = []
    assert await one.readings() == []


async def test_an_operation_that_usually_runs_long_hangs_from_ten_times_its_own_p99_on(hanging):
    one = hanging()
    await one.one.see(*ASK, count=30, duration_ms=20_000)
    assert await one.run(190).readings() == []
    one.running = []
    (reading,) = await one.run(203).readings()
    assert reading.threshold == pytest.approx(200, rel=0.01)


async def test_too_few_operations_are_no_history(hanging):
    one = hanging()
    await one.one.see(*ASK, count=19, duration_ms=20_000)
    assert len(await one.run(75).readings()) == 1


async def test_a_listener_that_usually_runs_for_minutes_is_known_from_the_store(hanging, tmp_path):
    one = hanging()
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    try:
        (series,) = await store.series_ids([("discord.listeners", "on_message Music.play")])
        begun_us = one.one.now_us - 86_400_000_000
        rows = [(series, begun_us + number * 1_000_000, 300_000_000, 0, None, None) for number in range(40)]
        await store.append([rows], now_us=one.one.now_us)
        await one.one.evaluator.restore(store, one.one.now_us)
        one.run(900, "discord.listeners", "on_message Music.play").run(900, *ASK)
        assert await one.names() == [ASK]
    finally:
        await store.close()


async def test_without_its_database_the_rule_uses_the_window(hanging, tmp_path, monkeypatch):
    async def fail(*_, **__):
        raise StorageError("the disk is gone", permanent=False)

    one = hanging()
    store = await open_store(f"sqlite:///{tmp_path / 'performance.db'}")
    await one.one.evaluator.restore(store, one.one.now_us)
    monkeypatch.setattr(store, "series", fail)
    try:
        assert await one.run(75).names() == [ASK]
        assert not one.one.evaluator.faults
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("discord.tasks", "Feed.poll"),
        ("discord.listeners", "on_ready"),
        ("discord.listeners", "on_ready Presence.rotate"),
    ],
)
async def test_what_may_run_as_long_as_the_bot_needs_a_history(hanging, service, operation):
    one = hanging().run(7_200, service, operation)
    assert await one.names() == []
    await one.one.see(service, operation, count=30, duration_ms=100)
    assert await one.names() == [(service, operation)]


async def test_a_listener_of_messages_needs_no_history(hanging):
    assert await hanging().run(75, "discord.listeners", "on_message").names() == [("discord.listeners", "on_message")]


async def test_an_operation_inside_one_that_hangs_is_the_same_incident(hanging):
    one = hanging().run(80).run(79, "llm", "chat", outer=ASK).run(78, "db", "query", outer=("discord.commands", "list"))
    assert await one.names() == [ASK, ("db", "query")]


async def test_an_operation_that_waits_for_a_user_does_not_hang(hanging):
    assert await hanging().run(170, for_user=True).readings() == []


async def test_a_loop_that_the_rule_dead_loops_reports_is_not_reported_twice(hanging):
    one = hanging().run(7_200, "discord.tasks", "Feed.poll")
    await one.one.see("discord.tasks", "Feed.poll", count=30, duration_ms=100)
    one.one.evaluator.sampled(one.one.now_us, {}, [LoopState("Feed.poll", dead=False, overdue_s=600, text="")])
    assert await one.names() == []
    assert ("dead_loops", "discord.tasks", "Feed.poll") in await one.one.breached()


async def test_a_service_and_an_operation_can_have_other_thresholds(hanging):
    one = hanging({"hung@llm": "10", "hung@discord.commands/ask": "0"})
    one.run(12, "llm", "chat").run(900, *ASK).run(50, "discord.commands", "list")
    assert await one.names() == [("llm", "chat")]
    assert one.requested_s == [10]


async def test_a_rule_that_is_off_looks_at_nothing(hanging):
    one = hanging(alert_threshold_hung=0).run(7_200)
    assert (await one.readings(), one.requested_s) == ([], [])


async def test_a_fault_while_looking_costs_no_other_rule(hanging, caplog):
    async def fail(_):
        raise RuntimeError("no frames")

    one = hanging()
    one.one.evaluator._running_from = fail
    one.one.evaluator.sampled(one.one.now_us, {}, [LoopState("Feed.poll", dead=True, overdue_s=0, text="")])
    with caplog.at_level(logging.CRITICAL):
        assert [rule for rule, *_ in await one.one.breached()] == ["dead_loops"]
    assert one.one.evaluator.faults[HUNG.name] == 1
