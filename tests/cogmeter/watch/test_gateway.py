"""The gateway's gauges and counters, against connections that are cut, resumed and started again."""

from __future__ import annotations

import asyncio
import math

import discord
import pytest
from discord.ext import commands
from loopback import Loopback

from cogmeter.watch.gateway import Gateway, connection_problem, sockets_of


async def until(condition):
    async with asyncio.timeout(60):
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
            assert counts(surface)["identifies"] == 1  # of the session that had begun before
            await discord_server.gateway.drop()
            await until(lambda: counts(surface)["resumes"] == 1)
            await discord_server.gateway.invalidate()
            await until(lambda: counts(surface)["identifies"] == 2)
            await until(lambda: "guilds" in counts(surface))
            found = counts(surface)
            assert sum("it takes (event)" in finding.text for finding in surface.findings()) == 2 * broken
    assert (found["disconnects"], found["reconnects"], found["guilds"]) == (2, 2, 1)


async def test_each_shard_has_its_own_gauges_and_a_missing_one_is_reported(watching):
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


async def test_a_heartbeat_without_acknowledgement_is_reported(discord_server, make_bot, watching):
    bot = make_bot()
    async with discord_server.running(bot), watching(bot, Gateway) as surface:
        ws = sockets_of(bot)[0][1]
        ws._keep_alive._last_ack -= 75
        assert 74 < surface.sample()["gateway.heartbeat_age_s.shard_0"] < 85
        bad = [finding for finding in surface.findings() if not finding.well]
        assert "acknowledged 75 s ago" in bad[0].text
        assert "acknowledged 75 s ago" in connection_problem(bot)
        assert "discord.py reconnects by itself" in bad[0].advice


async def test_removal_leaves_the_parsers_as_they_were(discord_server, make_bot, watching):
    bot = make_bot()
    before = dict(bot._connection.parsers)
    async with watching(bot, Gateway):
        assert bot._connection.parsers["READY"] is not before["READY"]
    assert bot._connection.parsers == before
    assert not bot.extra_events.get("on_disconnect")


# Counters by shard

COUNTED = ("disconnects", "reconnects", "resumes", "identifies")


def sharded_bot(**options):
    return commands.AutoShardedBot(command_prefix="!", intents=discord.Intents.default(), **options)


def by_shard(surface, shards):
    """Each counter of each shard; that of an only shard is the total."""
    sample = surface.sample()
    place = ".shard_{}" if len(shards) > 1 else ""
    return {
        shard: tuple(sample.get(f"gateway.{name}{place.format(shard)}", 0.0) for name in COUNTED) for shard in shards
    }


async def settled(surface, expected):
    """The counters once they are as expected, and stay so; else as they are after a while."""
    for _ in range(1_000):
        await asyncio.sleep(0.005)
        if by_shard(surface, expected) == expected:
            break
    await asyncio.sleep(0.05)
    return by_shard(surface, expected)


def break_parsers(bot):
    parsers = bot._connection.parsers
    parsers |= {"READY": renamed(parsers["READY"]), "RESUMED": renamed(parsers["RESUMED"])}


@pytest.mark.parametrize("broken", [False, True], ids=["hooks", "public events"])
@pytest.mark.parametrize("count", [1, 4, 16])
async def test_every_loss_resume_and_new_session_of_every_shard_is_counted_once(watching, count, broken):
    bot = sharded_bot()
    if broken:
        break_parsers(bot)
    shards = range(count)
    async with Loopback(shards=count) as server, watching(bot, Gateway) as surface, server.running(bot):
        expected = dict.fromkeys(shards, (0, 0, 0, 1))
        assert await settled(surface, expected) == expected
        for shard in shards[::3]:
            await server.gateway.drop(shard)
        expected |= dict.fromkeys(shards[::3], (1, 1, 1, 1))
        assert await settled(surface, expected) == expected
        for shard in shards[:2]:
            await server.gateway.invalidate(shard)
            lost, back, resumed, begun = expected[shard]
            expected[shard] = (lost + 1, back + 1, resumed, begun + 1)
        assert await settled(surface, expected) == expected
        await server.gateway.ask_reconnect(count - 1)
        lost, back, resumed, begun = expected[count - 1]
        expected[count - 1] = (lost + 1, back + 1, resumed + 1, begun)
        assert await settled(surface, expected) == expected
        server.gateway.resumable = False  # a resume that Discord refuses: one loss, one new session
        await server.gateway.drop(0)
        lost, back, resumed, begun = expected[0]
        expected[0] = (lost + 1, back + 1, resumed, begun + 1)
        assert await settled(surface, expected) == expected
        sample = surface.sample()
    totals = tuple(sum(counted[place] for counted in expected.values()) for place in range(4))
    assert tuple(sample[f"gateway.{name}"] for name in COUNTED) == totals
    assert sample["gateway.shards_connected"] == count


