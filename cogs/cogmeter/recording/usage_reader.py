"""Reads model, tokens and the way it ended from a response of a language model, by its shape: no client is imported.

Objects of the providers' clients, parsed JSON, and the items of streams of both. The shapes are those of the
providers' API documents: OpenAI (chat completions, responses, embeddings) and the many that copy it, Anthropic, Gemini,
Bedrock (converse), Ollama, Cohere, and LiteLLM, which also states the cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_TOKENS: Final = 10**9

STOP, TOOLS, CUT, REFUSED = "stop", "tool_calls", "cut", "refused"
_ENDS: Final = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "completed", "complete", "pause_turn", "eos"), STOP),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call", "tool_call"), TOOLS),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "incomplete", "model_length"), CUT),
    **dict.fromkeys(("model_context_window_exceeded", "error_limit", "error"), CUT),
    **dict.fromkeys(("content_filter", "content_filtered", "refusal", "guardrail_intervened", "safety"), REFUSED),
    **dict.fromkeys(("recitation", "blocklist", "prohibited_content", "spii", "image_safety", "error_toxic"), REFUSED),
}


@dataclass(slots=True)
class LlmUsage:
    """What a response says of its tokens. ``tokens_in`` includes those of the cache."""

    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0  # reasoning included
    cached_tokens: int = 0  # read from the cache
    cache_write_tokens: int = 0
    finish: str = ""  # stop, tool_calls, cut, refused
    cost_usd: float | None = None  # as LiteLLM states it
    id: str = ""

    def metadata(self) -> dict[str, Any]:
        """Return what is stored with the operation."""
        values: dict[str, Any] = {"model": self.model, "tokens_in": self.tokens_in, "tokens_out": self.tokens_out}
        optional = {
            "cached_tokens": self.cached_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "cost_usd": self.cost_usd,
            "finish": self.finish,
        }
        return {name: value for name, value in (*values.items(), *optional.items()) if value or name in values}


class UsageReader:
    """Reads the usage of one response from its parts: the whole response, or the items of its stream."""

    def __init__(self) -> None:
        self._usage = LlmUsage()
        self._known = False  # some part had tokens
        self._tools = False
        self._refused = False

    def feed(self, part: Any) -> None:
        """Read one part; what it does not know is ignored. May raise what the attributes of the host's object raise."""
        for name in ("response", "message"):  # events of OpenAI's responses, and of Anthropic's messages
            inner = _get(part, name)
            if inner is not None and _get(inner, "usage") is not None:
                self._read(inner)
        self._read(part)

    def result(self, *, cut: bool = False) -> LlmUsage | None:
        """Return the usage; None if no part had tokens. ``cut``: the stream ended early."""
        if not self._known or not any((self._usage.tokens_in, self._usage.tokens_out, self._usage.cost_usd)):
            return None
        if self._refused:
            self._usage.finish = REFUSED
        elif self._tools and self._usage.finish in {"", STOP}:
            self._usage.finish = TOOLS
        if cut and not self._usage.finish:
            self._usage.finish = CUT
        return self._usage

    def _read(self, part: Any) -> None:
        found = self._usage
        found.model = _text(part, "model") or _text(part, "modelVersion", "model_version") or found.model
        found.id = found.id or _text(part, "id") or _text(part, "responseId", "response_id")
        cost = _get(_get(part, "_hidden_params"), "response_cost")  # LiteLLM
        if isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0:
            found.cost_usd = float(cost)
        self._read_end(part)
        tokens = _get(part, "usage")
        if tokens is None:
            tokens = _get(part, "usageMetadata", "usage_metadata")
        if tokens is not None:
            self._read_tokens(tokens)
        elif _get(part, "prompt_eval_count") is not None or _get(part, "eval_count") is not None:  # Ollama
            self._set(tokens_in=_count(part, "prompt_eval_count"), tokens_out=_count(part, "eval_count"))

    def _read_tokens(self, tokens: Any) -> None:
        prompt = _count(tokens, "prompt_tokens")
        if prompt is not None or _count(tokens, "completion_tokens") is not None:
            self._read_openai(tokens, prompt)
        elif _count(tokens, "promptTokenCount", "prompt_token_count") is not None:
            self._read_gemini(tokens)
        elif _count(tokens, "inputTokens") is not None or _count(tokens, "outputTokens") is not None:  # Bedrock
            read, written = _count(tokens, "cacheReadInputTokens"), _count(tokens, "cacheWriteInputTokens")
            self._set_beside_cache(_count(tokens, "inputTokens"), _count(tokens, "outputTokens"), read, written)
        elif _get(tokens, "billed_units") is not None or _get(tokens, "tokens") is not None:  # Cohere
            billed = _get(tokens, "billed_units") or _get(tokens, "tokens")
            self._set(tokens_in=_count(billed, "input_tokens"), tokens_out=_count(billed, "output_tokens"))
        elif _count(tokens, "input_tokens") is not None or _count(tokens, "output_tokens") is not None:
            self._read_input_output(tokens)

    def _read_openai(self, tokens: Any, prompt: int | None) -> None:
        """Read the usage of chat completions; DeepSeek names cached tokens in its own way."""
        cached = _count(_get(tokens, "prompt_tokens_details"), "cached_tokens")
        cached = _count(tokens, "prompt_cache_hit_tokens") if cached is None else cached
        written = _count(tokens, "cache_creation_input_tokens")  # LiteLLM, of Anthropic's models
        if not cached:
            cached = _count(tokens, "cache_read_input_tokens") or cached
        self._set(prompt, _count(tokens, "completion_tokens"), cached, written)

    def _read_gemini(self, tokens: Any) -> None:
        """Read Gemini's usage: the tokens of thoughts are output, those of tool results are input."""
        prompt = _count(tokens, "promptTokenCount", "prompt_token_count") or 0
        prompt += _count(tokens, "toolUsePromptTokenCount", "tool_use_prompt_token_count") or 0
        answered = _count(tokens, "candidatesTokenCount", "candidates_token_count") or 0
        answered += _count(tokens, "thoughtsTokenCount", "thoughts_token_count") or 0
        self._set(prompt, answered, _count(tokens, "cachedContentTokenCount", "cached_content_token_count"))

    def _read_input_output(self, tokens: Any) -> None:
        """Read the usage of Anthropic, whose input is without the cache, or of OpenAI's responses, which has it in."""
        read, written = _count(tokens, "cache_read_input_tokens"), _count(tokens, "cache_creation_input_tokens")
        details = _get(tokens, "input_tokens_details")
        if details is not None:
            cached = _count(details, "cached_tokens")
            self._set(_count(tokens, "input_tokens"), _count(tokens, "output_tokens"), cached)
        else:
            self._set_beside_cache(_count(tokens, "input_tokens"), _count(tokens, "output_tokens"), read, written)

    def _set_beside_cache(self, fresh: int | None, out: int | None, read: int | None, written: int | None) -> None:
        """Note tokens whose input is counted without the cache; a later part of a stream may have the output only."""
        found = self._usage
        read = found.cached_tokens if read is None else read
        written = found.cache_write_tokens if written is None else written
        self._set(None if fresh is None else fresh + read + written, out, read, written)

    def _set(
        self,
        tokens_in: int | None = None,
        tokens_out: int | None = None,
        cached: int | None = None,
        written: int | None = None,
    ) -> None:
        """Note the tokens: those of a stream grow from part to part, and the last ones count."""
        found, self._known = self._usage, True
        found.tokens_in = found.tokens_in if tokens_in is None else tokens_in
        found.tokens_out = found.tokens_out if tokens_out is None else tokens_out
        found.cached_tokens = found.cached_tokens if cached is None else cached
        found.cache_write_tokens = found.cache_write_tokens if written is None else written

    def _read_end(self, part: Any) -> None:
        """Note how the response ended."""
        reasons = [
            _get(part, "stop_reason"),
            _get(part, "stopReason"),
            _get(part, "finish_reason"),
            _get(part, "done_reason"),
            _get(_get(part, "delta"), "stop_reason"),
            _get(_get(part, "incomplete_details"), "reason"),
        ]
        if _get(part, "output") is not None:  # OpenAI's responses
            reasons.insert(0, _get(part, "status"))
        for choice in _items(_get(part, "choices")):
            reasons.append(_get(choice, "finish_reason"))
            for message in (_get(choice, "message"), _get(choice, "delta")):
                self._refused |= bool(_get(message, "refusal"))
                self._tools |= bool(_get(message, "tool_calls"))
        for candidate in _items(_get(part, "candidates")):
            reasons.append(_get(candidate, "finishReason", "finish_reason"))
            parts = _items(_get(_get(candidate, "content"), "parts"))
            self._tools |= any(_get(one, "functionCall", "function_call") is not None for one in parts)
        for item in _items(_get(part, "output")):
            self._tools |= _get(item, "type") == "function_call"
            self._refused |= any(_get(one, "type") == "refusal" for one in _items(_get(item, "content")))
        blocked = _get(_get(part, "promptFeedback", "prompt_feedback"), "blockReason", "block_reason")
        self._refused |= blocked is not None
        self._tools |= bool(_items(_get(_get(part, "message"), "tool_calls")))  # Ollama, Cohere
        for reason in reasons:
            text = getattr(reason, "value", reason)  # the clients of Google have enumerations
            if isinstance(text, str) and text.lower() in _ENDS:
                self._usage.finish = _ENDS[text.lower()]


# Without members that could be read: asked of most values first, because a test for a mapping is slow.
_PLAIN: Final = frozenset({type(None), str, bytes, int, float, bool, list, tuple})


def _get(owner: Any, *names: str) -> Any:
    """Return the first of these members of a mapping or object that is not None."""
    kind = type(owner)
    if kind in _PLAIN:
        return None
    is_mapping = kind is dict or isinstance(owner, Mapping)
    for name in names:
        value = owner.get(name) if is_mapping else getattr(owner, name, None)
        if value is not None:
            return value
    return None


def _text(owner: Any, *names: str) -> str:
    value = _get(owner, *names)
    return value[:100] if isinstance(value, str) else ""


def _count(owner: Any, *names: str) -> int | None:
    value = _get(owner, *names)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value)


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
