"""The rules about Discord, the process and costs: each is quiet while nothing is wrong, and names what is."""

import pytest
from factories import QUIET_GAUGES

from cogmeter.alerts.evaluator import Evaluator
from cogmeter.alerts.model import BOT, GrownObjects, LoopState
from cogmeter.alerts.rules.process import steady_growth
from cogmeter.recording.recorder import Recorder


class Sampled:
    """Samples every 15 s, as the watch takes them."""

    def __init__(self, one):
        self.one = one

    def take(self, seconds=15, **changed):
        gauges = QUIET_GAUGES | {name.replace("__", "."): value for name, value in changed.items()}
        for _ in range(int(seconds // 15)):
            self.one.after(15).evaluator.sampled(self.one.now_us, gauges)
        return self

    async def readings(self):
        return await self.one.readings()


@pytest.fixture
def sampled(measured):
    return lambda *arguments, **settings: Sampled(measured(*arguments, **settings))


async def test_a_healthy_bot_raises_no_alert(sampled):
    assert await sampled().take(3_600).readings() == []


async def test_a_slow_gateway_is_reported_with_its_worst_shard(sampled):
    one = sampled().take(gateway__latency_ms__shard_0=200.0, **{"gateway.latency_ms.shard_7": 2_100.0})
    (reading,) = await one.readings()
    assert (reading.subject.rule, reading.subject.service, reading.severity) == ("gateway_latency", BOT, "critical")
    assert reading.message == "Gateway latency of 2.1s on shard 7 exceeds threshold of 1s"


async def test_a_heartbeat_that_nobody_acknowledges_is_latency_too(sampled):
    (reading,) = await sampled().take(**{"gateway.heartbeat_age_s.shard_0": 71.25}).readings()
    assert (reading.subject.rule, reading.current) == ("gateway_latency", 30_000)


async def test_lost_connections_are_counted_within_ten_minutes(sampled):
    one = sampled().take()
    for lost in range(1, 7):
        one.take(60, **{"gateway.disconnects": float(lost)})
    (reading,) = await one.readings()
    assert (reading.subject.rule, reading.current, reading.breached) == ("disconnects", 6.0, True)
    assert reading.message == "6 lost connections in 10 min exceeds threshold of 5"
    one.take(600, **{"gateway.disconnects": 6.0})
    assert await one.readings() == []


async def test_a_counter_that_restarted_is_not_a_negative_count(sampled):
    one = sampled().take(60, **{"gateway.disconnects": 100.0}).take(60, **{"gateway.disconnects": 6.0})
    (reading,) = await one.readings()
    assert reading.current == 6.0


async def test_a_connection_that_stays_away_is_critical(sampled):
    one = sampled().take(60)
    assert await one.take(60, **{"gateway.shards_connected": 0.0}).readings() == []
    (reading,) = await one.take(60, **{"gateway.shards_connected": 0.0}).readings()
    assert (reading.subject.rule, reading.severity, reading.message) == (
        "disconnects",
        "critical",
        "No connection to Discord for 2 min",
    )


async def test_some_shards_that_stay_away_are_a_warning(sampled):
    one = sampled().take(60, **{"gateway.shards_connected": 4.0}).take(150, **{"gateway.shards_connected": 3.0})
    (reading,) = await one.readings()
    assert (reading.severity, reading.message) == ("warning", "3 of 4 shards connected for 2 min")


async def test_a_bot_that_has_not_been_connected_yet_has_lost_nothing(sampled):
    assert await sampled().take(600, **{"gateway.shards_connected": 0.0}).readings() == []


@pytest.mark.parametrize(
    ("gauges", "severity"),
    [
        ({"rest.rate_limited.user": 60.0}, "warning"),
        ({"rest.rate_limited.user": 90.0}, "critical"),
        ({"rest.rate_limited.user": 51.0, "rest.rate_limited.global": 1.0}, "critical"),
    ],
)
async def test_rate_limits_are_reported_with_their_scope(sampled, gauges, severity):
    (reading,) = await sampled().take(**gauges).readings()
    assert (reading.subject.rule, reading.severity) == ("rate_limits", severity)
    assert "most of them of scope user" in reading.message


@pytest.mark.parametrize(("share", "severity"), [(0.35, "warning"), (0.6, "critical")])
async def test_invalid_requests_are_reported_before_discord_bans(sampled, share, severity):
    (reading,) = await sampled().take(**{"rest.invalid_share": share}).readings()
    assert (reading.subject.rule, reading.severity) == ("invalid_requests", severity)


async def test_each_dead_loop_is_reported_until_it_runs_again(measured):
    one = measured()
    dead = LoopState("Feed.poll", dead=True, overdue_s=0, text="KeyError: 'id'")
    late = LoopState("Feed.post", dead=False, overdue_s=600, text="")
    one.evaluator.sampled(one.now_us, {}, [dead, late])
    readings = await one.readings()
    assert [(reading.subject.operation, reading.severity, reading.message) for reading in readings] == [
        ("Feed.poll", "critical", "Loop Feed.poll has died: KeyError: 'id'"),
        ("Feed.post", "warning", "Loop Feed.post is overdue by 10 min"),
    ]
    one.evaluator.sampled(one.now_us, {}, [late])
    assert await one.breached() == [("dead_loops", "discord.tasks", "Feed.post")]
    one.limits.override({"dead_loops": "2"})
    assert await one.breached() == []


async def test_a_stall_is_reported_with_its_place(measured):
    one = measured()
    await one.see("discord.stalls", "cogs/feed.py:41 parse", count=1, duration_ms=2_500)
    (reading,) = await one.readings()
    assert (reading.subject.rule, reading.subject.service, reading.severity) == ("stall", BOT, "warning")
    assert reading.message == "Event-loop block of 2.5s at cogs/feed.py:41 parse exceeds threshold of 2s"
    assert await one.after(301).readings() == []


@pytest.mark.parametrize(
    ("late", "missed", "breached"), [(0, 0, False), (3, 3, True), (2, 1, False), (0, 6, True), (5, 0, False)]
)
async def test_late_and_missing_first_responses_count_together(measured, late, missed, breached):
    one = measured(alert_threshold_error_rate=0)
    await one.see("discord.acknowledgement", count=100 - late - missed, duration_ms=300)
    await one.see("discord.acknowledgement", count=late, duration_ms=2_400)
    await one.see("discord.acknowledgement", count=missed, failures=missed, duration_ms=4_000)
    assert bool(await one.breached("acknowledgement")) is breached


async def test_memory_that_rises_steadily_is_reported_and_one_that_jumped_is_not(sampled):
    leak, step = sampled(), sampled()
    for number in range(6 * 12):
        leak.take(300, **{"resources.memory_bytes": 2e8 * (1 + number / 60)})
        step.take(300, **{"resources.memory_bytes": 2e8 if number < 36 else 5e8})
    (reading,) = await leak.readings()
    assert (reading.subject.rule, reading.subject.service, reading.severity) == ("memory_growth", BOT, "info")
    assert reading.message.endswith("to 433 MB, exceeds threshold of 50%")
    assert await step.readings() == []


LIMIT = 512e6
LEAK = (100e6, 110e6, 120e6, 130e6, 140e6)  # four samples in a minute


def memory_every_15_s(one, values, *, limit=LIMIT, before_s=600):
    one.take(before_s)
    for value in values:
        one.take(15, **{"resources.memory_bytes": value, "resources.memory_limit_bytes": limit})
    return one


async def test_memory_that_reaches_its_limit_soon_is_reported_within_a_minute(sampled):
    (reading,) = await memory_every_15_s(sampled(), LEAK).readings()
    assert (reading.subject.rule, reading.subject.service, reading.severity) == ("memory_limit", BOT, "warning")
    assert reading.message == (
        "Memory grew by 40 MB in 60 s, to 140 MB; in 10 min it is 105.5% of its limit of 512 MB,"
        " which exceeds threshold of 100%"
    )


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        (LEAK, {"limit": 2e9}),  # hours away
        (LEAK, {"before_s": 300}),  # while the bot starts
        (LEAK[:3], {}),  # too few samples
        ((100e6, 140e6, 140e6, 140e6, 140e6), {}),  # it jumped once
        ((100e6, 180e6, 110e6, 150e6, 140e6), {}),  # it goes up and down
        ((140e6, 141e6, 142e6, 143e6, 144e6), {"limit": 150e6}),  # less than a twentieth of the limit
        (LEAK, {"limit": 0.0}),
    ],
)
async def test_memory_that_does_not_reach_its_limit_soon_is_not_reported(sampled, values, changes):
    assert await memory_every_15_s(sampled(), values, **changes).readings() == []


