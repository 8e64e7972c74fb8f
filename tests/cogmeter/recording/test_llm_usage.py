"""``cogmeter.usage``: responses and streams of providers, in the shapes of their API documents."""

from __future__ import annotations

import enum
import itertools
from types import SimpleNamespace

import pytest

import cogmeter
from cogmeter.recording.recorder import Recorder
from cogmeter.recording.usage_reader import UsageReader

numbers = itertools.count()


class FinishReason(enum.Enum):
    """As in the client of Google."""

    SAFETY = "SAFETY"


def objects(value):
    """The same as objects with attributes, as the providers' clients return it."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: objects(member) for name, member in value.items()})
    return [objects(one) for one in value] if isinstance(value, list) else value


def read(*parts, cut=False):
    """What is stored of a response, or of the parts of a stream."""
    found = UsageReader()
    for part in parts:
        found.feed(part)
    usage = found.result(cut=cut)
    return None if usage is None else usage.metadata()


def stored(model, tokens_in, tokens_out, **more):
    return {"model": model, "tokens_in": tokens_in, "tokens_out": tokens_out, **more}


OPENAI = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06"}
CHUNK = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "model": "gpt-4o-2024-08-06"}
CLAUDE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
GEMINI = {"responseId": "r1", "modelVersion": "gemini-2.5-flash"}

RESPONSES = {
    "OpenAI": (
        OPENAI
        | {
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "Hi", "refusal": None},
                }
            ],
            "usage": {
                "prompt_tokens": 1_200,
                "completion_tokens": 90,
                "total_tokens": 1_290,
                "prompt_tokens_details": {"cached_tokens": 1_024, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 64},
            },
        },
        stored("gpt-4o-2024-08-06", 1_200, 90, cached_tokens=1_024, finish="stop"),
    ),
    "OpenAI, tool calls": (
        OPENAI
        | {
            "choices": [
                {
                    "finish_reason": "tool_calls",
                    "message": {
                        "content": None,
                        "tool_calls": [
                            {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                        ],
                    },
                }
            ],
            "usage": {"prompt_tokens": 82, "completion_tokens": 17, "total_tokens": 99},
        },
        stored("gpt-4o-2024-08-06", 82, 17, finish="tool_calls"),
    ),
    "OpenAI, refused": (
        OPENAI
        | {
            "choices": [{"finish_reason": "stop", "message": {"content": None, "refusal": "I cannot help with that."}}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28},
        },
        stored("gpt-4o-2024-08-06", 20, 8, finish="refused"),
    ),
    "OpenAI, cut": (
        OPENAI
        | {
            "choices": [{"finish_reason": "length", "message": {"content": "It"}}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 1},
        },
        stored("gpt-4o-2024-08-06", 20, 1, finish="cut"),
    ),
    "OpenAI, embeddings": (
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [],
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
        stored("text-embedding-3-small", 8, 0),
    ),
    "OpenAI's responses": (
        {
            "id": "resp_1",
            "object": "response",
            "model": "gpt-5",
            "status": "completed",
            "incomplete_details": None,
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
            "usage": {
                "input_tokens": 75,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens": 1_186,
                "output_tokens_details": {"reasoning_tokens": 1_024},
                "total_tokens": 1_261,
            },
        },
        stored("gpt-5", 75, 1_186, cached_tokens=64, finish="stop"),
    ),
    "OpenAI's responses, cut": (
        {
            "id": "resp_2",
            "object": "response",
            "model": "gpt-5",
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [],
            "usage": {"input_tokens": 75, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 16},
        },
        stored("gpt-5", 75, 16, finish="cut"),
    ),
    "OpenAI's responses, a function": (
        {
            "id": "resp_3",
            "object": "response",
            "model": "gpt-5",
            "status": "completed",
            "output": [{"type": "function_call", "name": "look", "arguments": "{}"}],
            "usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 6},
        },
        stored("gpt-5", 5, 6, finish="tool_calls"),
    ),
    "Anthropic, cached": (
        CLAUDE
        | {
            "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "Hi"}],
            "usage": {
                "input_tokens": 21,
                "cache_creation_input_tokens": 188,
                "cache_read_input_tokens": 1_000,
                "output_tokens": 393,
            },
        },
        stored("claude-sonnet-4-5", 1_209, 393, cached_tokens=1_000, cache_write_tokens=188, finish="stop"),
    ),
    "Anthropic, tool calls": (
        CLAUDE
        | {
            "stop_reason": "tool_use",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
            "usage": {"input_tokens": 472, "output_tokens": 89},
        },
        stored("claude-sonnet-4-5", 472, 89, finish="tool_calls"),
    ),
    "Anthropic, refused": (
        CLAUDE | {"stop_reason": "refusal", "content": [], "usage": {"input_tokens": 9, "output_tokens": 2}},
        stored("claude-sonnet-4-5", 9, 2, finish="refused"),
    ),
    "Anthropic, cut": (
        CLAUDE | {"stop_reason": "max_tokens", "usage": {"input_tokens": 9, "output_tokens": 1_024}},
        stored("claude-sonnet-4-5", 9, 1_024, finish="cut"),
    ),
    "Gemini, cached, with thoughts": (
        GEMINI
        | {
            "candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 2_000,
                "cachedContentTokenCount": 1_500,
                "candidatesTokenCount": 30,
                "thoughtsTokenCount": 120,
                "toolUsePromptTokenCount": 10,
                "totalTokenCount": 2_160,
            },
        },
        stored("gemini-2.5-flash", 2_010, 150, cached_tokens=1_500, finish="stop"),
    ),
    "Gemini, tool calls": (
        GEMINI
        | {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"name": "look", "args": {}}}]}, "finishReason": "STOP"}
            ],
            "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 12, "totalTokenCount": 62},
        },
        stored("gemini-2.5-flash", 50, 12, finish="tool_calls"),
    ),
    "Gemini, refused": (
        GEMINI
        | {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}},
        stored("gemini-2.5-flash", 9, 0, finish="refused"),
    ),
    "Gemini, cut": (
        GEMINI
        | {
            "candidates": [{"finishReason": "MAX_TOKENS"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 64},
        },
        stored("gemini-2.5-flash", 9, 64, finish="cut"),
    ),
    "Gemini's Python client": (
        {
            "response_id": "r2",
            "model_version": "gemini-2.5-pro",
            "candidates": [{"finish_reason": FinishReason.SAFETY, "content": None}],
            "usage_metadata": {"prompt_token_count": 7, "candidates_token_count": None, "thoughts_token_count": 3},
        },
        stored("gemini-2.5-pro", 7, 3, finish="refused"),
    ),
    "LiteLLM": (
        OPENAI
        | {
            "model": "anthropic/claude-sonnet-4-5",
            "choices": [{"finish_reason": "stop", "message": {"content": "Hi"}}],
            "usage": {
                "prompt_tokens": 1_209,
                "completion_tokens": 5,
                "cache_read_input_tokens": 1_000,
                "cache_creation_input_tokens": 188,
                "prompt_tokens_details": {"cached_tokens": 1_000},
            },
            "_hidden_params": {"response_cost": 0.00123},
        },
        stored(
            "anthropic/claude-sonnet-4-5",
            1_209,
            5,
            cached_tokens=1_000,
            cache_write_tokens=188,
            cost_usd=0.00123,
            finish="stop",
        ),
    ),
    "DeepSeek, cached": (
        OPENAI
        | {
            "model": "deepseek-chat",
            "choices": [{"finish_reason": "stop", "message": {"content": "Hi"}}],
            "usage": {
                "prompt_tokens": 300,
                "completion_tokens": 4,
                "prompt_cache_hit_tokens": 256,
                "prompt_cache_miss_tokens": 44,
            },
        },
        stored("deepseek-chat", 300, 4, cached_tokens=256, finish="stop"),
    ),
    "Mistral, cut": (
        OPENAI
        | {
            "model": "mistral-large-latest",
            "choices": [{"finish_reason": "model_length", "message": {"content": "Hi"}}],
            "usage": {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34},
        },
        stored("mistral-large-latest", 30, 4, finish="cut"),
    ),
    "Ollama": (
        {
            "model": "llama3.2",
            "message": {"role": "assistant", "content": "Hi"},
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 26,
            "eval_count": 298,
        },
        stored("llama3.2", 26, 298, finish="cut"),
    ),
    "Bedrock": (
        {
            "stopReason": "guardrail_intervened",
            "output": {"message": {"content": []}},
            "usage": {
                "inputTokens": 30,
                "outputTokens": 5,
                "totalTokens": 135,
                "cacheReadInputTokens": 100,
                "cacheWriteInputTokens": 0,
            },
        },
        stored("", 130, 5, cached_tokens=100, finish="refused"),
    ),
    "Cohere": (
        {
            "id": "c1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": []},
            "usage": {
                "billed_units": {"input_tokens": 5, "output_tokens": 418},
                "tokens": {"input_tokens": 71, "output_tokens": 418},
            },
        },
        stored("", 5, 418, finish="stop"),
    ),
}

STREAMS = {
    "OpenAI": (
        [
            CHUNK
            | {
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
                "usage": None,
            },
            CHUNK | {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}], "usage": None},
            CHUNK | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None},
            CHUNK
            | {
                "choices": [],
                "usage": {"prompt_tokens": 19, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 0}},
            },
        ],
        stored("gpt-4o-2024-08-06", 19, 10, finish="stop"),
    ),
    "OpenAI, tool calls": (
        [
            CHUNK
            | {
                "choices": [
                    {
                        "delta": {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "look"}}]},
                        "finish_reason": None,
                    }
                ]
            },
            CHUNK | {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
            CHUNK | {"choices": [], "usage": {"prompt_tokens": 19, "completion_tokens": 10}},
        ],
        stored("gpt-4o-2024-08-06", 19, 10, finish="tool_calls"),
    ),
    "OpenAI's responses": (
        [
            {
                "type": "response.created",
                "response": {"id": "resp_9", "model": "gpt-5", "status": "in_progress", "output": [], "usage": None},
            },
            {"type": "response.output_text.delta", "delta": "Hi"},
            {
                "type": "response.completed",
                "response": {
                    "id": "resp_9",
                    "model": "gpt-5",
                    "status": "completed",
                    "output": [{"type": "message", "content": []}],
                    "usage": {"input_tokens": 37, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 11},
                },
            },
        ],
        stored("gpt-5", 37, 11, finish="stop"),
    ),
    "Anthropic, cached": (
        [
            {
                "type": "message_start",
                "message": CLAUDE
                | {
                    "id": "msg_9",
                    "stop_reason": None,
                    "usage": {
                        "input_tokens": 25,
                        "cache_read_input_tokens": 100,
                        "cache_creation_input_tokens": 50,
                        "output_tokens": 1,
                    },
                },
            },
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 15},
            },
            {"type": "message_stop"},
        ],
        stored("claude-sonnet-4-5", 175, 15, cached_tokens=100, cache_write_tokens=50, finish="stop"),
    ),
    "Gemini": (
        [
            GEMINI
            | {
                "candidates": [{"content": {"parts": [{"text": "H"}]}}],
                "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 1},
            },
            GEMINI
            | {
                "candidates": [{"content": {"parts": [{"text": "i"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 9, "thoughtsTokenCount": 4},
            },
        ],
        stored("gemini-2.5-flash", 8, 13, finish="stop"),
    ),
    "Ollama": (
        [
            {"model": "llama3.2", "message": {"content": "Hi"}, "done": False},
            {
                "model": "llama3.2",
                "message": {"content": ""},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 2,
                "eval_count": 3,
            },
        ],
        stored("llama3.2", 2, 3, finish="stop"),
    ),
}


@pytest.mark.parametrize("shape", [dict, objects], ids=["JSON", "objects"])
@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_read(name, shape):
    response, expected = RESPONSES[name]
    assert read(shape(response)) == expected


@pytest.mark.parametrize("shape", [dict, objects], ids=["JSON", "objects"])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read(name, shape):
    parts, expected = STREAMS[name]
    assert read(*map(shape, parts)) == expected


def test_a_stream_that_was_cut_has_the_tokens_that_it_had_until_then():
    assert read(*STREAMS["Anthropic, cached"][0][:2], cut=True) == stored(
        "claude-sonnet-4-5", 175, 1, cached_tokens=100, cache_write_tokens=50, finish="cut"
    )
    assert read(*STREAMS["OpenAI"][0][:2], cut=True) is None  # OpenAI sends tokens at the end only


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        5,
        "text",
        b"bytes",
        [],
        {},
        object(),
        {"usage": 5},
        {"usage": {"prompt_tokens": -1}},
        {"usage": {"prompt_tokens": "9"}},
        {"usage": {"prompt_tokens": True}},
        {"usage": {"prompt_tokens": 10**12}},
        {"choices": 5, "usage": {}},
    ],
)
def test_what_is_no_response_is_returned_and_counts_nothing(nonsense):
    with cogmeter.operation("ai", "nonsense"):
        assert cogmeter.usage(nonsense) is nonsense
    assert read(nonsense) is None


class Hostile:
    @property
    def usage(self):
        raise RuntimeError("an attribute of the host")


def test_an_object_that_raises_does_not_raise_into_the_host():
    hostile = Hostile()
    assert cogmeter.usage(hostile) is hostile


@pytest.fixture
def recorder():
    return Recorder()


def metadata(recorder):
    return [extra and extra[1] for extra in recorder.buffer.rows[4::5]]


def response(model="gpt-4o", tokens_in=10, tokens_out=1, **more):
    """A response with an id of its own."""
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    return {"id": f"chatcmpl-own-{next(numbers)}", "model": model, "usage": usage, **more}


def test_the_current_operation_gets_it_and_several_are_added_up(recorder):
    with recorder.operation("ai", "chat"):
        for _ in range(2):
            cogmeter.usage(response())
        cogmeter.usage(response("other", 3, 4))
        cogmeter.usage(response("other", 3, 4))
    assert metadata(recorder) == [stored("gpt-4o", 20, 2, more_usage=[stored("other", 6, 8)])]


def test_the_same_response_is_counted_once(recorder):
    same = response()
    with recorder.operation("ai", "chat"):
        assert cogmeter.usage(same) is same
        cogmeter.usage(same)
    assert metadata(recorder) == [stored("gpt-4o", 10, 1)]


class Stream:
    """A stream like those of the clients: iterable, closable, a context manager, with attributes of its own."""

    def __init__(self, parts):
        self.parts, self.closed, self.response = iter(parts), False, "the HTTP response"

    def __iter__(self):
        return self.parts

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def close(self):
        self.closed = True


def parts():
    model = {"id": f"chatcmpl-own-{next(numbers)}", "model": "gpt-4o"}
    return [
        model | {"choices": [{"delta": {"content": "Hi"}}]},
        model | {"usage": {"prompt_tokens": 5, "completion_tokens": 2}},
    ]


def test_a_stream_passes_on_the_same_items_and_behaves_like_the_original(recorder):
    items, stream = parts(), None
    with recorder.operation("ai", "chat"):
        original = Stream(items)
        with cogmeter.usage(original) as stream:
            assert stream.response == "the HTTP response"
            assert [*map(id, stream)] == [*map(id, items)]
        assert original.closed
    assert metadata(recorder) == [stored("gpt-4o", 5, 2)]


async def test_an_async_stream_is_counted_when_its_reader_stops(recorder):
    async def generated():
        for part in [*parts(), {"never": "read"}]:
            yield part

    async with recorder.operation("ai", "chat"):
        stream = cogmeter.usage(generated())
        async for part in stream:
            if "usage" in part:
                break
        await stream.aclose()
    assert metadata(recorder) == [stored("gpt-4o", 5, 2, finish="cut")]


async def test_a_stream_that_fails_raises_its_own_error(recorder):
    async def failing():
        for part in parts():
            yield part
        raise ConnectionError("gone")

    async with recorder.operation("ai", "chat"):
        with pytest.raises(ConnectionError, match="gone"):
            [part async for part in cogmeter.usage(failing())]
    assert metadata(recorder) == [stored("gpt-4o", 5, 2, finish="cut")]
