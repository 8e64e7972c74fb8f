"""The real transport of discord.py logs in, becomes ready, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import discord
import psutil
import pytest
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route
from loopback import Loopback, World


async def test_a_bot_becomes_ready_and_sees_its_guild(discord_server, make_bot):
    async with discord_server.running(make_bot()) as bot:
        (guild,) = bot.guilds
        assert guild.me.id == int(discord_server.world.application_id)
        assert [channel.name for channel in guild.text_channels] == ["general"]
        assert guild.chunked
        assert bot.latency < 5
    assert [op.op for op in discord_server.ops] == [1, 2]


async def test_a_sharded_bot_gets_the_shards_that_the_server_recommends(make_bot):
    async with Loopback(shards=2) as server, server.running(make_bot(commands.AutoShardedBot)) as bot:
        assert sorted(bot.shards) == [0, 1]
        assert {guild.shard_id for guild in bot.guilds} == {0, 1}
        assert server.gateway.shards() == [0, 1]


async def test_members_are_sent_in_chunks_when_a_bot_asks(discord_server, make_bot):
    guild_id = discord_server.world.guild["id"]
    discord_server.world.add_member(guild_id, "late")
    async with discord_server.running(make_bot()) as bot:
        found = await bot.guilds[0].query_members("late")
    assert [member.name for member in found] == ["late"]


async def test_commands_are_synced_and_their_ids_come_back(discord_server, make_bot):
    async with discord_server.running(make_bot()) as bot:
        await bot.tree.sync()
        bot.tree.copy_global_to(guild=bot.guilds[0])
        await bot.tree.sync(guild=bot.guilds[0])
        fetched = await bot.tree.fetch_commands()
    assert {command.name for command in fetched} == {"chart", "panel", "lookup", "outer", "Who is this", "How long"}
    assert not list(discord_server.violations)


async def test_nothing_is_left_when_a_bot_and_the_server_are_closed(make_bot):
    process = psutil.Process()
    connections, threads, tasks, base = (
        len(process.net_connections()),
        set(threading.enumerate()),
        asyncio.all_tasks(),
        Route.BASE,
    )
    async with Loopback() as server:
        assert server.url in Route.BASE
        async with server.running(make_bot()):
            pass
    # What an earlier test left to end by itself may have ended meanwhile.
    assert len(process.net_connections()) <= connections
    assert set(threading.enumerate()) <= threads
    assert asyncio.all_tasks() <= tasks
    assert base == Route.BASE
    assert DiscordWebSocket.DEFAULT_GATEWAY.host == "gateway.discord.gg"


async def test_a_wrong_token_is_refused_by_rest_and_gateway(discord_server):
    async with discord.Client(intents=discord.Intents.none()) as client:
        with pytest.raises(discord.LoginFailure):
            await client.login("wrong")
    async with aiohttp.ClientSession() as session, session.ws_connect(discord_server.rest.gateway_url) as socket:
        assert (await socket.receive_json())["op"] == 10
        await socket.send_json({"op": 2, "d": {"token": "wrong"}})
        await socket.receive()
        assert socket.close_code == 4004


async def test_running_raises_what_keeps_a_bot_from_becoming_ready(discord_server, make_bot):
    discord_server.gateway.token = "another"
    with pytest.raises(discord.LoginFailure):
        async with discord_server.running(make_bot()):
            pass


async def test_the_guilds_of_a_world_spread_over_the_shards():
    world = World(guilds=6)
    assert [(int(guild_id) >> 22) % 3 for guild_id in world.guilds] == [0, 1, 2, 0, 1, 2]


async def test_the_gateway_stream_is_compressed_and_decompresses_as_one(discord_server, make_bot, monkeypatch):
    seen = []
    received = DiscordWebSocket.received_message

    async def note(self, message):
        seen.append(type(message))
        await received(self, message)

    monkeypatch.setattr(DiscordWebSocket, "received_message", note)
    async with discord_server.running(make_bot()):
        pass
    assert set(seen) == {bytes}