async def test_memory_that_stops_growing_is_over(sampled):
    one = memory_every_15_s(sampled(), LEAK)
    one.take(15, **{"resources.memory_bytes": 140e6, "resources.memory_limit_bytes": LIMIT})
    one.take(15, **{"resources.memory_bytes": 140e6, "resources.memory_limit_bytes": LIMIT})
    assert await one.readings() == []


@pytest.mark.parametrize(
    ("grown", "end"),
    [
        (None, "threshold of 50%"),
        (GrownObjects(3_600, ()), "threshold of 50%"),
        (
            GrownObjects(3_650, ("Music.queue (list, from 12,000 to 1,300,000 items)", "asyncio tasks +3,400 (ask)")),
            "; grew in the last hour: Music.queue (list, from 12,000 to 1,300,000 items), asyncio tasks +3,400 (ask)",
        ),
        (GrownObjects(1_200, ("a", "b", "c", "d", "e")), "; grew in the last 20 min: a, b, c and 2 more"),
    ],
)
async def test_what_grew_in_memory_is_named_with_its_growth(sampled, grown, end):
    leak = sampled()
    for number in range(6 * 12):
        leak.take(300, **{"resources.memory_bytes": 2e8 * (1 + number / 60)})
    leak.one.evaluator.sampled(leak.one.now_us, QUIET_GAUGES | {"resources.memory_bytes": 4.4e8}, grown=grown)
    (reading,) = await leak.readings()
    assert reading.message.endswith(end)


