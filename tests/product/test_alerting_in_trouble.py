"""Alerts that come and go while Discord fails in every way and the extension is reloaded: one message for each."""

from __future__ import annotations

import asyncio
import random
import time

import discord
import pytest
from discord.ext import commands
from loopback import answer_lost, connection_reset, rate_limited, server_error, slow

from cogmeter.alerts.model import Reading, Subject
from cogmeter.query.query import now_us
from cogmeter.settings import Settings, env_name
from cogmeter_storage.alerting import AlertState

EXTENSION = "cogmeter.cog"
CHANNEL = "/channels/{channel_id}/messages"
ROUTES = (f"POST {CHANNEL}", f"PATCH {CHANNEL}/{{message_id}}", f"GET {CHANNEL}")
FAULTS = (connection_reset(), answer_lost(), server_error(502), rate_limited(0.05), slow(0.2))
ROUNDS = 6


@pytest.fixture
def settings(monkeypatch, tmp_path, discord_server):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)
    own = {
        "ALERT_CHANNEL_ID": discord_server.world.channel["id"],
        "ALERT_CHECK_INTERVAL": 3_600,  # the test says what is measured
        "ALERT_GROUP_FROM": 1_000,
        "ALERT_RECOVERY": 0,
        "ALERT_COOLDOWN": 0,
    }
    for name, value in own.items():
        monkeypatch.setenv(f"PERFORMANCE_{name}", str(value))
    monkeypatch.setattr("cogmeter.alerts.delivery.target_worker.delay_us", lambda attempts, retry_after_s: 50_000)


def measured(chance):
    """Some of eight services in breach."""
    words = "Error rate of 9% exceeds threshold of 5%"
    return [
        Reading(Subject("error_rate", f"service-{number}"), 0.09, 0.05, words, chance.choice(["warning", "critical"]))
        for number in range(8)
        if chance.random() < 0.6
    ]


async def delivered(store):
    """Wait until everything is delivered."""
    deadline = time.perf_counter() + 90
    while await store.alerting.next_due_us() is not None:
        assert time.perf_counter() < deadline, await store.alerting.due(2**62)
        await asyncio.sleep(0.05)


def title_of(alert):
    """What its message should say at the end."""
    word = alert.severity if alert.state is AlertState.FIRING else alert.state.value
    return word.capitalize()


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("seed", [1, 2])
async def test_each_alert_is_one_message_with_its_present_state_whatever_fails(discord_server, seed):
    chance = random.Random(seed)
    bot = commands.Bot("!", intents=discord.Intents.default())
    async with discord_server.running(bot):
        await bot.load_extension(EXTENSION)
        for number in range(ROUNDS):
            for _ in range(chance.randint(0, 6)):
                discord_server.fail(chance.choice(FAULTS), chance.choice(ROUTES))
            engine = bot.get_cog("cogmeter").monitor.alerting.engine
            await engine.step(measured(chance), now_us())
            for alert in engine.active:
                if alert.state is AlertState.FIRING and chance.random() < 0.3:
                    await engine.acknowledge(alert.uid, "Ada", now_us())
            await asyncio.sleep(chance.random())
            if number % 3 == 1:
                await bot.reload_extension(EXTENSION)
        monitor = bot.get_cog("cogmeter").monitor
        await monitor.alerting.engine.step([], now_us())
        await delivered(monitor.store)
        alerts = await monitor.store.alerting.alerts(tuple(AlertState))
        assert not monitor.alerting.delivery.failed
        await bot.unload_extension(EXTENSION)
    messages = discord_server.world.messages[discord_server.world.channel["id"]].values()
    embeds = [one["embeds"][0] for one in messages if one["embeds"]]
    assert len(embeds) == len(alerts) > 8
    for alert in alerts:
        (embed,) = [one for one in embeds if alert.uid[-8:] in one["footer"]["text"]]
        assert title_of(alert) in embed["title"]
    assert list(discord_server.violations) == []
