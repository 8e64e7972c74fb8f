"""Alerts from a running bot: one message that lives as long as the alert, in the channel, through restarts."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.alerts.model import split_counts
from cogmeter.render.rule_text import alert_text
from cogmeter_storage.alerting import AlertState

BREACHES = {
    "error_rate": {"duration_ms": 5, "error": "Rate limit exceeded"},
    "response_time": {"duration_ms": 9_000},
    "throughput": {"duration_ms": 1},
}
LIMITS = {
    "error_rate": "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE",
    "response_time": "PERFORMANCE_ALERT_THRESHOLD_RESPONSE_TIME",
    "throughput": "PERFORMANCE_ALERT_THRESHOLD_OPERATIONS_PER_MINUTE",
}
# The rules that are not tried are off, nothing happens by itself, and the guide's thresholds are in effect at once.
QUIET = {
    "PERFORMANCE_ALERT_CALIBRATE": "false",
    "PERFORMANCE_ALERT_THRESHOLD_DEVIATION": 0,
    "PERFORMANCE_ALERT_SLO_TARGET": 0,
    "PERFORMANCE_ALERT_CHECK_INTERVAL": 3600,
    "PERFORMANCE_SAMPLE_INTERVAL": 3600,
    "PERFORMANCE_ALERT_RECOVERY": 0,
    "PERFORMANCE_ALERT_COOLDOWN": 0,
}


@pytest.fixture
def alerting(move_in):
    """A home whose ops channel is the alert channel, with only the rules that are named switched on."""

    @asynccontextmanager
    async def opened(*rules, **settings):
        async def prepare(home, monkeypatch):
            monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))
            monkeypatch.setattr(
                "cogmeter.notifiers.discord_channel.notifier.CHART_WAIT_S", 60
            )  # for a chart on a busy machine
            for rule, name in LIMITS.items():
                if rule not in rules:
                    monkeypatch.setenv(name, "0")

        async with move_in(prepare=prepare, **{**QUIET, **settings}) as home:
            yield home

    return opened


async def happen(home, number, **operation):
    """So many operations, and a check."""
    for _ in range(number):
        cogmeter.record("knowledge-graph", "query", **operation)
    await home.flushed()
    await home.monitor.alerting.check()


async def until(found, what):
    """Wait for what happens in the background."""
    deadline = time.perf_counter() + 90
    while not (value := found()):
        assert time.perf_counter() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.02)
    return value


async def delivered(home):
    """Wait until everything is delivered."""
    deadline = time.perf_counter() + 90
    while await home.monitor.store.alerting.next_due_us() is not None:
        assert time.perf_counter() < deadline, "still waiting for deliveries"
        await asyncio.sleep(0.02)


def title(message):
    return message.embeds[0].title


@pytest.mark.parametrize("rule", BREACHES)
async def test_each_kind_of_alert_reaches_the_channel_and_the_log_once(alerting, caplog, rule):
    async with alerting(rule) as home:
        with caplog.at_level(logging.WARNING, logger="cogmeter.alerts"):
            await happen(home, 600, **BREACHES[rule])
            for _ in range(3):
                await home.monitor.alerting.check()
            await delivered(home)
        (alert,) = await home.monitor.store.alerting.alerts()
        assert (alert.rule, alert.service, alert.state) == (rule, "knowledge-graph", AlertState.FIRING)
        (message,) = home.channel.history()
        assert alert_text(alert) in message.embeds[0].description
        assert "knowledge-graph" in title(message)
        assert message.attachments[0].filename == "chart.png"
        assert message.embeds[0].image.url == "attachment://chart.png"
        lines = [line for line in caplog.messages if line.startswith("[ALERT]")]
        of_the_guide, _ = split_counts(alert.message)
        assert lines == [f"[ALERT] {rule.upper()}: knowledge-graph {of_the_guide[:1].lower()}{of_the_guide[1:]}"]


@pytest.mark.parametrize("rule", ["response_time", "throughput"])
async def test_in_the_first_hour_a_threshold_that_nobody_has_set_informs_at_most(alerting, caplog, rule):
    async with alerting(rule, PERFORMANCE_ALERT_CALIBRATE="true") as home:
        with caplog.at_level(logging.WARNING, logger="cogmeter.alerts"):
            await happen(home, 600, **BREACHES[rule])
            await delivered(home)
        (alert,) = await home.monitor.store.alerting.alerts()
        assert (alert.rule, alert.severity) == (rule, "info")
        assert alert.message.endswith("; no history yet")
        (message,) = home.channel.history()
        assert "no history yet" in message.embeds[0].description
        assert [line for line in caplog.messages if line.startswith("[ALERT]")] == []


async def test_an_alert_lives_in_one_message_through_a_restart_until_it_is_resolved(alerting):
    async with alerting("error_rate") as home:
        await happen(home, 60, **BREACHES["error_rate"])
        await delivered(home)
        (fired,) = home.channel.history()
        fields = {field.name: field.value for field in fired.embeds[0].fields}
        assert fields["Affected"].startswith("60 of 60 operations")
        assert fields["Most common error"] == "Rate limit exceeded (60 times)"
        assert fields["Example"].startswith("query took 5 ms, error, ")

        await home.owner.click(fired, label="Acknowledge")
        assert "Acknowledged by owner" in home.channel.last_message.embeds[0].description
        await delivered(home)

        await home.bot.unload_extension("cogmeter.cog")
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=home.bot.owner_id)
        await home.env.restart_bot(bot)
        home.bot = bot
        await bot.load_extension("cogmeter.cog")
        await home.env.settle()

        await home.owner.click(fired, label="Mute 1 h")
        (mute,) = await home.monitor.store.alerting.mutes(0)
        assert (mute.actor, mute.service) == ("owner", "knowledge-graph")
        await delivered(home)
        assert "Muted" in title(home.channel.last_message)
        await home.owner.click(fired, label="Unmute")

        await happen(home, 9_000, duration_ms=5)
        await delivered(home)
        (message,) = home.channel.history()
        assert message.id == fired.id
        assert "Resolved" in title(message)
        assert "Acknowledged by owner" in message.embeds[0].description
        assert len(message.attachments) == 1
        assert not message.components


async def test_what_was_over_while_the_bot_was_down_is_noticed_and_edited_in(alerting):
    async with alerting("error_rate") as home:
        await happen(home, 60, **BREACHES["error_rate"])
        await delivered(home)
        await home.bot.unload_extension("cogmeter.cog")
        for _ in range(9_000):
            cogmeter.record("knowledge-graph", "query", duration_ms=5)
        await home.bot.load_extension("cogmeter.cog")
        await home.flushed()
        await home.monitor.alerting.check()
        await delivered(home)
        (message,) = home.channel.history()
        assert "Resolved" in title(message)


async def test_a_deleted_message_comes_back_with_the_next_change(alerting, caplog):
    async with alerting("error_rate") as home:
        await happen(home, 60, **BREACHES["error_rate"])
        await delivered(home)
        home.env.backend.delete_message(home.channel.id, home.channel.last_message.id)
        (alert,) = await home.monitor.store.alerting.alerts()
        await home.monitor.alerting.engine.acknowledge(alert.uid, "Ada", alert.seen_us)
        await delivered(home)
        (message,) = home.channel.history()
        assert "Acknowledged" in title(message)
        assert "was deleted from the alert channel; posting it again" in caplog.text


async def test_a_channel_that_does_not_exist_is_found_at_start_and_reported_with_the_setting(move_in, caplog):
    async with move_in(PERFORMANCE_ALERT_CHANNEL_ID=999_999_999_999_999_999, **QUIET) as home:
        stopped = await until(lambda: home.monitor.alerting.delivery.stopped, "the channel to be looked at")
        assert (
            "PERFORMANCE_ALERT_CHANNEL_ID=999999999999999999 cannot be posted in: the channel does"
            in stopped["channel"]
        )
        assert "receives no more alerts" in caplog.text
        await happen(home, 600, **BREACHES["error_rate"])  # and holds up no other
        await delivered(home)
        assert home.monitor.alerting.delivery.delivered["log"]


async def test_a_channel_that_is_deleted_stops_the_target_alone(alerting):
    async with alerting("error_rate") as home:
        await happen(home, 60, **BREACHES["error_rate"])
        await delivered(home)
        await home.bot.get_channel(home.channel.id).delete()
        await happen(home, 9_000, duration_ms=5)
        await delivered(home)
        assert "the channel does not exist" in home.monitor.alerting.delivery.stopped["channel"]
        (resolved,) = await home.monitor.store.alerting.alerts([AlertState.RESOLVED])
        last = await home.monitor.store.alerting.attempts(resolved.uid, limit=2)
        assert {one.target: one.outcome for one in last} == {"channel": "failed", "log": "sent"}


async def test_a_permission_that_is_removed_is_reported_and_the_alert_is_sent_when_it_is_back(
    alerting, caplog, monkeypatch
):
    monkeypatch.setattr("cogmeter.notifiers.discord_channel.channel.RETRY_S", 0.0)
    async with alerting("error_rate") as home:
        channel = home.bot.get_channel(home.channel.id)
        everybody = channel.guild.default_role
        await channel.set_permissions(everybody, send_messages=False)
        await happen(home, 60, **BREACHES["error_rate"])
        await until(lambda: "cannot be posted in: the bot lacks Send Messages" in caplog.text, "the refusal")
        assert not home.channel.history()
        await channel.set_permissions(everybody, send_messages=True)
        await delivered(home)
        (message,) = home.channel.history()
        assert "Critical" in title(message)


async def test_our_presses_are_not_recorded_as_the_hosts(alerting):
    async with alerting("error_rate") as home:
        await happen(home, 60, **BREACHES["error_rate"])
        await delivered(home)
        for label in ("Details", "Acknowledge"):
            await home.owner.click(home.channel.last_message, label=label)
        await delivered(home)
        await home.flushed()
        summary = await home.monitor.query.summary()
        recorded = {service: one.operations for service, one in [*summary.services, *summary.background]}
        assert recorded == {"knowledge-graph": 60}