async def test_what_a_process_takes_in_its_first_half_hour_is_no_growth(sampled):
    one = sampled()
    for number in range(6):
        one.take(300, **{"resources.memory_bytes": 1e8 * (1 + number)})
    assert await one.take(3_600, **{"resources.memory_bytes": 6e8}).readings() == []


@pytest.mark.parametrize(
    ("medians", "growth"),
    [
        ([1.0] * 72, 0.0),
        ([2.0 - n / 72 for n in range(72)], 0.0),
        ([1.0, 2.0], 0.0),
        ([1.0 + (n % 2) for n in range(72)], 0.0),
    ],
)
def test_what_does_not_rise_steadily_is_no_growth(medians, growth):
    assert steady_growth(medians) == growth


def cost(dollars):
    return {"cost_usd": dollars}


async def test_costs_are_compared_with_the_budget_of_the_bot_and_of_services(measured):
    one = measured({"cost@image": "1"}, alert_threshold_cost=5, alert_threshold_cost_growth=0)
    await one.see("chat", count=4, metadata=cost(1.0))
    await one.see("image", count=3, metadata=cost(0.5))
    readings = await one.readings()
    assert [(reading.subject.service, reading.breached) for reading in readings] == [(BOT, True), ("image", False)]
    assert readings[0].message == "Costs of $5.50 in 24 h, $4.00 of them by chat exceeds threshold of $5.00"
    one.limits.override({"cost@image": "1", "cost": "100"})
    one.after(601)  # an echo stays one for two windows
    assert await one.breached() == [("cost", "image", "")]
    one.after(86_400)
    assert await one.readings() == []


async def test_costs_are_what_operations_are_annotated_with(measured):
    one, recorder = measured(alert_threshold_cost=1), Recorder()
    one.evaluator = Evaluator(recorder.names, one.limits, window_s=300)
    async with recorder.operation("openai", "chat") as op:
        op.annotate(cost_usd=1.25)
    await one.evaluator.watch(recorder.buffer.take())
    (reading,) = await one.readings("cost")
    assert reading.current == 1.25


@pytest.mark.parametrize("bad", [-1.0, float("nan"), "1", True, None, 1e9])
async def test_what_is_no_amount_costs_nothing(measured, bad):
    one = await measured(alert_threshold_cost=0.1).see("chat", count=10, metadata=cost(bad))
    assert await one.readings() == []


async def test_an_hour_that_costs_many_times_the_one_before_is_reported(measured):
    one = measured(alert_threshold_operations_per_minute=0)
    await one.see("chat", count=1, metadata=cost(0.2))
    one.after(3_600)
    await one.see("chat", count=2, metadata=cost(0.2))
    one.after(3_600)
    await one.see("chat", count=1, metadata=cost(2.4))
    readings = await one.readings("cost_growth")
    assert [(reading.subject.service, reading.breached) for reading in readings] == [(BOT, True), ("chat", False)]
    assert readings[0].current == pytest.approx(6.0)


async def test_the_first_cents_and_the_first_hours_are_no_growth(measured):
    one = measured()
    await one.see("chat", count=1, metadata=cost(50.0))
    assert await one.readings("cost_growth") == []
    one.after(3 * 3_600)
    await one.see("chat", count=1, metadata=cost(0.9))
    assert await one.readings("cost_growth") == []
    await one.see("chat", count=1, metadata=cost(0.3))  # after an hour of nothing, which counts as ten cents
    assert [reading.current for reading in await one.readings("cost_growth")] == [pytest.approx(12)] * 2


async def test_a_rule_that_fails_is_counted_and_keeps_no_other_from_being_read(measured, caplog):
    one = await measured().see("web", count=100, failures=100)
    one.evaluator.sampled(one.now_us, {"rest.rate_limited.user": None})
    assert ("error_rate", "web", "") in await one.breached()
    assert one.evaluator.faults == {"rate_limits": 1}
    assert "rate_limits" in caplog.text
