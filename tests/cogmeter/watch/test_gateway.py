"""The gateway's gauges and counters, against connections that are cut, resumed and begun anew."""

from __future__ import annotations

import asyncio
import math

import discord
import pytest
from discord.ext import commands
from loopback import Loopback

from cogmeter.watch.gateway import Gateway, sockets_of, trouble_of


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def renamed(parser):
    """The parser with another parameter, as a later discord.py might have it."""

    def parse(event):
        return parser(event)

    return parse


def counts(surface):
    return {name.removeprefix("gateway."): value for name, value in surface.sample().items() if name.endswith("s")}


async def test_a_bot_that_logs_in_is_counted_from_its_first_session(discord_server, make_bot, watching):
    discord_server.gateway.heartbeat_interval_s = 0.05
    bot = make_bot()
    async with watching(bot, Gateway) as surface:
        assert not surface.findings()[-1].well
        assert not any(math.isnan(value) for value in surface.sample().values())
        async with discord_server.running(bot):
            await until(lambda: "gateway.latency_ms.shard_0" in surface.sample())
            sample = surface.sample()
            assert 0 < sample["gateway.latency_ms.shard_0"] < 5_000
            assert 0 <= sample["gateway.heartbeat_age_s.shard_0"] < 5
            assert sample["gateway.shards_connected"] == 1
            assert sample["gateway.guilds"] == len(bot.guilds) == 1
            assert sample["gateway.members"] == bot.guilds[0].member_count > 0
            assert sample["gateway.users_cached"] == len(bot.users)
            assert sample["gateway.voice_connections"] == 0
            assert (sample["gateway.identifies"], sample["gateway.reconnects"]) == (1, 0)
            assert all(finding.well for finding in surface.findings())


@pytest.mark.parametrize("broken", [False, True], ids=["hooks", "public events"])
async def test_resumes_and_new_sessions_of_a_running_bot_are_counted_apart(discord_server, make_bot, watching, broken):
    bot = make_bot()
    async with discord_server.running(bot):
        if broken:
            parsers = bot._connection.parsers
            ready, resumed = parsers["READY"], parsers["RESUMED"]
            parsers |= {"READY": renamed(ready), "RESUMED": renamed(resumed)}
        async with watching(bot, Gateway) as surface:
            assert counts(surface)["identifies"] == 0
            await discord_server.gateway.drop()
            await until(lambda: counts(surface)["resumes"] == 1)
            await discord_server.gateway.invalidate()
            await until(lambda: counts(surface)["identifies"] == 1)
            await until(lambda: "guilds" in counts(surface))
            found = counts(surface)
            assert sum("it takes (event)" in finding.text for finding in surface.findings()) == 2 * broken
    assert (found["disconnects"], found["reconnects"], found["guilds"]) == (2, 2, 1)


async def test_each_shard_has_gauges_of_its_own_and_one_that_is_gone_is_told(watching):
    bot = commands.AutoShardedBot(command_prefix="!", intents=discord.Intents.all(), help_command=None)
    async with Loopback(shards=2) as server:
        server.gateway.heartbeat_interval_s = 0.05
        async with server.running(bot), watching(bot, Gateway) as surface:
            await until(lambda: "gateway.latency_ms.shard_1" in surface.sample())
            sample = surface.sample()
            assert {"gateway.latency_ms.shard_0", "gateway.heartbeat_age_s.shard_1"} <= sample.keys()
            assert sample["gateway.shards_connected"] == 2
            await server.gateway.drop(1)
            await until(lambda: counts(surface)["resumes"] == 1)
            assert counts(surface)["reconnects"] == 1
            await bot.get_shard(1).disconnect()
            bad = [finding.text for finding in surface.findings() if not finding.well]
            assert bad[0] == "shard 1 is not connected"
            assert bad[1].startswith("1 of 2 shards connected")


async def test_a_heartbeat_that_nobody_acknowledges_is_told(discord_server, make_bot, watching):
    bot = make_bot()
    async with discord_server.running(bot), watching(bot, Gateway) as surface:
        ws = sockets_of(bot)[0][1]
        ws._keep_alive._last_ack -= 75
        assert 74 < surface.sample()["gateway.heartbeat_age_s.shard_0"] < 85
        bad = [finding for finding in surface.findings() if not finding.well]
        assert "acknowledged 75 s ago" in bad[0].text
        assert "acknowledged 75 s ago" in trouble_of(bot)
        assert "discord.py reconnects by itself" in bad[0].advice


async def test_removal_leaves_the_parsers_as_they_were(discord_server, make_bot, watching):
    bot = make_bot()
    before = dict(bot._connection.parsers)
    async with watching(bot, Gateway):
        assert bot._connection.parsers["READY"] is not before["READY"]
    assert bot._connection.parsers == before
    assert not bot.extra_events.get("on_disconnect")
