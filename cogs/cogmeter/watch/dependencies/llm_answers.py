"""Reads the tokens of answers of known AI hosts, from copies of their bytes: JSON, or server-sent events of a stream.

The host gets its bytes unchanged. Bodies that are too long, or encoded in another way than by gzip, are
left alone.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from cogmeter.recording.usage_reader import UsageReader

if TYPE_CHECKING:
    from cogmeter.recording.usage_reader import LlmUsage

MOST_BYTES: Final = 1_000_000  # of a JSON body, or of one event
HOSTS: Final = frozenset(
    {
        "api.openai.com",
        "api.anthropic.com",
        "generativelanguage.googleapis.com",
        "api.mistral.ai",
        "api.deepseek.com",
        "api.groq.com",
        "api.together.xyz",
        "api.x.ai",
        "api.cohere.com",
        "api.perplexity.ai",
        "openrouter.ai",
    }
)
# Regions and customers have names of their own.
HOST_ENDS: Final = (".openai.azure.com", ".services.ai.azure.com", "aiplatform.googleapis.com")
_DATA: Final = b"data:"
# An event without one of these has nothing to read; parsing each word of an answer would be slow.
_TELLING: Final = (
    b'"usage',
    b'"finish',
    b'"stop_reason',
    b'"tool_calls',
    b'"refusal',
    b'"response"',
    b'"message_start',
)
_ANY_HEADER: Final = 15 + 32  # zlib: gzip or zlib, as the header says


def is_known(host: str) -> bool:
    """Return whether this is a host whose answers are read."""
    return host in HOSTS or host.endswith(HOST_ENDS)


def reader_of(host: str, headers: Any) -> LlmAnswer | None:
    """Return a reader for an answer with these headers; None if it has nothing to read."""
    if not is_known(host):
        return None
    kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "deflate"}:
        return None
    if "event-stream" in kind or "json" in kind:
        return LlmAnswer(events="event-stream" in kind, compressed=encoding in {"gzip", "deflate"})
    return None


class LlmAnswer:
    """Reads one answer, as its bytes come. Nothing here raises."""

    def __init__(self, *, events: bool, compressed: bool = False) -> None:
        self._events = events
        self._decompress = zlib.decompressobj(_ANY_HEADER) if compressed else None
        self._rest = b""
        self._broken = False
        self._usage = UsageReader()
        self._parsed = 0

    def feed(self, part: bytes) -> None:
        """Read the next bytes as they came from the network."""
        if self._broken:
            return
        try:
            decoded = part if self._decompress is None else self._decompress.decompress(part, MOST_BYTES)
            self.feed_decoded(decoded)
        except Exception:  # noqa: BLE001 - the bytes are a stranger's
            self._broken = True

    def feed_decoded(self, part: bytes) -> None:
        """Read the next bytes after decompression."""
        self._rest += part
        if len(self._rest) > MOST_BYTES:
            self._broken, self._rest = True, b""
        elif self._events:
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                self._line(line)

    def result(self, *, cut: bool = False) -> LlmUsage | None:
        """Return what was read, at the end of the answer; None if it has no tokens."""
        try:
            if self._events:
                self._line(self._rest)
            elif self._rest and not self._broken:
                self._read(self._rest)
            self._rest = b""
            return self._usage.result(cut=cut)
        except Exception:  # noqa: BLE001 - the bytes are a stranger's
            return None

    def _line(self, line: bytes) -> None:
        data = line.strip()
        if data.startswith(_DATA) and (not self._parsed or any(word in data for word in _TELLING)):
            self._parsed += 1
            self._read(data[len(_DATA) :])

    def _read(self, text: bytes) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(text)
            for one in value if isinstance(value, list) else [value]:
                self._usage.feed(one)
