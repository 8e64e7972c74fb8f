"""Every attempt at a REST request is recorded as the server saw it; no token is kept anywhere."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest
from discord import app_commands
from discord.ext import commands
from discord.webhook.async_ import AsyncWebhookAdapter
from loopback import Loopback, connection_reset, rate_limited, server_error, slow

from cogmeter.recording import tracing
from cogmeter.recording.background import detached
from cogmeter.recording.flusher import Flusher
from cogmeter.recording.operation import now_ns
from cogmeter.watch.hook import HookState
from cogmeter.watch.rest.attempts import ApiCall
from cogmeter.watch.rest.rest import Rest
from cogmeter_storage import open_store
from cogmeter_storage.model import Outcome

SEND = "POST /channels/{channel_id}/messages"
CALLBACK = "POST /interactions/{webhook_id}/{webhook_token}/callback"
HOOK = "POST /webhooks/{webhook_id}/{webhook_token}"


@pytest.fixture
async def surface(watching, ready_bot) -> AsyncIterator[Rest]:
    async with watching(ready_bot, Rest) as one:
        yield one


@pytest.fixture
def channel(ready_bot, surface) -> discord.TextChannel:
    return ready_bot.guilds[0].text_channels[0]


@pytest.fixture
def hook_url(discord_server) -> str:
    hook = discord_server.world.add_webhook(discord_server.world.channel["id"])
    return f"https://discord.com/api/webhooks/{hook['id']}/{hook['token']}"


async def test_a_request_is_one_operation_named_by_its_route(channel, recorded):
    await channel.send("hello")
    (sent,) = recorded()
    assert (sent.operation, sent.outcome, sent.error, sent.metadata) == (SEND, Outcome.OK, None, {"status": 200})
    assert 0 < sent.duration_ms < 5_000


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_a_rate_limit_of_each_scope_is_an_attempt_and_the_next_one_says_its_wait(
    discord_server, channel, surface, recorded, scope
):
    discord_server.fail(rate_limited(0.06, scope), SEND)
    await channel.send("patience")
    limited, sent = recorded()
    assert (limited.outcome, limited.metadata) == (Outcome.UPSTREAM, {"status": 429, "scope": scope})
    assert limited.error == f"HTTP 429 Too Many Requests (scope {scope})"
    assert (sent.outcome, sent.metadata["status"]) == (Outcome.OK, 200)
    assert 50 <= sent.metadata["rate_limit_wait_ms"] <= 5_000
    gauges = surface.sample()
    assert gauges[f"rest.rate_limited.{scope}"] == 1
    assert gauges["rest.invalid_share"] == (0 if scope == "shared" else 1 / 10_000)
    assert gauges["rest.rate_limit_wait_s"] >= 0.05


async def test_a_global_limit_delays_another_route_which_reports_it(discord_server, channel, recorded):
    discord_server.fail(rate_limited(0.1, "global"), SEND)
    first = asyncio.create_task(channel.send("hits it"))
    await discord_server.requested(SEND)
    await channel.typing()
    await first
    (typing,) = [one for one in recorded() if one.operation.endswith("/typing")]
    assert typing.metadata["rate_limit_wait_ms"] >= 40


async def test_an_exhausted_bucket_shows_as_waiting(discord_server, channel, recorded, recorder):
    discord_server.rest.buckets.limit(SEND, limit=2, window_s=0.2)
    for number in range(3):
        await channel.send(str(number))
    waits = [one.metadata.get("rate_limit_wait_ms", 0) for one in recorded()]
    assert sum(waits) >= 100
    assert {one.outcome for one in recorded()} == {Outcome.OK}
    ends = recorder.buffer.rows[1::5]
    assert ends == sorted(ends)


async def test_a_wait_for_a_rate_limit_is_a_part_of_the_trace_before_its_request(discord_server, channel, recorded):
    discord_server.fail(rate_limited(0.06, "user"), SEND)
    trace = tracing.Trace("ask", now_ns())
    token = tracing.begin(trace)
    await channel.send("patience")
    tracing.end(token)
    (wait,) = (span for span in trace.spans if span.service == "discord.rate_limits")
    assert (wait.operation, wait.parent, wait.outcome) == (SEND, 0, Outcome.OK)
    second = trace.spans[-1]
    assert wait.start_ns + wait.duration_ns == second.start_ns
    assert wait.duration_ns // 1_000_000 == recorded()[-1].metadata["rate_limit_wait_ms"]


async def test_server_errors_are_upstream_and_their_back_off_is_no_rate_limit(discord_server, channel, recorded):
    discord_server.fail(server_error(502), SEND)
    await channel.send("again")
    discord_server.fail(server_error(503), SEND)
    with pytest.raises(discord.DiscordServerError):
        await channel.send("503 is not retried")
    assert [(one.metadata, one.outcome) for one in recorded()] == [
        ({"status": 502}, Outcome.UPSTREAM),
        ({"status": 200}, Outcome.OK),
        ({"status": 503}, Outcome.UPSTREAM),
    ]
    assert recorded()[0].error == "HTTP 502 Bad Gateway"


async def test_a_slow_answer_is_a_long_operation(discord_server, channel, recorded):
    discord_server.fail(slow(0.1), SEND)
    await channel.send("slow")
    assert recorded()[0].duration_ms >= 90


async def test_a_reset_connection_is_upstream_and_reaches_the_host_unchanged(discord_server, channel, recorded):
    discord_server.fail(connection_reset(), SEND)
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)) as raised:
        await channel.send("gone")
    (gone,) = recorded()
    assert (gone.outcome, gone.metadata) == (Outcome.UPSTREAM, {})
    assert gone.error.startswith(type(raised.value).__name__)


async def test_a_cancelled_request_is_cancelled(discord_server, channel, recorded):
    discord_server.fail(slow(0.3), SEND)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await channel.send("too late")
    assert [one.outcome for one in recorded()] == [Outcome.CANCELLED]


async def test_what_is_gone_is_the_users_doing_and_a_bad_body_is_ours(channel, recorded):
    with pytest.raises(discord.NotFound):
        await channel.fetch_message(123456789012345678)
    with pytest.raises(discord.HTTPException):
        await channel.send("x" * 2001)
    assert [(one.metadata["status"], one.outcome, one.error) for one in recorded()] == [
        (404, Outcome.USER, "HTTP 404 Not Found"),
        (400, Outcome.ERROR, "HTTP 400 Bad Request"),
    ]


async def test_files_are_uploaded_again_at_each_attempt(discord_server, channel, recorded):
    discord_server.fail(rate_limited(0.01), SEND)
    await channel.send("file", file=discord.File(io.BytesIO(b"x" * 10_000), "x.bin"))
    sent = await discord_server.requested(SEND, count=2)
    assert [one.files[0].data for one in sent] == [b"x" * 10_000] * 2
    assert [one.metadata["status"] for one in recorded()] == [429, 200]


async def test_a_webhook_of_the_bot_and_one_with_a_session_of_its_own_are_recorded_alike(
    discord_server, ready_bot, surface, recorded, hook_url
):
    await discord.Webhook.from_url(hook_url, client=ready_bot).send("by the bot", wait=True)
    async with aiohttp.ClientSession() as session:
        discord_server.fail(rate_limited(0.03), HOOK)
        await discord.Webhook.from_url(hook_url, session=session).send("by another session")
        async with session.get(f"{discord_server.url}/api/v10/anything"):
            pass
    assert [(one.operation, one.metadata["status"]) for one in recorded()] == [(HOOK, 200), (HOOK, 429), (HOOK, 204)]
    assert recorded()[2].metadata["rate_limit_wait_ms"] >= 20


async def test_an_interaction_callback_is_a_span_of_its_trace(discord_server, ready_bot, surface, recorded):
    @app_commands.command(description="Answers")
    async def answer(interaction: discord.Interaction) -> None:
        trace = tracing.Trace("answer", now_ns())
        token = tracing.begin(trace)
        await interaction.response.send_message("here")
        tracing.end(token)
        traces.append(trace)

    traces: list[tracing.Trace] = []
    ready_bot.tree.add_command(answer)
    await (await discord_server.interact(discord_server.owner.slash("answer"))).answered()
    (sent,) = recorded()
    assert sent.operation == CALLBACK
    assert sent.metadata == {"status": 200, "command": "answer", "parent": "answer"}
    (span,) = traces[0].spans
    assert (span.service, span.operation, span.parent) == ("discord.rest", CALLBACK, 0)
    assert span.start_ns >= 0
    assert span.duration_ns / 1e6 == sent.duration_ms


async def test_our_own_requests_count_as_used_up_but_are_not_the_hosts_operations(
    discord_server, channel, surface, recorded
):
    discord_server.fail(rate_limited(0.01), SEND)
    await detached(channel.send("ours"), name="cogmeter-test")
    trace = tracing.Trace("perf summary", now_ns())
    trace.own = True
    token = tracing.begin(trace)
    await channel.send("ours, too")
    tracing.end(token)
    assert recorded() == []
    assert surface.sample()["rest.rate_limited.user"] == 1


async def test_logins_are_recorded_although_each_has_a_new_session(discord_server, make_bot, watching, recorded):
    bot = make_bot()
    async with watching(bot, Rest), discord_server.running(bot):
        first = bot.http._HTTPClient__session
        await bot.login(discord_server.token)
        assert bot.http._HTTPClient__session is not first
        await first.close()
    assert [one.operation for one in recorded()].count("GET /users/@me") == 2


async def test_a_hosts_own_tracing_continues(discord_server, watching, recorded):
    theirs, calls = aiohttp.TraceConfig(), []

    async def on_end(*_: object) -> None:
        calls.append(1)

    theirs.on_request_end.append(on_end)
    bot = commands.Bot("!", intents=discord.Intents.all(), http_trace=theirs)
    async with discord_server.running(bot), watching(bot, Rest):
        before = len(calls)
        await bot.application_info()
        assert len(calls) == before + 1
    assert len(recorded()) == 1


async def test_removal_restores_every_hook(ready_bot, watching):
    before = AsyncWebhookAdapter.request, aiohttp.ClientSession.request
    for _ in range(100):
        async with watching(ready_bot, Rest):
            assert AsyncWebhookAdapter.request is not before[0]
            assert aiohttp.ClientSession.request is not before[1]
    assert (AsyncWebhookAdapter.request, aiohttp.ClientSession.request) == before
    assert "request" not in vars(ready_bot.http)
    assert (await ready_bot.application_info()).name


async def test_a_hook_below_anothers_wrapper_only_passes_on(ready_bot, watching, recorded):
    async with watching(ready_bot, Rest) as surface:
        ours = ready_bot.http.request

        async def theirs(*args, **options):
            return await ours(*args, **options)

        ready_bot.http.request = theirs
    assert surface.hooks[0].state is HookState.BURIED
    assert (await ready_bot.application_info()).name
    assert recorded() == []
    del ready_bot.http.request


async def test_without_its_hook_requests_are_named_by_their_address(ready_bot, watching, recorded):
    async def request(route, *, files=None, form=None, surprise=None, **kwargs):
        return await type(ready_bot.http).request(ready_bot.http, route, files=files, form=form, **kwargs)

    ready_bot.http.request = request
    async with watching(ready_bot, Rest) as surface:
        await ready_bot.guilds[0].text_channels[0].send("hello")
        failed = [one for one in surface.findings() if not one.well]
    assert [(one.operation, one.metadata) for one in recorded()] == [("POST /channels/{id}/messages", {"status": 200})]
    assert len(failed) == 1
    assert "surprise" in failed[0].text


async def test_without_the_address_hook_the_hosts_own_requests_are_untouched(discord_server, surface, recorded):
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{discord_server.url}/api/v10/users/@me") as answer:
            assert answer.status == 401
        plain = await session.request("GET", f"{discord_server.url}/api/v10/users/@me")
        assert isinstance(plain, aiohttp.ClientResponse)
    assert recorded() == []


@pytest.mark.parametrize("entered", [True, False])
async def test_by_address_a_request_may_be_entered_or_awaited(discord_server, ready_bot, watching, recorded, entered):
    ready_bot.http.request = None
    async with watching(ready_bot, Rest), aiohttp.ClientSession() as session:
        sending = session.request("GET", f"{discord_server.url}/api/v10/users/@me?with=query")
        if entered:
            async with sending as answer:
                assert answer.status == 401
        else:
            assert (await sending).status == 401
    del ready_bot.http.request
    assert [(one.operation, one.outcome) for one in recorded()] == [("GET /users/@me", Outcome.ERROR)]


async def test_without_the_attempts_a_call_is_one_operation(discord_server, ready_bot, watching, recorded, monkeypatch):
    sending = aiohttp.ClientSession.request

    def of_another_version(session, verb, url, **options):
        return sending(session, verb, url, **options)

    with monkeypatch.context() as patch:
        patch.setattr(aiohttp.ClientSession, "request", of_another_version)
        async with watching(ready_bot, Rest) as surface:
            channel = ready_bot.guilds[0].text_channels[0]
            discord_server.fail(rate_limited(0.02), SEND)
            await channel.send("one operation, with its retry")
            with pytest.raises(discord.NotFound):
                await channel.fetch_message(123456789012345678)
            discord_server.fail(connection_reset(), SEND)
            with pytest.raises(aiohttp.ClientError):
                await channel.send("gone")
            assert not surface.findings()[0].well
    assert [(one.metadata, one.outcome) for one in recorded()] == [
        ({}, Outcome.OK),
        ({"status": 404}, Outcome.USER),
        ({}, Outcome.UPSTREAM),
    ]


async def test_a_request_that_is_dropped_before_it_is_sent_is_no_attempt(discord_server, ready_bot, channel, recorded):
    discord_server.rest.buckets.limit(SEND, limit=1, window_s=5.0)
    ready_bot.http.max_ratelimit_timeout = 1.0
    with pytest.raises(discord.RateLimited):
        await channel.send("the only one")
        await channel.send("never sent")
    sent = discord_server.requests.where(lambda request: request.route == SEND)
    assert len([one for one in recorded() if one.operation == SEND]) == len(sent)


async def test_a_body_that_breaks_off_is_upstream(recorder, ready_bot, context, recorded):
    attempts = Rest(context(ready_bot)).attempts
    api_call = ApiCall(attempts, SEND)
    attempt = attempts.begin(api_call)
    attempts.answered(attempt, 200, {})
    attempts.left(attempt, aiohttp.ClientPayloadError("half of it"))
    attempts.finished(api_call)
    (broken,) = recorded()
    assert (broken.outcome, broken.error) == (Outcome.UPSTREAM, "ClientPayloadError: half of it")


async def test_an_internal_error_is_counted_and_the_request_continues(channel, surface, monkeypatch, caplog):
    monkeypatch.setattr(surface.attempts, "begin", lambda api_call: 1 / 0)
    assert (await channel.send("still")).content == "still"
    assert any(not one.well and "faults of cogmeter" in one.text for one in surface.findings())
    assert "ZeroDivisionError" in caplog.text


async def test_the_clock_is_fed_with_each_date(surface, channel):
    class Skew:
        def __init__(self):
            self.noted = []

        def note(self, date_header, sent_wall_s, received_wall_s):
            self.noted.append((date_header, sent_wall_s, received_wall_s))

    surface.context.skew = Skew()
    await channel.send("what time is it?")
    ((date, sent_s, received_s),) = surface.context.skew.noted
    assert date.endswith("GMT")
    assert sent_s <= received_s


async def test_two_monitors_of_one_process_record_a_webhook_once(ready_bot, watching, recorded, hook_url):
    async with watching(ready_bot, Rest, Rest):
        await discord.Webhook.from_url(hook_url, client=ready_bot).send("once")
    assert [one.operation for one in recorded()] == [HOOK]


async def test_no_token_is_found_in_the_database_or_the_log(
    discord_server: Loopback, ready_bot, recorder, surface, channel, tmp_path, caplog, hook_url
):
    caplog.set_level(logging.DEBUG, "cogmeter")
    bot_hook = discord.Webhook.from_url(hook_url, client=ready_bot)
    asked = discord_server.owner.slash("answer")

    @app_commands.command(description="Answers")
    async def answer(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        discord_server.fail(connection_reset(), HOOK)
        with pytest.raises(aiohttp.ClientError):
            await interaction.followup.send("lost")
        discord_server.fail(server_error(503), HOOK)
        await interaction.followup.send("found")

    ready_bot.tree.add_command(answer)
    await (await discord_server.interact(asked)).answered()
    await channel.send("plain")
    for fault in (rate_limited(0.01), connection_reset(), slow(0.5)):
        discord_server.fail(fault, HOOK)
        try:
            async with asyncio.timeout(0.2):
                await bot_hook.send("x")
        except (aiohttp.ClientError, TimeoutError):
            pass
    broken = aiohttp.InvalidURL(hook_url, f"and {discord_server.token}")
    attempt = surface.attempts.begin(ApiCall(surface.attempts, HOOK))
    surface.attempts.failed(attempt, broken)
    store = await open_store(f"sqlite:///{tmp_path}/tokens.db")
    flusher = Flusher(recorder, store)
    await flusher.flush()
    await store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    shown = repr(surface.findings()) + repr(surface.sample()) + caplog.text
    assert b"discord.rest" in kept
    for secret in (discord_server.token, asked["token"], hook_url.rpartition("/")[2]):
        assert secret.encode() not in kept
        assert secret not in shown