async def test_a_bot_that_is_one_shard_of_several_counts_as_one(watching):
    bot = commands.Bot(command_prefix="!", intents=discord.Intents.default(), shard_id=3, shard_count=4)
    async with Loopback(shards=4) as server, watching(bot, Gateway) as surface, server.running(bot):
        await server.gateway.drop(3)
        assert await settled(surface, {3: (1, 1, 1, 1)}) == {3: (1, 1, 1, 1)}
        assert "gateway.heartbeat_age_s.shard_3" in surface.sample()


async def test_a_cluster_counts_the_shards_that_it_has(watching):
    bot = sharded_bot(shard_ids=[2, 3], shard_count=4)
    async with Loopback(shards=4) as server, watching(bot, Gateway) as surface, server.running(bot):
        await server.gateway.invalidate(2)
        expected = {2: (1, 1, 0, 2), 3: (0, 0, 0, 1)}
        assert await settled(surface, expected) == expected
        assert all(finding.well for finding in surface.findings())


async def test_a_shard_that_has_only_identified_when_the_extension_is_loaded_does_not_come_back(context):
    class LoadsLate(commands.AutoShardedBot):
        async def launch_shard(self, gateway, shard_id, *, initial=False):
            await super().launch_shard(gateway, shard_id, initial=initial)
            if shard_id == 1:  # its READY is on the way
                await surface.install()

    bot = LoadsLate(command_prefix="!", intents=discord.Intents.default())
    surface = Gateway(context(bot))
    async with Loopback(shards=4) as server, server.running(bot):
        expected = dict.fromkeys([1, 2, 3], (0, 0, 0, 1))
        assert await settled(surface, expected) == expected
        await surface.remove()


@pytest.mark.parametrize("count", [1, 4])
async def test_attempts_to_come_back_that_fail_are_no_further_losses(watching, count, make_bot):
    bot = make_bot() if count == 1 else sharded_bot()
    async with Loopback(shards=count) as server, watching(bot, Gateway) as surface, server.running(bot):
        connect, failures = bot.http.ws_connect, iter([True] * 3)

        async def refused(*arguments, **options):
            if next(failures, False):
                raise ConnectionResetError(54, "not now")  # the errno at which discord.py tries again at once
            return await connect(*arguments, **options)

        bot.http.ws_connect = refused
        await server.gateway.drop(count - 1)
        expected = dict.fromkeys(range(count), (0, 0, 0, 1)) | {count - 1: (1, 1, 1, 1)}
        assert await settled(surface, expected) == expected
        assert next(failures, None) is None


async def test_a_shard_that_the_host_itself_reconnects_is_counted(watching):
    bot = sharded_bot()
    async with Loopback(shards=2) as server, watching(bot, Gateway) as surface, server.running(bot):
        await bot.get_shard(1).reconnect()
        expected = {0: (0, 0, 0, 1), 1: (1, 1, 0, 2)}
        assert await settled(surface, expected) == expected


async def test_a_shard_that_never_connected_is_named(watching):
    bot = sharded_bot(shard_count=3)
    async with Loopback(shards=3) as server, watching(bot, Gateway) as surface, server.running(bot):
        bot._AutoShardedClient__shards.pop(2).ws._keep_alive.stop()
        bad = [finding.text for finding in surface.findings() if not finding.well]
    assert bad[0] == "shard 2 is not connected"
    assert bad[1].startswith("2 of 3 shards connected")
