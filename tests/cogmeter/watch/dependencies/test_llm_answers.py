"""PERFORMANCE_WATCH_LLM: tokens in the answers of known AI hosts, read by httpx without any code of the host."""

from __future__ import annotations

import gzip
import itertools
import json

import httpx
import pytest

import cogmeter
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.watch.dependencies.http import HttpClients
from cogmeter.watch.dependencies.llm_answers import is_known
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.surface import WatchContext

OPENAI = "https://api.openai.com/v1/chat/completions"
numbers = itertools.count()


def answer():
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    return {
        "id": f"chatcmpl-watched-{next(numbers)}",
        "model": "gpt-4o",
        "choices": [{"finish_reason": "stop"}],
        "usage": usage,
    }


def events():
    """The bytes of a stream."""
    whole = answer()
    parts = [
        {**whole, "choices": [{"delta": {"content": "H\u00e9"}}], "usage": None},
        {**whole, "choices": [{"delta": {"content": " there"}, "finish_reason": "stop"}], "usage": None},
        {**whole, "choices": []},
    ]
    lines = [f"data: {json.dumps(part, ensure_ascii=False)}\n\n" for part in parts]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


@pytest.fixture
async def watching():
    """Watch requests with the setting on or off; returns the recorder."""
    surfaces = []

    async def watch(*, llm=True):
        recorder = Recorder()
        settings = Settings(_env_file=None, watch_llm=llm)
        context = WatchContext.__new__(WatchContext)
        context.settings, context.recorder = settings, recorder
        context.tracker = InteractionTracker(recorder, slow_ms=1_000)
        surface = HttpClients(context)
        await surface.install()
        surfaces.append(surface)
        return recorder

    yield watch
    for surface in surfaces:
        for hook in reversed(surface.hooks):
            hook.remove()


def client(body, kind="application/json", **headers):
    """An httpx client whose network returns this body, in small pieces."""

    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self):
            for at in range(0, len(body), 7):
                yield body[at : at + 7]

    def respond(_request):
        return httpx.Response(200, headers={"content-type": kind, **headers}, stream=Pieces())

    return httpx.AsyncClient(transport=httpx.MockTransport(respond))


def metadata(recorder):
    (found,) = [extra[1] for extra in recorder.buffer.rows[4::5]]
    return {name: found.get(name) for name in ("model", "tokens_in", "tokens_out", "finish", "status")}


READ = {"model": "gpt-4o", "tokens_in": 12, "tokens_out": 3, "finish": "stop", "status": 200}


async def test_the_tokens_of_a_json_answer_are_read(watching):
    recorder, body = await watching(), json.dumps(answer()).encode()
    async with client(body) as one:
        response = await one.post(OPENAI)
    assert response.content == body
    assert metadata(recorder) == READ


async def test_the_tokens_of_a_stream_are_read_and_its_bytes_stay_the_same(watching):
    recorder, body = await watching(), events()
    async with client(body, "text/event-stream; charset=utf-8") as one, one.stream("POST", OPENAI) as response:
        raw = [part async for part in response.aiter_raw()]
    assert b"".join(raw) == body
    assert {len(part) for part in raw[:-1]} == {7}
    assert metadata(recorder) == READ


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_compressed_answer_is_read_too(watching, kind):
    recorder, body = await watching(), events() if "event" in kind else json.dumps(answer()).encode()
    headers = {"content-encoding": "gzip"}
    async with client(gzip.compress(body), kind, **headers) as one, one.stream("POST", OPENAI) as response:
        assert b"".join([part async for part in response.aiter_bytes()]) == body
    assert metadata(recorder) == READ


async def test_a_stream_that_its_reader_leaves_is_cut(watching):
    recorder = await watching()
    start = {
        "type": "message_start",
        "message": {"id": "msg_cut", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 9, "output_tokens": 1}},
    }
    body = f"event: message_start\ndata: {json.dumps(start)}\n\n".encode() + b"event: ping\ndata: {}\n\n" * 50
    async with (
        client(body, "text/event-stream") as one,
        one.stream("POST", "https://api.anthropic.com/v1/messages") as response,
    ):
        read = 0
        async for part in response.aiter_raw():
            read += len(part)
            if read > 400:
                break
    assert metadata(recorder) == {
        "model": "claude-sonnet-4-5",
        "tokens_in": 9,
        "tokens_out": 1,
        "finish": "cut",
        "status": 200,
    }


@pytest.mark.parametrize(
    ("llm", "url", "body"),
    [
        (False, OPENAI, json.dumps(answer()).encode()),
        (True, "https://example.org/v1/chat/completions", json.dumps(answer()).encode()),
        (True, "https://api.openai.com.example.org/v1", json.dumps(answer()).encode()),
        (True, OPENAI, b"{" * 5_000),
        (True, OPENAI, b"\xff\xfe not JSON"),
        (True, OPENAI, b""),
        (True, OPENAI, b'{"usage": {"prompt_tokens": 9}}' + b" " * 1_100_000),
    ],
)
async def test_nothing_is_read_otherwise(watching, llm, url, body):
    recorder = await watching(llm=llm)

    def respond(_request):
        return httpx.Response(200, headers={"content-type": "application/json"}, content=body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as one:
        assert (await one.post(url)).content == body
    assert metadata(recorder)["tokens_in"] is None


async def test_a_response_that_the_host_passes_to_usage_is_counted_once(watching):
    recorder, own = await watching(), Recorder()
    body = answer()
    async with client(json.dumps(body).encode()) as one:
        with own.operation("ai", "chat"):
            cogmeter.usage((await one.post(OPENAI)).json())
    assert metadata(recorder) == READ
    assert own.buffer.rows[4::5] == [None]


def test_known_hosts_have_regions_and_customers():
    assert is_known("europe-west1-aiplatform.googleapis.com")
    assert is_known("mine.openai.azure.com")
    assert not is_known("openai.azure.com.example.org")
