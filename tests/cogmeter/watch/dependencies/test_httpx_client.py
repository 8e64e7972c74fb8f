"""Requests of httpx's clients, sync and async, are recorded as those of aiohttp are."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap

import httpx
import pytest

from cogmeter.recording import tracing
from cogmeter.recording.background import detached
from cogmeter.recording.frames import place_of
from cogmeter.recording.operation import now_ns
from cogmeter.watch.dependencies.http import HttpClients
from cogmeter.watch.hook import HookState
from cogmeter_storage.model import Outcome

HERE = "http.127.0.0.1"
HOOKED = ((httpx.Client, "send"), (httpx.AsyncClient, "send"))
HOOKED += ((httpx.Client, "_send_single_request"), (httpx.AsyncClient, "_send_single_request"))


class Clients:
    """One way to use httpx for all tests: ``await get(url)``, and ``await lines(url)`` of a streamed answer."""

    def __init__(self, *, sync: bool) -> None:
        self.sync = sync

    async def get(self, url, method="GET", **options):
        if self.sync:
            return await asyncio.to_thread(self._get, url, method, options)
        async with httpx.AsyncClient(trust_env=False, **options) as client:
            return await client.request(method, url)

    async def lines(self, url, **options):
        if self.sync:
            return await asyncio.to_thread(self._lines, url, options)
        async with httpx.AsyncClient(trust_env=False, **options) as client, client.stream("POST", url) as answer:
            return [line async for line in answer.aiter_lines() if line]

    @staticmethod
    def _get(url, method, options):
        with httpx.Client(trust_env=False, **options) as client:
            return client.request(method, url)

    @staticmethod
    def _lines(url, options):
        with httpx.Client(trust_env=False, **options) as client, client.stream("POST", url) as answer:
            return [line for line in answer.iter_lines() if line]


@pytest.fixture(params=[False, True], ids=["async", "sync"])
def clients(request) -> Clients:
    return Clients(sync=request.param)


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (200, Outcome.OK, None),
        (404, Outcome.ERROR, "HTTP 404 Not Found"),
        (429, Outcome.UPSTREAM, "HTTP 429 Too Many Requests"),
        (500, Outcome.UPSTREAM, "HTTP 500 Internal Server Error"),
    ],
)
async def test_a_request_is_one_operation_of_its_host(surface, clients, service, recorded, status, outcome, error):
    answer = await clients.get(f"{service.url}/status/{status}?key=secret", "PUT")
    assert (type(answer), len(answer.content)) == (httpx.Response, 100)
    (sent,) = recorded()
    assert (sent.service, sent.operation, sent.outcome, sent.error) == (HERE, "PUT", outcome, error)
    assert sent.metadata.keys() - {"called_from"} == {"status", "first_byte_ms"}
    assert sent.metadata.get("called_from", "").startswith(place_of(__file__)[0]) is outcome.failed
    assert sent.metadata["status"] == status


async def test_a_read_answer_has_the_time_of_its_headers(surface, clients, service, recorded):
    await clients.get(f"{service.url}/stream")
    (sent,) = recorded()
    assert sent.duration_ms >= 60
    assert sent.metadata["first_byte_ms"] <= sent.duration_ms - 50


async def test_a_streamed_answer_counts_to_its_end(surface, clients, service, recorded):
    assert await clients.lines(f"{service.url}/stream") == ["data: 0", "data: 1", "data: 2"]
    (sent,) = recorded()
    assert (sent.operation, sent.outcome) == ("POST", Outcome.OK)
    assert sent.duration_ms >= 60
    assert sent.metadata["first_byte_ms"] <= sent.duration_ms - 50


@pytest.mark.parametrize("how", ["aiter_lines", "aiter_text", "aiter_bytes", "aiter_raw", "aread"])
async def test_every_way_to_read_a_stream_works_and_is_recorded_once(surface, service, recorded, how):
    async with httpx.AsyncClient(trust_env=False) as client, client.stream("GET", f"{service.url}/stream") as answer:
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        if how == "aread":
            assert b"data: 2" in await answer.aread()
        else:
            parts = getattr(answer, how)()
            assert hasattr(parts, "aclose")  # an async generator, as httpx returns it
            assert [part async for part in parts]
        assert answer.is_closed
        assert answer.elapsed.total_seconds() > 0
    assert [one.outcome for one in recorded()] == [Outcome.OK]


async def test_a_reader_that_stops_early_is_no_failure_of_the_host(surface, service, recorded):
    async with httpx.AsyncClient(trust_env=False) as client:
        async with client.stream("GET", f"{service.url}/endless") as answer:
            async for _ in answer.aiter_lines():
                break
            assert recorded() == []
        with pytest.raises(ZeroDivisionError):
            async with client.stream("GET", f"{service.url}/endless"):
                raise ZeroDivisionError
    assert [(one.outcome, one.metadata["status"]) for one in recorded()] == [(Outcome.OK, 200)] * 2


async def test_an_answer_that_nobody_closes_ends_when_it_is_collected(surface, service, recorded):
    client = httpx.AsyncClient(trust_env=False)
    answer = await client.send(client.build_request("GET", f"{service.url}/endless"), stream=True)
    assert recorded() == []
    del answer
    gc.collect()
    assert [one.outcome for one in recorded()] == [Outcome.OK]
    await client.aclose()


async def test_a_refused_connection_is_upstream_and_its_text_has_no_address(surface, clients, nobody, recorded):
    with pytest.raises(httpx.ConnectError):
        await clients.get(f"{nobody}/path?key=secret")
    (sent,) = recorded()
    assert (sent.service, sent.outcome, sent.metadata.keys()) == (HERE, Outcome.UPSTREAM, {"called_from"})
    assert sent.error.startswith("ConnectError: ")
    assert not any(character.isdigit() for character in sent.error)


@pytest.mark.parametrize(("path", "known"), [("hang", set()), ("endless", {"status", "first_byte_ms"})])
async def test_a_timeout_is_upstream_before_and_within_the_answer(surface, clients, service, recorded, path, known):
    for read in (clients.get, clients.lines):
        with pytest.raises(httpx.ReadTimeout):
            await read(f"{service.url}/{path}", timeout=httpx.Timeout(60, read=0.1))
    assert [(one.outcome, one.metadata.keys()) for one in recorded()] == [
        (Outcome.UPSTREAM, known | {"called_from"})
    ] * 2
    assert {one.error.partition(":")[0] for one in recorded()} == {"ReadTimeout"}


async def test_a_body_that_breaks_off_is_upstream(surface, clients, service, recorded):
    for read in (clients.get, clients.lines):
        with pytest.raises(httpx.RemoteProtocolError):
            await read(f"{service.url}/broken")
    assert [(one.outcome, one.metadata["status"]) for one in recorded()] == [(Outcome.UPSTREAM, 200)] * 2


@pytest.mark.parametrize("path", ["hang", "endless"])
async def test_a_cancelled_request_is_cancelled_before_and_within_the_answer(surface, service, recorded, path):
    for read in (Clients(sync=False).get, Clients(sync=False).lines):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read(f"{service.url}/{path}")
    assert [one.outcome for one in recorded()] == [Outcome.CANCELLED] * 2


async def test_a_redirect_is_part_of_the_operation(surface, clients, service, recorded):
    answer = await clients.get(f"{service.url}/redirect", follow_redirects=True)
    assert len(answer.history) == 1
    with pytest.raises(httpx.TooManyRedirects):
        await clients.get(f"{service.url}/circle", follow_redirects=True)
    followed, circle = recorded()
    assert (followed.service, followed.metadata["status"]) == (HERE, 200)
    assert circle.outcome is Outcome.UPSTREAM


async def test_each_attempt_of_a_client_is_its_own_operation(surface, clients, service, recorded):
    for _ in range(3):
        await clients.get(f"{service.url}/status/503")
    assert [one.metadata["status"] for one in recorded()] == [503, 503, 503]


async def test_what_was_never_sent_is_the_hosts_error(surface, clients, service, recorded):
    with pytest.raises(httpx.UnsupportedProtocol):
        await clients.get("ftp://example.invalid/file")
    assert [(one.service, one.outcome) for one in recorded()] == [("http.example.invalid", Outcome.ERROR)]


async def test_a_host_keeps_its_encoded_name(surface, recorded):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.path))
    async with httpx.AsyncClient(transport=transport) as client:
        for host in ("BÜCHER.example:8443", "[2001:db8::1]:80", "user:password@API.example."):
            assert (await client.get(f"https://{host}/path")).text == "/path"
    assert [one.service for one in recorded()] == ["http.xn--bcher-kva.example", "http.2001:db8::1", "http.api.example"]


async def test_own_requests_are_not_recorded(surface, clients, service, recorded):
    await detached(clients.get(f"{service.url}/status/200"), name="cogmeter-test")
    assert recorded() == []


async def test_a_request_is_a_span_of_its_trace_also_from_a_thread(surface, clients, service):
    trace = tracing.Trace("ask", now_ns())
    token = tracing.begin(trace)
    await clients.lines(f"{service.url}/stream")
    tracing.end(token)
    (span,) = trace.spans
    assert (span.service, span.operation, span.parent) == (HERE, "POST", 0)
    assert span.duration_ns >= 60e6


async def test_removal_restores_httpx_exactly(watching, bot):
    before = [vars(owner)[name] for owner, name in HOOKED]
    for _ in range(100):
        async with watching(bot, HttpClients):
            assert not any(vars(owner)[name] in before for owner, name in HOOKED)
    assert [vars(owner)[name] for owner, name in HOOKED] == before


async def test_below_anothers_patch_the_hook_only_passes_on(watching, bot, service, recorded, monkeypatch):
    with monkeypatch.context() as patch:
        async with watching(bot, HttpClients) as surface:
            ours = httpx.AsyncClient.send

            async def theirs(*arguments, **options):
                return await ours(*arguments, **options)

            patch.setattr(httpx.AsyncClient, "send", theirs)
        assert [hook.state for hook in surface.hooks].count(HookState.BURIED) == 1
        assert await Clients(sync=False).lines(f"{service.url}/stream")
        assert recorded() == []
        async with watching(bot, HttpClients):
            assert await Clients(sync=False).lines(f"{service.url}/stream")
    assert len(recorded()) == 1


async def test_an_internal_error_is_counted_and_the_request_continues(surface, clients, service, monkeypatch):
    for name in ("begin", "record"):
        with monkeypatch.context() as patch:
            patch.setattr(type(surface._httpx._requests), name, lambda *_: 1 / 0)
            assert len(await clients.lines(f"{service.url}/stream")) == 3
    assert sum(hook.faults for hook in surface.hooks) == 2


def test_httpx_is_hooked_when_the_host_imports_it_later_and_never_imported_here():
    code = """
        import asyncio, sys
        import discord
        from discord.ext import commands
        from cogmeter.recording.recorder import Recorder
        from cogmeter.settings import Settings
        from cogmeter.watch.dependencies.http import HttpClients
        from cogmeter.watch.interactions.tracker import InteractionTracker
        from cogmeter.watch.surface import WatchContext

        async def main():
            recorder = Recorder()
            bot = commands.Bot("!", intents=discord.Intents.none())
            tracker = InteractionTracker(recorder, slow_ms=1)
            surface = HttpClients(WatchContext(bot, Settings(_env_file=None), recorder, tracker))
            await surface.install()
            surface.sample()
            print("httpx" in sys.modules, len(surface.hooks))
            import httpx
            surface.sample(), surface.sample()
            print(len(surface.hooks), all(hook.active for hook in surface.hooks))
            transport = httpx.MockTransport(lambda request: httpx.Response(204))
            async with httpx.AsyncClient(transport=transport) as client:
                await client.get("https://later.example/")
            print(recorder.names[-1])
            await surface.remove()
            print(any(hook.active for hook in surface.hooks))

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == ["False 1", "5 True", "('http.later.example', 'GET')", "False"]
