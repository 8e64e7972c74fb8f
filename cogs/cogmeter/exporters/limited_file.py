"""Writes an export to a file of a limited size, compressed if it is too large otherwise. Memory holds one chunk."""

from __future__ import annotations

import asyncio
import gzip
import shutil
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GZIP_LEVEL: Final = 6
MARGIN: Final = 64_000  # bytes that the compressor may keep back, and the rest of the upload's request


class ExportTooLargeError(Exception):
    """An export is larger than the limit, compressed too."""


class LimitedFile:
    """A file that becomes compressed when it exceeds the limit. Call its methods in a thread."""

    def __init__(self, path: Path, limit: int) -> None:
        """``path`` without ``.gz``; ``limit`` in bytes."""
        self.path = path
        self._limit = max(limit - MARGIN, 0)
        self._file: Any = path.open("wb")
        self._raw: Any = self._file  # where the bytes arrive on the disk
        self.compressed = False

    def write(self, chunk: bytes) -> None:
        """Write a chunk.

        Raises:
            ExportTooLargeError: the compressed file is larger than the limit.
            OSError: the disk is full, for example.
        """
        self._file.write(chunk)
        if self._raw.tell() <= self._limit:
            return
        if self.compressed:
            raise ExportTooLargeError
        self._compress()

    def close(self) -> None:
        """Complete the file.

        Raises:
            ExportTooLargeError: the rest of the compressed data made it larger than the limit.
        """
        self._file.close()
        if self._raw is not self._file:
            self._raw.close()
        if self.compressed and self.path.stat().st_size > self._limit:
            raise ExportTooLargeError

    def abandon(self) -> None:
        """Close the file after an error."""
        self._raw.close()

    def _compress(self) -> None:
        """Replace the file by a compressed one, in pieces."""
        self._file.close()
        plain, self.path = self.path, self.path.with_name(f"{self.path.name}.gz")
        self._raw = self.path.open("wb")
        self._file = gzip.GzipFile(filename=plain.name, mode="wb", compresslevel=GZIP_LEVEL, fileobj=self._raw)
        self.compressed = True
        with plain.open("rb") as source:
            shutil.copyfileobj(source, self._file)
        plain.unlink()
        if self._raw.tell() > self._limit:
            raise ExportTooLargeError


async def write_limited(chunks: AsyncIterator[bytes], path: Path, *, limit: int) -> Path:
    """Write an export to ``path``, or to ``path`` with ``.gz`` if it is too large; return the file.

    Raises:
        ExportTooLargeError: it is larger than ``limit`` bytes, compressed too; writing stopped there.
        OSError: the file cannot be written.
        StorageError: the store cannot be read.
    """
    file = await asyncio.to_thread(LimitedFile, path, limit)
    try:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.close)
    except BaseException:
        file.abandon()
        raise
    return file.path
