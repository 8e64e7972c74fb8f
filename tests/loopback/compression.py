"""Transport compression of the gateway: one stream per connection, flushed after each payload."""

from __future__ import annotations

import importlib
import zlib
from typing import Any


class _Zlib:
    """`zlib-stream`: each message ends with Z_SYNC_FLUSH's 00 00 ff ff."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def compress(self, text: str) -> bytes:
        return self._stream.compress(text.encode()) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class _Zstd:
    """`zstd-stream`, asked for when zstandard is installed or Python is 3.14 or newer."""

    def __init__(self) -> None:
        try:
            zstandard: Any = importlib.import_module("zstandard")
            self._stream = zstandard.ZstdCompressor().compressobj()
            self._flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        except ModuleNotFoundError:
            zstd: Any = importlib.import_module("compression.zstd")
            self._stream = zstd.ZstdCompressor()
            self._flush_block = zstd.ZstdCompressor.FLUSH_BLOCK

    def compress(self, text: str) -> bytes:
        return bytes(self._stream.compress(text.encode()) + self._stream.flush(self._flush_block))


def stream(kind: str | None) -> _Zlib | _Zstd | None:
    """The compressor for the `compress` parameter of a gateway address, None for plain text.

    Raises:
        ValueError: Discord knows no such compression.
    """
    match kind:
        case None:
            return None
        case "zlib-stream":
            return _Zlib()
        case "zstd-stream":
            return _Zstd()
    raise ValueError(f"compress={kind}: Discord knows zlib-stream and zstd-stream")
