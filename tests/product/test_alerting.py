"""Alerts over discord.py's own transport, on the loopback Discord: posted once, pressed, reloaded, and cut off."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from contextlib import asynccontextmanager, closing

import discord
import pytest
from discord.ext import commands
from loopback import Loopback, faults

import cogmeter
from cogmeter.alerts.rules import RULES
from cogmeter.alerts.rules.rule import GaugeCurve
from cogmeter.settings import Settings, env_name

EXTENSION = "cogmeter.cog"
POST = "POST /channels/{channel_id}/messages"
HOSTILE = ("@everyone", "<@&1> <@2> @here", "`code` **b** [x](https://e.vil)", "x" * 100, "a\\`b", "# big", "<t:0:R>")


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFORMANCE_ALERT_CHECK_INTERVAL", "1")
    monkeypatch.setenv("PERFORMANCE_ALERT_RECOVERY", "0")
    for rule in ("STALL", "ACKNOWLEDGEMENT", "DEVIATION", "OPERATIONS_PER_MINUTE"):  # what a busy machine may breach
        monkeypatch.setenv(f"PERFORMANCE_ALERT_THRESHOLD_{rule}", "0")


@pytest.fixture
def alerting(monkeypatch):
    """A bot with the extension, whose alert channel is the first one of the server."""

    @asynccontextmanager
    async def opened(server, bot_type=commands.Bot, **more):
        monkeypatch.setenv("PERFORMANCE_ALERT_CHANNEL_ID", server.world.channel["id"])
        for name, value in more.items():
            monkeypatch.setenv(f"PERFORMANCE_ALERT_{name}", str(value))
        bot = bot_type("!", intents=discord.Intents.default(), owner_id=int(server.world.owner["id"]))
        async with server.running(bot):
            await bot.load_extension(EXTENSION)
            try:
                yield bot
            finally:
                await bot.unload_extension(EXTENSION)

    return opened


async def until(found, what):
    deadline = time.perf_counter() + 60
    while not (value := found()):
        assert time.perf_counter() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.02)
    return value


def fail(*services):
    for service in services:
        for _ in range(60):
            cogmeter.record(service, service, duration_ms=5, error=f"boom in {service}")


def alerts_of(bot):
    return bot.get_cog("cogmeter").monitor.alerting


def sent(bot):
    return alerts_of(bot).delivery.delivered["channel"]


def shown(server, channel=None):
    """The messages of a channel, as Discord has them now."""
    return list(server.world.messages[channel or server.world.channel["id"]].values())


def posted(server):
    return [request.body for request in server.requests if request.route == POST and request.status == 200]


async def test_an_alert_is_pressed_reloaded_and_resolved_in_one_message(discord_server, alerting):
    server = discord_server

    async def press(asker, label):
        (message, *_) = shown(server)
        (row,) = message["components"]
        (wanted,) = [one["custom_id"] for one in row["components"] if one["label"] == label]
        await (await server.interact(asker.button(message, wanted))).answered()

    def title():
        return shown(server)[0]["embeds"][0]["title"]

    async with alerting(server, THREAD="true") as bot:
        fail("web")
        await until(lambda: sent(bot) == 1, "the alert")
        await press(server.member, "Acknowledge")
        await until(lambda: "owner and team" in (shown(server)[-1].get("content") or ""), "the refusal")
        await press(server.owner, "Acknowledge")
        await until(lambda: "Acknowledged" in title(), "the acknowledgement")
        await bot.reload_extension(EXTENSION)
        await press(server.owner, "Mute 1 h")
        await until(lambda: "Muted" in title(), "the mute")
        await press(server.owner, "Unmute")
        await until(lambda: "Muted" not in title(), "the end of the mute")
        for _ in range(3_000):
            cogmeter.record("web", "web", duration_ms=1)
        await until(lambda: "Resolved" in title(), "the end")
        thread = next(channel for channel in server.world.messages if channel != server.world.channel["id"])
        await until(lambda: "Resolved after" in (shown(server, thread)[-1].get("content") or ""), "the last word")
        said = [message["content"].split(" ")[1] for message in shown(server, thread)[1:]]
        assert said == ["Acknowledged", "Muted", "No", "Resolved"]
    assert len([body for body in posted(server) if body.get("embeds") and body.get("components")]) == 1
    assert list(server.violations) == []


@pytest.mark.parametrize(
    "fault", [faults.connection_reset(), faults.answer_lost(), faults.server_error(), faults.rate_limited(1.0)]
)
async def test_what_goes_wrong_on_the_way_to_discord_loses_and_doubles_nothing(discord_server, alerting, fault):
    discord_server.fail(fault, POST, times=2)
    async with alerting(discord_server) as bot:
        fail("web")
        await until(lambda: sent(bot) == 1, "the alert")
        assert len(shown(discord_server)) == 1


@pytest.mark.parametrize(("bot_type", "shards"), [(commands.Bot, 1), (commands.AutoShardedBot, 2)])
async def test_a_group_with_hostile_names_is_one_message_and_pings_the_role_alone(alerting, bot_type, shards):
    async with Loopback(shards=shards) as server:
        world = server.world
        role = world.guild["roles"][-1]["id"]
        async with alerting(server, bot_type, ESCALATE_AFTER=1, ESCALATE_ROLE_ID=role) as bot:
            fail(*HOSTILE)
            await until(lambda: sent(bot) >= 2, "the escalation")
            root, ping = posted(server)
        assert f"{len(HOSTILE)} services have alerts" in root["embeds"][0]["description"]
        assert root["allowed_mentions"] == {"parse": []}
        assert ping["content"].startswith(f"<@&{role}> ")
        assert ping["allowed_mentions"] == {"parse": [], "users": [], "roles": [int(role)]}
        assert list(server.violations) == []
        ids = {world.owner["id"], world.member["id"], world.guild["id"], world.channel["id"]}
        assert not ids & set(json.dumps(root).replace('"', " ").split())
        with closing(sqlite3.connect("data/performance.db")) as database:
            rows = {
                table: str(database.execute(f"SELECT * FROM {table}").fetchall())
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            }
        # Where the message is to be edited has to be known; it stands nowhere else.
        assert {table for table, text in rows.items() if any(one in text for one in ids)} <= {"receipt"}


async def test_reloads_with_active_alerts_send_nothing_again_and_leave_nothing_behind(discord_server, alerting, caplog):
    def left():
        names = [one.get_name() for one in asyncio.all_tasks() if one.get_name().startswith("cogmeter")]
        threads = [one.name for one in threading.enumerate() if one.name.startswith("cogmeter")]
        return names, threads

    async with alerting(discord_server) as bot:
        fail("a", "b", "c")
        await until(lambda: sent(bot) == 3, "the alerts")
        for _ in range(20):
            await bot.reload_extension(EXTENSION)
        checks = alerts_of(bot).engine.checks
        await until(lambda: alerts_of(bot).engine.checks > checks + 1, "two checks")
        assert len(alerts_of(bot).engine.active) == 3
        assert len(posted(discord_server)) == 3
        await bot.unload_extension(EXTENSION)
        await until(lambda: left() == ([], []), "the last task")
        await bot.load_extension(EXTENSION)
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_unload_while_discord_hangs_ends_in_time_and_the_alert_is_sent_after_the_next_load(
    discord_server, alerting, monkeypatch
):
    monkeypatch.setattr("cogmeter.alerts.delivery.dispatcher.STOP_S", 0.5)
    async with alerting(discord_server) as bot:
        discord_server.fail(faults.slow(600), POST)
        fail("web")
        await until(lambda: not discord_server.rest.faults.waiting, "the request that hangs")
        await bot.reload_extension(EXTENSION)
        await until(lambda: sent(bot) == 1, "the alert")
        assert len(shown(discord_server)) == 1


async def test_the_heartbeat_is_withheld_while_connection_or_database_is_not_well(
    discord_server, alerting, monkeypatch
):
    monkeypatch.setenv("PERFORMANCE_HEARTBEAT_URL", f"{discord_server.url}/api/v10/gateway")
    async with alerting(discord_server) as bot:
        monitor = bot.get_cog("cogmeter").monitor
        cogmeter.record("web", "fetch", duration_ms=1)
        await until(lambda: monitor.flusher.written, "the first flush")
        await monitor.heartbeat.beat()
        assert monitor.heartbeat.withheld == ""
        keep_alive = bot.ws._keep_alive
        acknowledged_s, keep_alive._last_ack = keep_alive._last_ack, keep_alive._last_ack - 600
        await monitor.heartbeat.beat()
        assert "heartbeat" in monitor.heartbeat.withheld
        keep_alive._last_ack = acknowledged_s
        with monkeypatch.context() as patched:
            patched.setattr(monitor.flusher, "last_error", "the disk is full")
            await monitor.heartbeat.beat()
            assert "the disk is full" in monitor.heartbeat.withheld
        await monitor.heartbeat.beat()
        assert monitor.heartbeat.withheld == ""


async def test_the_heartbeat_is_withheld_until_the_bot_is_connected(discord_server, monkeypatch):
    """A bot that dies again and again before it is online must not look well from outside."""
    monkeypatch.setenv("PERFORMANCE_HEARTBEAT_URL", f"{discord_server.url}/api/v10/gateway")
    async with commands.Bot("!", intents=discord.Intents.default()) as bot:
        await bot.load_extension(EXTENSION)
        monitor = bot.get_cog("cogmeter").monitor
        cogmeter.record("web", "fetch", duration_ms=1)
        await until(lambda: monitor.flusher.written, "the first flush")
        await monitor.heartbeat.beat()
        assert monitor.heartbeat.withheld == "the bot is not connected to Discord yet"
        assert not [request for request in discord_server.requests if request.template == "/gateway"]
        await bot.unload_extension(EXTENSION)


async def test_whatever_an_alerts_chart_draws_of_the_bot_is_sampled_of_a_running_one(discord_server, alerting):
    async with alerting(discord_server) as bot:
        monitor = bot.get_cog("cogmeter").monitor
        curves = [rule.chart for rule in RULES.values() if isinstance(rule.chart, GaugeCurve)]

        def missing():
            names = monitor.watcher.sample()
            return [curve for curve in curves if not any(name.startswith(curve.prefix) for name in names)]

        await until(lambda: not missing(), "the gauges")
