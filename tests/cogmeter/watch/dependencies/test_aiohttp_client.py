"""Requests of aiohttp to other hosts are recorded with host, method, status and outcome, and with nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest
from loopback import Loopback
from yarl import URL

from cogmeter.recording import tracing
from cogmeter.recording.background import detached
from cogmeter.recording.frames import place_of
from cogmeter.recording.operation import now_ns
from cogmeter.watch.dependencies.host_request import MAX_HOSTS
from cogmeter.watch.dependencies.http import HttpClients
from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.rest.rest import Rest
from cogmeter.web.pages.waterfall import bars_of
from cogmeter_storage.model import Outcome

HERE = "http.127.0.0.1"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (200, Outcome.OK, None),
        (204, Outcome.OK, None),
        (304, Outcome.OK, None),
        (400, Outcome.ERROR, "HTTP 400 Bad Request"),
        (403, Outcome.ERROR, "HTTP 403 Forbidden"),
        (404, Outcome.ERROR, "HTTP 404 Not Found"),
        (429, Outcome.UPSTREAM, "HTTP 429 Too Many Requests"),
        (500, Outcome.UPSTREAM, "HTTP 500 Internal Server Error"),
        (529, Outcome.UPSTREAM, "HTTP 529"),
    ],
)
async def test_a_request_is_one_operation_of_its_host(surface, session, service, until, status, outcome, error):
    async with session.post(f"{service.url}/status/{status}?key=secret", json={}) as answer:
        await answer.read()
    (sent,) = await until()
    assert (sent.service, sent.operation, sent.outcome, sent.error) == (HERE, "POST", outcome, error)
    assert sent.metadata.keys() - {"called_from"} == {"status", "first_byte_ms"}
    assert ("called_from" in sent.metadata) is outcome.failed
    assert sent.metadata["status"] == status
    assert 0 < sent.metadata["first_byte_ms"] <= sent.duration_ms + 0.1


@pytest.mark.parametrize("method", ["get", "head", "post", "put", "patch", "delete", "options"])
async def test_each_method_of_a_session_is_recorded_once(surface, session, service, until, recorded, method):
    async with getattr(session, method)(f"{service.url}/status/200"):
        pass
    async with session.request(method, URL(f"{service.url}/status/200")):
        pass
    await until(2)
    assert [(one.service, one.operation) for one in recorded()] == [(HERE, method.upper())] * 2


async def test_an_unknown_method_shares_a_name(surface, session, service, until):
    async with session.request("X-SECRET", f"{service.url}/status/200"):
        pass
    assert [one.operation for one in await until()] == ["(other)"]


async def test_a_sessions_base_address_is_the_host(surface, service, until):
    async with aiohttp.ClientSession(service.url) as session, session.get("/status/200"):
        pass
    assert [one.service for one in await until()] == [HERE]


async def test_the_time_to_the_first_byte_ends_with_the_headers(surface, session, service, until):
    async with session.get(f"{service.url}/slow") as answer:
        await answer.read()
    (sent,) = await until()
    assert sent.metadata["first_byte_ms"] >= 45


async def test_a_streamed_answer_counts_to_its_end(surface, session, service, recorded, until):
    async with session.get(f"{service.url}/stream") as answer:
        assert isinstance(answer, aiohttp.ClientResponse)
        lines = [line async for line in answer.content if line.strip()]
    assert lines == [b"data: 0\n", b"data: 1\n", b"data: 2\n"]
    (sent,) = await until()
    assert sent.outcome is Outcome.OK
    assert sent.duration_ms >= 60
    assert sent.metadata["first_byte_ms"] <= sent.duration_ms - 50


@pytest.mark.parametrize("way", ["close", "release", "disconnect"])
async def test_an_unread_answer_ends_when_it_is_closed_or_left(surface, session, service, recorded, until, way):
    answer = await session.get(f"{service.url}/endless")
    assert recorded() == []
    if way == "disconnect":  # nobody refers to the answer, and the server ends it
        del answer
        service.released.set()
    else:
        getattr(answer, way)()
    (sent,) = await until()
    assert (sent.outcome, sent.error, sent.metadata["status"]) == (Outcome.OK, None, 200)


async def test_a_reader_that_raises_is_no_failure_of_the_host(surface, session, service, until):
    with pytest.raises(ZeroDivisionError):
        async with session.get(f"{service.url}/endless"):
            raise ZeroDivisionError
    assert [one.outcome for one in await until()] == [Outcome.OK]


async def test_a_body_that_breaks_off_is_upstream(surface, session, service, until):
    with pytest.raises(aiohttp.ClientPayloadError):
        async with session.get(f"{service.url}/broken") as answer:
            await answer.read()
    (sent,) = await until()
    assert (sent.outcome, sent.metadata["status"]) == (Outcome.UPSTREAM, 200)
    assert sent.error.startswith("ClientPayloadError")


@pytest.mark.parametrize("timeout", [aiohttp.ClientTimeout(total=0.1), aiohttp.ClientTimeout(sock_read=0.1)])
@pytest.mark.parametrize("path", ["hang", "endless"])
async def test_a_timeout_is_upstream_before_and_within_the_answer(surface, session, service, until, timeout, path):
    with pytest.raises(TimeoutError):
        async with session.get(f"{service.url}/{path}", timeout=timeout) as answer:
            await answer.read()
    (sent,) = await until()
    assert sent.outcome is Outcome.UPSTREAM
    assert "Timeout" in sent.error
    assert service.url not in sent.error


async def test_a_failed_request_names_the_line_that_sent_it(surface, session, service, nobody, until):
    async def fetch(url):
        await (await session.get(url)).read()

    await asyncio.gather(fetch(f"{service.url}/status/500"), fetch(f"{nobody}/"), return_exceptions=True)
    sent = await until(2)
    line = fetch.__code__.co_firstlineno + 1
    assert {one.metadata["called_from"] for one in sent} == {f"{place_of(__file__)[0]}:{line} in fetch"}


async def test_a_request_that_no_code_of_the_host_awaits_names_no_line(surface, session, service, until):
    await asyncio.create_task(session._request("GET", f"{service.url}/status/500"))  # as its only code
    (sent,) = await until()
    assert sent.metadata.keys() == {"status", "first_byte_ms"}


async def test_a_refused_connection_is_upstream_and_its_text_has_no_address(surface, session, nobody, until):
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(f"{nobody}/path?key=secret")
    (sent,) = await until()
    assert (sent.service, sent.outcome, sent.metadata.keys()) == (HERE, Outcome.UPSTREAM, {"called_from"})
    assert sent.error == "ClientConnectorError: ConnectionRefusedError"


@pytest.mark.parametrize("path", ["hang", "endless"])
async def test_a_cancelled_request_is_cancelled_before_and_within_the_answer(surface, session, service, until, path):
    async def ask() -> None:
        async with session.get(f"{service.url}/{path}") as answer:
            await answer.read()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await ask()
    assert [one.outcome for one in await until()] == [Outcome.CANCELLED]


async def test_a_session_that_raises_for_a_status_records_the_status(surface, service, until):
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await session.get(f"{service.url}/status/404")
    (sent,) = await until()
    assert (sent.outcome, sent.error, sent.metadata["status"]) == (Outcome.ERROR, "HTTP 404 Not Found", 404)


async def test_what_was_never_sent_is_the_hosts_error_or_nothing(surface, session, service, recorded):
    with pytest.raises(aiohttp.InvalidURL):
        await session.get("no address")
    with pytest.raises(ValueError, match="can not be used at the same time"):
        await session.post(service.url, data=b"x", json={})
    assert [(one.outcome, one.error) for one in recorded()] == [(Outcome.ERROR, "ValueError")]


async def test_a_redirect_is_part_of_the_operation(surface, session, service, until):
    async with session.get(f"{service.url}/redirect") as answer:
        assert len(answer.history) == 1
    (sent,) = await until()
    assert (sent.service, sent.metadata["status"]) == (HERE, 200)
    with pytest.raises(aiohttp.TooManyRedirects):
        await session.get(f"{service.url}/circle")
    assert (await until(2))[1].outcome is Outcome.UPSTREAM


async def test_of_a_websocket_only_the_handshake_counts(surface, session, service, recorded):
    async with session.ws_connect(f"{service.url}/socket") as socket:
        (shaken,) = recorded()
        await socket.send_str("hello")
        assert (await socket.receive()).data == "hello"
    assert (shaken.service, shaken.operation, shaken.metadata["status"]) == (HERE, "GET", 101)
    assert len(recorded()) == 1


async def test_a_refused_handshake_has_the_status_of_its_answer(surface, session, service, until):
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect(f"{service.url}/status/503")
    assert [(one.outcome, one.metadata["status"]) for one in await until()] == [(Outcome.UPSTREAM, 503)]


async def test_requests_to_discord_are_recorded_by_the_rest_surface_alone(
    discord_server: Loopback, watching, recorded, bot
):
    async with watching(bot, Rest, HttpClients), discord_server.running(bot):
        await bot.application_info()
        hook = discord_server.world.add_webhook(discord_server.world.channel["id"])
        url = f"https://discord.com/api/webhooks/{hook['id']}/{hook['token']}"
        async with aiohttp.ClientSession() as session:
            await discord.Webhook.from_url(url, session=session).send("hello")
    assert {one.service for one in recorded()} == {"discord.rest"}


async def test_own_requests_are_not_recorded(surface, session, service, recorded):
    async def ask() -> None:
        async with session.get(f"{service.url}/status/200") as answer:
            await answer.read()

    await detached(ask(), name="cogmeter-test")
    trace = tracing.Trace("perf alerts test", now_ns())
    trace.own = True
    token = tracing.begin(trace)
    await ask()
    tracing.end(token)
    assert recorded() == []


async def test_a_request_is_a_span_of_its_trace_with_its_parent(surface, session, service, recorder, until):
    trace = tracing.Trace("ask", now_ns())
    token = tracing.begin(trace)
    async with recorder.operation("answers", "compose"), session.get(f"{service.url}/slow") as answer:
        await answer.read()
    tracing.end(token)
    await until(2)
    span, outer = trace.spans
    assert (span.service, span.operation, span.parent) == (HERE, "GET", outer.id)
    assert outer.start_ns <= span.start_ns
    (sent,) = (one for one in await until(2) if one.service == HERE)
    assert (sent.metadata["command"], sent.metadata["parent"]) == ("ask", "answers/compose")
    assert span.duration_ns / 1e6 == sent.duration_ms


async def test_an_answer_that_outlives_its_interaction_is_no_span(surface, session, service, until):
    trace = tracing.Trace("ask", now_ns())
    token = tracing.begin(trace)
    answer = await session.get(f"{service.url}/endless")
    trace.ended = True
    tracing.end(token)
    answer.close()
    (sent,) = await until()
    assert (trace.spans, sent.metadata.keys()) == ([], {"status", "first_byte_ms"})


async def test_at_most_fifty_hosts_have_a_service_also_after_a_reload(watching, bot, recorder, nobody, recorded):
    def name(number: int) -> str:
        return f"HOST-{number}.invalid."

    for first in (0, MAX_HOSTS):
        async with watching(bot, HttpClients) as surface:
            requests = surface._aiohttp._requests
            for number in range(first, first + MAX_HOSTS):
                requests.begin(surface.hooks[0], name(number), "get", None).end()
            requests.begin(surface.hooks[0], name(0), "get", None).end()
    services = [one.service for one in recorded()]
    assert set(services) == {f"http.host-{number}.invalid" for number in range(MAX_HOSTS)} | {"http.(other)"}
    assert services.count("http.(other)") == MAX_HOSTS
    assert services.count("http.host-0.invalid") == 3


async def test_removal_restores_aiohttp_exactly(watching, bot):
    before = vars(aiohttp.ClientSession)["_request"]
    for _ in range(100):
        async with watching(bot, HttpClients):
            assert vars(aiohttp.ClientSession)["_request"] is not before
    assert vars(aiohttp.ClientSession)["_request"] is before


async def test_below_anothers_patch_the_hook_only_passes_on(watching, bot, service, session, recorded, monkeypatch):
    calls = []
    with monkeypatch.context() as patch:
        async with watching(bot, HttpClients) as surface:
            ours = aiohttp.ClientSession._request

            async def theirs(*arguments, **options):
                calls.append(arguments[1])
                return await ours(*arguments, **options)

            patch.setattr(aiohttp.ClientSession, "_request", theirs)
        assert surface.hooks[0].state is HookState.BURIED
        async with session.get(f"{service.url}/status/200"):
            pass
        assert recorded() == []
        async with watching(bot, HttpClients):
            async with session.get(f"{service.url}/status/200") as answer:
                await answer.read()
            assert len(recorded()) == 1
    assert calls == ["GET", "GET"]


async def test_an_answer_that_ends_after_the_removal_is_not_recorded(watching, bot, service, session, recorded):
    async with watching(bot, HttpClients):
        answer = await session.get(f"{service.url}/endless")
    answer.close()
    assert recorded() == []


async def test_an_internal_error_is_counted_and_the_request_continues(surface, service, session, monkeypatch, caplog):
    for name in ("begin", "record"):
        with monkeypatch.context() as patch:
            patch.setattr(type(surface._aiohttp._requests), name, lambda *_: 1 / 0)
            async with session.get(f"{service.url}/status/200") as answer:
                assert len(await answer.read()) == 100
    assert surface.hooks[0].faults == 2
    assert "ZeroDivisionError" in caplog.text


async def test_a_request_through_another_request_is_recorded_once_unless_it_goes_elsewhere(
    surface, service, recorded, until
):
    renewing = aiohttp.TraceConfig()

    async def send_again(*_: object) -> None:
        async with session.put(f"{service.url}/status/200"), session.post(f"{service.url}/status/200"):
            pass

    renewing.on_request_start.append(send_again)
    async with (
        aiohttp.ClientSession() as session,
        aiohttp.ClientSession(trace_configs=[renewing]) as outer,
        outer.post(f"{service.url}/status/200"),
    ):
        pass
    assert sorted(one.operation for one in await until(2)) == ["POST", "PUT"]


async def test_the_waterfall_of_a_command_shows_its_calls_of_other_hosts(
    discord_server, ready_bot, watching, service, session
):
    @ready_bot.tree.command(description="Asks another host")
    async def ask(interaction: discord.Interaction) -> None:
        async with session.get(f"{service.url}/slow") as first:
            await first.read()
        async with session.post(f"{service.url}/status/500") as second:
            await second.read()
        await interaction.response.send_message("answer")
        raise KeyError("keeps the trace")

    async with watching(ready_bot, Arrivals, SlashCommands, HttpClients) as surfaces:
        await (await discord_server.interact(discord_server.owner.slash("ask"))).answered()
        traces = surfaces[0].context.tracker.traces
        async with asyncio.timeout(20):
            while not traces:
                await asyncio.sleep(0.01)
    first, second = bars_of(traces[0].duration_us, traces[0].spans)
    assert [(bar.span.service, bar.span.operation, bar.depth) for bar in (first, second)] == [
        (HERE, "GET", 0),
        (HERE, "POST", 0),
    ]
    assert second.span.outcome is Outcome.UPSTREAM
    assert first.left + first.width <= second.left
