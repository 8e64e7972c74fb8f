"""Rate limits, server errors, slowness and broken connections reach discord.py as Discord sends them."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

import aiohttp
import discord
import pytest
from loopback import answer_lost, connection_reset, rate_limited, server_error, slow

SEND = "POST /channels/{channel_id}/messages"
CALLBACK = "POST /interactions/{webhook_id}/{webhook_token}/callback"


@pytest.fixture
def channel(bot) -> discord.TextChannel:
    return bot.guilds[0].text_channels[0]


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_a_rate_limit_of_each_scope_is_waited_for_and_retried(discord_server, channel, caplog, scope):
    discord_server.fail(rate_limited(0.05, scope), SEND, times=2)
    await channel.send("patience")
    sent = await discord_server.requested(SEND, count=3)
    assert [request.status for request in sent] == [429, 429, 200]
    assert [request.fault for request in sent] == ["rate_limited", "rate_limited", None]
    assert sent[1].arrived_s - sent[0].answered_s >= 0.04
    assert ("Global rate limit has been hit" in caplog.text) == (scope == "global")


async def test_a_rate_limit_says_what_discord_says(discord_server):
    discord_server.fail(rate_limited(1.5, "shared"), times=1)
    discord_server.fail(rate_limited(0.5, "global"), times=1)
    headers = {"Authorization": f"Bot {discord_server.token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        url = f"{discord_server.url}/api/v10/users/@me"
        async with session.get(url) as shared:
            assert shared.headers["X-RateLimit-Scope"] == "shared"
            assert shared.headers["Retry-After"] == "2"
            assert await shared.json() == {
                "message": "You are being rate limited.",
                "retry_after": 1.5,
                "global": False,
            }
        async with session.get(url) as everything:
            assert everything.headers["X-RateLimit-Global"] == "true"
            assert "X-RateLimit-Bucket" not in everything.headers
        async with session.get(url) as fine:
            assert fine.headers["Content-Type"] == "application/json"
            assert int(fine.headers["X-RateLimit-Remaining"]) < int(fine.headers["X-RateLimit-Limit"])


async def test_an_exhausted_bucket_delays_the_client_without_a_429(discord_server, channel):
    discord_server.rest.buckets.limit(SEND, limit=2, window_s=0.15)
    for number in range(5):
        await channel.send(str(number))
    sent = await discord_server.requested(SEND, count=5)
    assert {request.status for request in sent} == {200}
    assert sent[-1].arrived_s - sent[0].arrived_s >= 0.15


async def test_a_client_that_ignores_its_bucket_gets_a_429(discord_server):
    discord_server.rest.buckets.limit("GET /users/@me", limit=1, window_s=5)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {discord_server.token}"}) as session:
        for status in (200, 429):
            async with session.get(f"{discord_server.url}/api/v10/users/@me") as answer:
                assert answer.status == status


async def test_a_server_error_is_retried_and_a_lasting_one_raised(discord_server, channel):
    discord_server.fail(server_error(502), SEND)
    await channel.send("again")
    discord_server.fail(server_error(503), SEND)
    with pytest.raises(discord.DiscordServerError):
        await channel.send("not again: 503 is not retried")
    assert [request.status for request in await discord_server.requested(SEND, count=3)] == [502, 200, 503]


async def test_a_callback_is_rate_limited_and_retried_by_the_webhook_adapter(discord_server, bot):
    discord_server.fail(rate_limited(0.05), CALLBACK)
    exchange = await discord_server.interact(discord_server.owner.slash("lookup", {"word": "late"}))
    assert (await exchange.answered())["content"] == "late"
    assert [request.status for request in await discord_server.requested(CALLBACK, count=2)] == [429, 200]


async def test_a_slow_answer_is_late_and_true(discord_server, channel):
    discord_server.fail(slow(0.1), SEND)
    assert (await channel.send("slow")).content == "slow"
    (sent,) = await discord_server.requested(SEND)
    assert sent.answered_s - sent.arrived_s >= 0.09


async def test_a_reset_connection_is_an_error_of_the_transport(discord_server, channel):
    discord_server.fail(connection_reset(), SEND)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await channel.send("gone")
    await channel.send("back")


async def test_what_was_done_although_its_answer_was_lost_is_not_done_again_for_the_same_nonce(discord_server, channel):
    discord_server.fail(answer_lost(), SEND)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await channel.send("once", nonce="n1")
    again = await channel.send("once", nonce="n1")
    other = await channel.send("another", nonce="n2")
    assert [message.id async for message in channel.history(oldest_first=True)] == [again.id, other.id]


async def test_the_clock_of_discord_can_differ_from_ours(discord_server, bot):
    discord_server.world.clock_skew_s = 3600
    async with aiohttp.ClientSession() as session, session.get(f"{discord_server.url}/api/v10/nowhere") as answer:
        assert answer.status == 404
        date = parsedate_to_datetime(answer.headers["Date"])
    assert 3590 < date.timestamp() - time.time() < 3610
    exchange = await discord_server.interact(discord_server.owner.slash("lookup", {"word": "x"}))
    created = discord.utils.snowflake_time(int(exchange.interaction["id"]))
    assert created.timestamp() - time.time() > 3500
    await exchange.answered()


async def test_requests_are_recorded_in_order_with_body_files_and_template(discord_server, channel):
    discord_server.requests.clear()
    message = await channel.send("one")
    await message.edit(content="two")
    await message.add_reaction("👍")
    await channel.typing()
    await message.delete()
    one = "/channels/{channel_id}/messages/{message_id}"
    assert [request.route for request in discord_server.requests] == [
        SEND,
        f"PATCH {one}",
        f"PUT {one}/reactions/{{emoji}}/@me",
        "POST /channels/{channel_id}/typing",
        f"DELETE {one}",
    ]
    assert discord_server.requests[1].body["content"] == "two"


async def test_a_record_with_a_bound_forgets_the_oldest():
    from loopback import Loopback

    async with Loopback(keep=2) as server, aiohttp.ClientSession() as session:
        for number in range(5):
            async with session.get(f"{server.url}/api/v10/{number}"):
                pass
        assert [request.path for request in server.requests] == ["/3", "/4"]
        assert server.requests.total == 5


async def test_waiting_for_a_request_that_never_comes_times_out(discord_server):
    with pytest.raises(TimeoutError):
        await discord_server.requested(SEND, timeout_s=0.05)
    assert not asyncio.current_task().cancelling()
