"""The first alert of each rule explains the rule, in its own message and in no other, through restarts."""

import json

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.alerts.incident_context import INTRODUCED
from cogmeter.alerts.rules import RULES
from cogmeter.render.rule_text import introduction
from cogmeter_storage import StorageError

FIELD = "About this rule"


@pytest.fixture
def alerting(move_in):
    """A bot that sends alerts to the guild's channel, one message for each."""

    async def set_channel(home, monkeypatch):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", str(home.channel.id))

    def opened(**settings):
        return move_in(prepare=set_channel, PERFORMANCE_ALERT_CHECK_INTERVAL=3_600, **settings)

    return opened


async def breach(home, service, **options):
    """Let a service fail, and deliver the alert."""
    for _ in range(60):
        cogmeter.record(service, "get", **({"duration_ms": 5, "error": "no"} | options))
    await home.flushed()
    await home.monitor.alerting.check()
    await home.monitor.alerting.delivery.deliver_due()


def explained(home):
    """The fields of the channel's messages that explain a rule, by service."""
    found = {}
    for message in home.channel.history():
        embed = message.embeds[0]
        found[embed.title.rpartition(" of ")[2]] = [field.value for field in embed.fields if field.name == FIELD]
    return found


async def test_only_the_first_alert_of_a_rule_explains_it(alerting):
    async with alerting() as home:
        await breach(home, "web")
        await breach(home, "graph")
        (text,) = explained(home)["web"]
        assert text.startswith(
            "First message about the rule `error_rate`. Alert when the error rate exceeds this share: 5%."
        )
        assert "`/perf thresholds set rule:error_rate`" in text
        assert "PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE" in text
        assert explained(home)["graph"] == []
        await breach(home, "slow", duration_ms=60_000, error=None)
        assert "First message about the rule `response_time`" in explained(home)["slow"][0]


async def test_the_explanation_stays_in_its_message_through_a_press_and_a_restart(alerting):
    async with alerting() as home:
        await breach(home, "web")
        (message,) = home.channel.history()
        await home.owner.click(message, label="Acknowledge")
        assert explained(home)["web"]
        await home.bot.unload_extension("cogmeter.cog")
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=home.bot.owner_id)
        await home.env.restart_bot(bot)
        home.bot = bot
        await bot.load_extension("cogmeter.cog")
        await home.env.settle()
        await home.owner.click(message, label="Mute 1 h")
        assert explained(home)["web"]
        await breach(home, "graph")
        assert explained(home)["graph"] == []


async def test_a_group_of_alerts_explains_nothing_and_the_next_single_alert_does(alerting):
    async with alerting(PERFORMANCE_ALERT_GROUP_FROM=2) as home:
        for service in ("web", "graph"):
            for _ in range(60):
                cogmeter.record(service, "get", duration_ms=5, error="no")
        await breach(home, "cache")
        assert not any(explained(home).values())


async def test_the_command_groups_name_is_that_of_the_settings(alerting):
    async with alerting(PERFORMANCE_COMMAND_GROUP="health") as home:
        await breach(home, "web")
        assert "`/health thresholds set rule:error_rate`" in explained(home)["web"][0]


@pytest.mark.parametrize("stored", [b"\xff", b"[]", b"null", b'{"error_rate": 5}'])
async def test_a_damaged_list_of_explained_rules_stops_no_alert(alerting, stored):
    async with alerting() as home:
        await home.monitor.store.set_value(INTRODUCED, stored)
        await breach(home, "web")
        assert len(home.channel.history()) == 1


async def test_a_store_that_fails_sends_the_alert_without_an_explanation(alerting, monkeypatch):
    async with alerting() as home:
        get = home.monitor.store.get_value

        async def fails(key):
            if key == INTRODUCED:
                raise StorageError("the disk is busy", permanent=False)
            return await get(key)

        monkeypatch.setattr(home.monitor.store, "get_value", fails)
        await breach(home, "web")
        assert explained(home) == {"web": []}
        monkeypatch.undo()
        await breach(home, "graph")
        assert explained(home)["graph"]
        assert json.loads(await home.monitor.store.get_value(INTRODUCED)).keys() == {"error_rate"}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_can_be_explained_within_one_field(rule):
    text = introduction(rule.name, 1, "perf")
    assert rule.name in text
    assert len(text) <= 1024
    assert "; 0" not in text.split("\n")[0]
    assert ("service:" in text) == (not rule.only_service and rule.name != "dead_loops")
