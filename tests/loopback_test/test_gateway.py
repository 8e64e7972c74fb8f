"""Connections end in every way that Discord has, and discord.py comes back."""

from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from discord.ext import commands
from loopback import Loopback

IDENTIFY, RESUME = 2, 6


@pytest.mark.parametrize("code", [None, 1000, 4000, 4009])
async def test_a_dropped_connection_is_resumed_and_nothing_is_lost(discord_server, bot, code):
    resumed = asyncio.create_task(bot.wait_for("resumed"))
    heard = asyncio.create_task(bot.wait_for("message"))
    await asyncio.sleep(0)
    await discord_server.gateway.drop(code=code)
    await discord_server.say("sent while nobody listened")
    assert (await asyncio.wait_for(heard, 5)).content == "sent while nobody listened"
    await asyncio.wait_for(resumed, 5)
    (resume,) = await discord_server.sent_op(RESUME)
    assert resume.data["seq"] >= 2
    assert len(await discord_server.sent_op(IDENTIFY)) == 1


async def test_a_request_to_reconnect_is_followed_by_a_resume(discord_server, bot):
    resumed = asyncio.create_task(bot.wait_for("resumed"))
    await asyncio.sleep(0)
    await discord_server.gateway.ask_reconnect()
    await asyncio.wait_for(resumed, 5)


async def test_an_invalid_session_leads_to_a_new_identify(discord_server, bot):
    ready = asyncio.create_task(bot.wait_for("ready"))
    await asyncio.sleep(0)
    await discord_server.gateway.invalidate()
    await asyncio.wait_for(ready, 5)
    assert len(await discord_server.sent_op(IDENTIFY)) == 2
    exchange = await discord_server.interact(discord_server.owner.slash("lookup", {"word": "again"}))
    assert (await exchange.answered())["content"] == "again"


async def test_a_session_that_cannot_be_resumed_is_identified_again(discord_server, bot):
    discord_server.gateway.resumable = False
    ready = asyncio.create_task(bot.wait_for("ready"))
    await asyncio.sleep(0)
    await discord_server.gateway.drop()
    await asyncio.wait_for(ready, 5)
    assert [op.op for op in discord_server.ops if op.op in {IDENTIFY, RESUME}] == [IDENTIFY, RESUME, IDENTIFY]


async def test_one_shard_resumes_while_the_other_stays(make_bot):
    async with Loopback(shards=2) as server, server.running(make_bot(commands.AutoShardedBot)) as bot:
        resumed = asyncio.create_task(bot.wait_for("shard_resumed"))
        await asyncio.sleep(0)
        await server.gateway.drop(1)
        assert await asyncio.wait_for(resumed, 5) == 1
        assert server.gateway.shards() == [0, 1]


async def test_withheld_acknowledgements_make_the_client_reconnect(discord_server, make_bot):
    discord_server.gateway.heartbeat_interval_s = 0.05
    discord_server.gateway.acknowledge = False
    async with discord_server.running(make_bot(heartbeat_timeout=0.3)):
        await discord_server.sent_op(RESUME)


async def test_heartbeats_are_acknowledged_at_the_interval_of_hello(discord_server, make_bot):
    discord_server.gateway.heartbeat_interval_s = 0.05
    async with discord_server.running(make_bot()):
        await discord_server.sent_op(1, count=4)


async def _close_code(server: Loopback, *payloads: object) -> int | None:
    async with aiohttp.ClientSession() as session, session.ws_connect(server.rest.gateway_url) as socket:
        await socket.receive_json()
        for payload in payloads:
            await (socket.send_str(payload) if isinstance(payload, str) else socket.send_json(payload))
        while not socket.closed:
            await socket.receive(timeout=5)
        return socket.close_code


async def test_misuse_of_the_gateway_is_closed_with_discords_codes(discord_server):
    identify = {"op": 2, "d": {"token": discord_server.token, "intents": 0}}
    assert await _close_code(discord_server, {"op": 3, "d": {}}) == 4003
    assert await _close_code(discord_server, identify, identify) == 4005
    assert await _close_code(discord_server, identify, {"op": 99}) == 4001
    assert await _close_code(discord_server, "x" * 5000) == 4002
    assert await _close_code(discord_server, "not json") == 4002
    assert await _close_code(discord_server, {"op": 2, "d": identify["d"] | {"shard": [2, 2]}}) == 4010
    assert await _close_code(discord_server, *[{"op": 1, "d": None}] * 121) == 4008


async def test_a_client_that_receives_4014_stops_with_the_reason(discord_server, make_bot):
    logging.getLogger("discord").setLevel(logging.CRITICAL)
    try:
        bot = make_bot()
        with pytest.raises(LookupError, match="shard 0 has no session"):
            await discord_server.dispatch("TYPING_START", {})
        async with discord_server.running(bot):
            await discord_server.gateway.drop(code=4014)
            async with asyncio.timeout(60):
                while not bot.is_closed() and discord_server.gateway.shards():
                    await asyncio.sleep(0.01)
    finally:
        logging.getLogger("discord").setLevel(logging.NOTSET)
