"""Judgements on a running monitor: what makes each component degraded or unhealthy, and what a reason never says."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import time
import weakref
from contextlib import asynccontextmanager

import discord
import pytest
from discord.ext import commands

from cogmeter.alerts.model import calm
from cogmeter.diagnosis import Check, Status, worst
from cogmeter.diagnostics import bot_checks, monitor_checks
from cogmeter.diagnostics.attention import AlertIncident, AttentionFacts, rank
from cogmeter.diagnostics.doctor import examine
from cogmeter.diagnostics.health import Health
from cogmeter.monitor import jobs
from cogmeter.monitor.monitor import Monitor
from cogmeter.query.records import Range
from cogmeter.query.usage import registered_commands
from cogmeter.recording.operation import now_ns
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.service_names import STALLS
from cogmeter.recording.stall_places import NOTHING_RAN
from cogmeter.settings import Settings
from cogmeter.watch.event_loop.watchdog import BlockedLoop
from cogmeter.watch.gateway import sockets_of
from cogmeter.web.api.routes.live import Live
from cogmeter.web.metrics.scrape import Scraper
from cogmeter_storage.base import StorageError

PATIENCE_S = 20
SECOND_NS = 10**9


async def until(condition):
    deadline = time.perf_counter() + PATIENCE_S
    while not condition():
        assert time.perf_counter() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
def monitored(tmp_path, discord_server):
    """``async with monitored() as monitor``: of a bot that is connected to the loopback Discord, or not."""

    @asynccontextmanager
    async def opened(*, connected=True, kind=commands.Bot, **settings):
        bot = kind("!", intents=discord.Intents.default(), help_command=None)
        url = f"sqlite:///{tmp_path / 'secret-folder' / 'performance.db'}"
        settings = {"watch_stalls": False} | settings  # a busy machine is no operation of the tests
        monitor = Monitor(bot, Settings(_env_file=None, database_url=url, **settings), recorder=Recorder())
        await monitor.start()
        try:
            if connected:
                async with discord_server.running(bot):
                    await until(lambda: monitor.flusher.last_flush_us is not None)
                    yield monitor
            else:
                yield monitor
        finally:
            await monitor.stop()
            await bot.close()

    return opened


async def checks(monitor):
    """The judgements, made anew."""
    health = Health(monitor)
    return {one.name: one for one in [*await health.own(), *await health.vital()]}


async def record(monitor, service, times, **options):
    for _ in range(times):
        monitor.recorder.record(service, "ask", duration_ms=20, **options)
    before = monitor.flusher.written
    await until(lambda: monitor.flusher.written >= before + times)


def test_the_worst_status_counts_and_unknown_is_worse_than_degraded():
    healthy, degraded, unhealthy, unknown = Status
    assert worst([healthy, degraded]) is degraded
    assert worst([unknown, degraded, healthy]) is unknown
    assert worst(list(Status)) is unhealthy
    assert worst([]) is unknown
    assert [status.serves for status in Status] == [True, True, False, False]


def test_an_age_is_never_below_zero_although_the_clock_jumped_back():
    assert Check("flusher", Status.HEALTHY, "", -3.0).age_s == 0


async def test_a_bot_that_is_starting_is_unknown_and_not_unhealthy(monitored):
    async with monitored(connected=False) as monitor:
        found = await checks(monitor)
        assert found["gateway"].status is Status.UNKNOWN
        assert found["gateway"].reason == "the bot is not connected to Discord yet"
        await until(lambda: monitor.flusher.last_flush_us is not None)
        assert (await checks(monitor))["flusher"].status is Status.HEALTHY


@pytest.mark.parametrize("kind", [commands.Bot, commands.AutoShardedBot])
async def test_a_connected_bot_that_does_its_work_is_healthy_in_all_parts(monitored, kind):
    async with monitored(kind=kind) as monitor:
        await record(monitor, "chat", 3)
        await jobs.sample(monitor)
        found = await checks(monitor)
        found.pop("loop")  # a busy machine makes it late
        assert {one.status for one in found.values()} == {Status.HEALTHY}, found
        assert found["gateway"].reason == "1 of 1 shard connected"
        for name in ("gateway", "flusher", "database"):
            assert 0 <= found[name].age_s < 60


async def test_a_lost_connection_degrades_and_is_unhealthy_when_it_does_not_come_back(monitored, discord_server):
    async with monitored() as monitor:
        health = Health(monitor)
        ((_, ws),) = sockets_of(monitor.bot)
        ws._keep_alive._last_ack -= 90
        (lost, *_) = await health._vital()
        assert lost.status is Status.DEGRADED
        assert "shard 0 had its last heartbeat acknowledged 9" in lost.reason
        health._lost_ns -= int(bot_checks.LOST_S * SECOND_NS)
        (lost, *_) = await health._vital()
        assert lost.status is Status.UNHEALTHY
        ws._keep_alive._last_ack += 90
        (back, *_) = await health._vital()
        assert back.status is Status.HEALTHY
        assert health._lost_ns is None


async def test_a_connection_that_was_lost_long_before_anybody_asked_is_unhealthy(monitored):
    async with monitored() as monitor:
        ((_, ws),) = sockets_of(monitor.bot)
        ws._keep_alive._last_ack -= 600
        (lost, *_) = await Health(monitor)._vital()
        assert lost.status is Status.UNHEALTHY
        ws._keep_alive._last_ack += 600


async def test_a_bot_of_very_many_shards_that_has_lost_them_all_is_unhealthy(monitored):
    async with monitored(kind=commands.AutoShardedBot) as monitor:
        (info,) = monitor.bot.shards.values()
        monitor.bot._AutoShardedClient__shards |= dict.fromkeys(range(1, 200), info._parent)
        info._parent.ws._keep_alive._last_ack -= 600
        (lost, *_) = await Health(monitor)._vital()
        assert lost.status is Status.UNHEALTHY
        assert lost.reason.startswith("200 of 200 shards are unhealthy: shard 0 had its last heartbeat")
        assert len([one for one in monitor.watcher.findings() if "shard" in one.text]) < 100
        info._parent.ws._keep_alive._last_ack += 600
        for number in range(1, 200):
            del monitor.bot._AutoShardedClient__shards[number]


@pytest.mark.parametrize(
    ("lag_ms", "status"),
    [(None, Status.HEALTHY), (5, Status.HEALTHY), (250, Status.DEGRADED), (1_200, Status.UNHEALTHY)],
)
async def test_a_late_loop_is_judged_by_its_99th_percentile(monitored, lag_ms, status):
    async with monitored(connected=False) as monitor:
        monitor.gauges = {} if lag_ms is None else {"loop.lag_p99_ms": float(lag_ms)}
        assert (await checks(monitor))["loop"].status is status


async def test_doctor_state_and_verdict_agree_on_a_blocked_loop_before_during_and_after_its_alert(monitored):
    async with monitored(connected=False, watch_stalls=True, stall_threshold=60_000) as monitor:
        watch = next(surface for surface in monitor.watcher.surfaces if surface.name == "stalls")

        async def seen():
            monitor.gauges["loop.lag_p99_ms"] = 1.0
            (finding,) = [one for one in await examine(monitor) if one.name == "stalls"]
            state = await Health(monitor).state()
            items = {item.name: item.status for area in state.areas for item in area.items}
            failing = "event loop" in state.verdict.text.partition("(not: ")[2]
            return finding, items["event loop"], failing

        end_ns = now_ns()
        watch._recent.append(BlockedLoop(end_ns - 3 * SECOND_NS, end_ns, "host.py:7 search", (), None, ""))
        finding, *judged = await seen()
        assert (finding.well, finding.listed, judged) == (True, True, [Status.HEALTHY, False])
        assert finding.text == "1 in the last hour, the longest 3 s at host.py:7 search"
        monitor.recorder.record(STALLS, "host.py:7 search", duration_ms=3_000)
        await until(monitor.alerting.evaluator.window.longest_stall)
        await monitor.alerting.check()
        finding, *judged = await seen()
        assert (finding.well, judged) == (False, [Status.DEGRADED, True])
        assert finding.advice
        monitor.recorder.record(STALLS, "host.py:7 search", duration_ms=9_000)
        await until(lambda: monitor.alerting.evaluator.window.longest_stall()[0] > 5_000)
        await monitor.alerting.check()
        health = Health(monitor)
        finding, *judged = await seen()
        assert finding.text.endswith("; the event loop is unhealthy now")
        assert (judged, (await health.verdict()).status) == ([Status.UNHEALTHY, True], Status.UNHEALTHY)
        loop = {check.name: check for check in await health.vital()}["loop"]
        assert loop.reason.endswith("; an alert about blocks is active; /perf doctor names what blocks it")
        assert (loop.status, loop.serving) == (Status.UNHEALTHY, Status.DEGRADED)  # an alert alone restarts nothing


async def test_a_block_without_a_line_of_code_has_one_advice_and_nothing_says_that_it_is_named(monitored):
    async with monitored(connected=False, watch_stalls=True, stall_threshold=60_000) as monitor:
        watch = next(surface for surface in monitor.watcher.surfaces if surface.name == "stalls")
        end_ns = now_ns()
        watch._recent.append(BlockedLoop(end_ns - 3 * SECOND_NS, end_ns, NOTHING_RAN, (), None, ""))
        monitor.recorder.record(STALLS, NOTHING_RAN, duration_ms=3_000)
        await until(monitor.alerting.evaluator.window.longest_stall)
        await monitor.alerting.check()
        (finding,) = [one for one in await examine(monitor) if one.name == "stalls"]
        assert finding.advice.startswith("Give the bot more CPU time")
        (alert,) = monitor.alerting.engine.active
        for message in (alert.message, calm(alert.message)):
            incident = AlertIncident(dataclasses.replace(alert, message=message))
            (concern,) = rank(AttentionFacts(Range(0, 1, "last 24 hours"), [incident]))
            assert concern.next_step == finding.advice
        reason = {check.name: check for check in await Health(monitor).vital()}["loop"].reason
        assert reason.endswith("; an alert about blocks is active")


async def test_a_store_that_takes_nothing_degrades_and_then_is_unhealthy_and_its_path_is_not_shown(
    monitored, monkeypatch
):
    async with monitored(connected=False) as monitor:
        await until(lambda: monitor.flusher.last_flush_us is not None)

        async def refuse(*_, **__):
            raise StorageError("Database /secret-folder/performance.db is full", permanent=False)

        monkeypatch.setattr(monitor.store, "append", refuse)
        monitor.recorder.record("chat", "ask", duration_ms=1)
        await until(lambda: monitor.flusher.last_error)
        found = (await checks(monitor))["flusher"]
        assert found.status is Status.DEGRADED
        assert found.reason.startswith("1 operation waits, ")
        monitor.flusher.last_flush_us -= 60_000_000
        found = (await checks(monitor))["flusher"]
        assert found.status is Status.UNHEALTHY
        assert found.age_s > 60
        assert "secret-folder" not in str(await checks(monitor))
        monkeypatch.undo()


async def test_a_flusher_that_never_stored_is_unknown_only_at_first(monitored):
    async with monitored(connected=False) as monitor:
        monitor.flusher.last_flush_us = None
        assert bot_checks.flusher(monitor).status is Status.UNKNOWN
        monitor.began_ns -= 60 * SECOND_NS
        assert bot_checks.flusher(monitor).status is Status.UNHEALTHY


async def test_an_unreadable_database_is_unhealthy_and_a_slow_one_delays_no_answer(monitored):
    async with monitored(connected=False) as monitor:
        held = asyncio.create_task(monitor.store._reading.run(lambda _: time.sleep(bot_checks.ANSWER_S + 0.5)))
        await asyncio.sleep(0)
        found = await bot_checks.database(monitor)
        assert found.status is Status.DEGRADED
        assert found.reason == f"no answer within {bot_checks.ANSWER_S:g} s"
        await held
        assert (await bot_checks.database(monitor)).status is Status.HEALTHY
        await monitor.store.close()
        found = await bot_checks.database(monitor)
        assert found.status is Status.UNHEALTHY
        assert "secret-folder" not in found.reason


async def test_a_job_whose_last_run_failed_degrades_until_it_succeeds_again(monitored):
    async with monitored(connected=False) as monitor:
        failing = [True]

        async def work():
            if failing[0]:
                raise RuntimeError("a secret")

        monitor.schedule.every(0.05, "odd job", work)
        await until(lambda: "odd job" in monitor.schedule.failing)
        found = bot_checks.jobs(monitor)
        assert found.status is Status.DEGRADED
        assert found.reason == "the last run of odd job failed; see the log"
        failing[0] = False
        await until(lambda: not monitor.schedule.failing)
        assert bot_checks.jobs(monitor).status is Status.HEALTHY


@pytest.mark.parametrize(("name", "status"), [("alerts", Status.UNHEALTHY), ("clean-up", Status.DEGRADED)])
async def test_a_job_whose_last_runs_all_failed_fails_in_health_and_doctor(monitored, name, status):
    async with monitored(connected=False) as monitor:

        async def work():
            raise StorageError("no such thing in secret-folder", permanent=True)

        job = monitor.schedule._guarded(name, work)
        for _ in range(2):
            await job()
        assert (await checks(monitor))["jobs"].reason == f"the last run of {name} failed; see the log"
        for _ in range(10):
            await job()
        found = bot_checks.jobs(monitor)
        assert found.status is status
        assert found.reason == f"the last 12 runs of {name} failed; /perf doctor shows why"
        (monitor_checks,) = [one for one in await Health(monitor).own() if one.name == "jobs"]
        assert monitor_checks.status is Status.UNHEALTHY
        (finding,) = [one for one in await examine(monitor) if one.name == "jobs"]
        assert not finding.well
        assert f"{name} failed 12 times (the last 12 runs: no such thing in secret-folder)" in finding.text


@pytest.mark.parametrize(("name", "status"), [("samples", Status.UNHEALTHY), ("roll-up", Status.DEGRADED)])
async def test_a_job_that_does_not_come_back_is_late(monitored, name, status):
    async with monitored(connected=False) as monitor:
        monitor.schedule.ended_ns[name] = time.perf_counter_ns() - 600 * SECOND_NS
        found = bot_checks.jobs(monitor)
        assert found.status is status
        assert f"the {name} job is late by" in found.reason


async def test_a_full_buffer_degrades_and_lost_operations_are_remembered_for_a_while(monitored):
    async with monitored(connected=False) as monitor:
        health = Health(monitor)
        monitor.recorder.buffer.dropped = 7
        assert (await health._own())[1].status is Status.UNHEALTHY
        assert "7 dropped" in (await health._own())[1].reason
        health._dropped_ns -= 600 * SECOND_NS
        assert (await health._own())[1].status is Status.HEALTHY


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, "0 operations wait (0% of 32 MB)"),
        ({"max_buffer_mb": 4}, "0 operations wait (0% of 4 MB)"),
        ({"max_operations_in_memory": 50_000}, "0 of 50,000 operations wait"),
        ({"max_buffer_mb": 4, "max_operations_in_memory": 100}, "0 of 100 operations wait"),
    ],
)
async def test_the_buffer_is_bounded_by_memory_unless_a_number_of_operations_is_set(monitored, settings, level):
    async with monitored(connected=False, **settings) as monitor:
        await monitor.flusher.flush()
        assert monitor_checks.buffer(monitor, dropping=False).reason.startswith(level)


async def test_a_buffer_that_is_nearly_full_of_metadata_degrades(monitored):
    async with monitored(connected=False, max_buffer_mb=1) as monitor:
        await monitor.flusher.stop()
        while monitor.recorder.buffer.used < 0.9:
            monitor.recorder.record("s", "o", duration_ms=1, metadata={"prompt": "x" * 5_000})
        assert monitor_checks.buffer(monitor, dropping=False).status is Status.DEGRADED
        assert len(monitor.recorder.buffer) < 1_000


async def test_an_alert_target_that_is_gone_and_a_hook_that_failed_are_reported(monitored):
    async with monitored(connected=False, alert_channel_id=1) as monitor:
        await monitor.alerting.delivery.prepare()
        found = await checks(monitor)
        assert found["alerts"].status is Status.DEGRADED
        assert "channel" in found["alerts"].reason
        hook = next(hook for surface in monitor.watcher.surfaces for hook in surface.hooks)
        hook.faults = 1
        found = (await checks(monitor))["hooks"]
        assert found.status is Status.DEGRADED
        assert hook.name in found.reason
        hook.faults = 0


async def test_services_are_judged_by_their_alerts_then_by_their_error_rate(monitored):
    async with monitored(connected=False) as monitor:
        await record(monitor, "well", 30)
        await record(monitor, "bad", 10, error="gone")
        await record(monitor, "bad", 90)
        await record(monitor, "rare", 3, error="gone")
        await record(monitor, "mistaken", 30, outcome="user")
        found = await Health(monitor).services()
        assert {name: one.check.status for name, one in found.items()} == {
            "well": Status.HEALTHY,
            "bad": Status.UNHEALTHY,  # twice its limit
            "rare": Status.DEGRADED,  # too few for an alert, but all of them
            "mistaken": Status.HEALTHY,
        }
        bad = found["bad"]
        assert (bad.operations, bad.error_rate, bad.mean_us) == (100, 0.1, 20_000)
        assert bad.p95_us == pytest.approx(20_000, rel=0.01)
        assert bad.check.reason == "10 of 100 operations failed, more than 5%"
        assert 0 <= bad.check.age_s < 60
        assert abs(bad.last_seen_us - time.time() * 1e6) < 60e6
        await monitor.alerting.check()
        (alert,) = [one for one in monitor.alerting.engine.active if one.rule == "error_rate"]
        assert (await Health(monitor).services())["bad"].check.reason == alert.message


async def test_an_operation_is_judged_by_its_own_operations_and_alerts_alone(monitored):
    async with monitored(connected=False, alert_window=60, alert_min_operations=15) as monitor:
        await record(monitor, "graph", 30)
        for _ in range(30):
            monitor.recorder.record("graph", "query", duration_ms=20, error="gone")
        monitor.recorder.record("graph", "link", duration_ms=20)
        await until(lambda: monitor.flusher.written >= 61)
        await monitor.alerting.check()
        health = Health(monitor)
        assert (await health.services())["graph"].check.status is Status.UNHEALTHY
        names = [("graph", "ask"), ("graph", "query"), ("graph", "link"), ("graph", "mood")]
        found = [one.check for one in (await health.operations(set(names))).values()]
        assert {(one.name.removeprefix("graph").strip(" :/"), one.status, one.reason) for one in found} == {
            ("ask", Status.HEALTHY, "0 of 30 operations failed"),
            ("query", Status.UNHEALTHY, "30 of 30 operations failed, more than 5%"),
            ("link", Status.HEALTHY, "0 of 1 operation failed"),
            ("mood", Status.UNKNOWN, "no runs in the last minute"),
        }


async def test_a_quiet_service_is_unknown_with_when_it_was_last_seen(monitored):
    async with monitored(connected=False) as monitor:
        (series,) = await monitor.store.series_ids([("quiet", "ask")])
        seen_us = time.time_ns() // 1000 - 3_600_000_000
        await monitor.store.append([[(series, seen_us, 10, 0, None, None)]], now_us=seen_us)
        one = (await Health(monitor).services())["quiet"]
        assert (one.check.status, one.operations, one.error_rate) == (Status.UNKNOWN, 0, None)
        assert one.last_seen_us == seen_us
        assert one.check.age_s == pytest.approx(3600, abs=60)


async def test_the_last_operation_is_known_though_no_check_ran_while_it_was_in_the_window(monitored):
    async with monitored(connected=False) as monitor:
        window = monitor.alerting.evaluator.window
        await record(monitor, "service", 1)
        await until(lambda: "service" in window.places and window.by_service.operations[window.places["service"]])
        first = (await Health(monitor).services())["service"].last_seen_us
        clock_s = time.perf_counter()
        number = monitor.recorder.series("service", "ask")
        await window.add([number, 1, 5_000_000, 0, None], clock_s + 2 * window.length_s)
        window.move(clock_s + 4 * window.length_s)
        one = (await Health(monitor).services())["service"]
        assert one.check.status is Status.UNKNOWN
        assert one.last_seen_us - first == pytest.approx(2 * window.length_s * 1e6, abs=5e6)


async def test_a_monitor_that_was_judged_scraped_and_followed_is_forgotten_with_its_bot(monitored):
    async with monitored(connected=False) as monitor:
        health = Health(monitor)
        await health.vital()
        await Scraper(monitor, health).scrape()
        live = Live(monitor, health)
        live.leave(live.join())
        del live, health
        gone = weakref.ref(monitor)
    del monitor
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.01)
        if gone() is None:
            break
    assert gone() is None


async def test_who_asks_again_within_a_second_gets_the_same_answer(monitored):
    async with monitored(connected=False) as monitor:
        health = Health(monitor)
        first, second = await asyncio.gather(health.vital(), health.vital())
        assert first is second
        assert await health.services() is await health.services()


async def test_the_commands_are_noted_as_soon_as_the_bot_is_ready(monitored):
    async with monitored() as monitor:
        monitor.bot.add_command(commands.Command(_nothing, name="ask"))
        before_us = time.time_ns() // 1000
        await monitor.ready()
        noted = await registered_commands(monitor.store)
        assert before_us <= noted["ask"] <= time.time_ns() // 1000


async def _nothing(_ctx):
    """A command."""
