"""Reads small text files that users write. It checks their type, size and encoding first."""

from __future__ import annotations

import codecs
import errno
import os
import selectors
import stat
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PIPE_S: Final = 2.0  # how long a named pipe may take to deliver all of its text

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)
_FIXES: Final = {
    errno.EACCES: "Let the user that runs the bot read it",
    errno.EPERM: "Let the user that runs the bot read it",
    errno.ELOOP: "Replace the links by the file itself",
}
# With these flags opening never waits, neither for a pipe's writer nor for a terminal. Windows lacks some of them.
_FLAGS: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TextFileError(ValueError):
    """The file cannot be read as text. The message names the file, the reason, and the fix."""


def read_text(path: Path, most_bytes: int) -> str:
    """Return the text of a file: UTF-8, or UTF-16 that begins with a byte order mark.

    A named pipe is also read, within PIPE_S.

    Raises:
        FileNotFoundError: there is no such file.
        TextFileError: it is not a file, cannot be read, has more than ``most_bytes``, or is not valid text.
    """
    data = read_start(path, most_bytes + 1, pipes=True)
    if len(data) > most_bytes:
        raise TextFileError(f"{path} has more than {most_bytes // 1024} KiB. Keep only settings in it.")
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TextFileError(_undecodable(path, error)) from None
    place = text.find("\0")
    if place >= 0:
        raise TextFileError(f"{path} line {_line_at(text, place)} contains a NUL byte. Save the file as UTF-8 text.")
    return text


def read_start(path: Path, most_bytes: int, *, pipes: bool = False) -> bytes:
    """Return the first ``most_bytes`` of a regular file, or all of a shorter one; never wait for a pipe's writer.

    Raises:
        FileNotFoundError: there is no such file.
        TextFileError: it cannot be read, or is not a regular file.
    """
    try:
        _check_kind(path, path.stat().st_mode, pipes=pipes)
        number = os.open(path, _FLAGS)
        with open(number, "rb", buffering=0) as file:  # noqa: PTH123 - it is open already
            mode = os.fstat(number).st_mode  # the file may have been replaced
            _check_kind(path, mode, pipes=pipes)
            if stat.S_ISFIFO(mode):
                return _of_pipe(path, number, most_bytes)
            parts = []
            while most_bytes > 0 and (part := file.read(most_bytes)):
                parts.append(part)
                most_bytes -= len(part)
            return b"".join(parts)
    except FileNotFoundError:
        raise
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, "Check the file")
        raise TextFileError(f"{path} cannot be read: {error.strerror or error}. {fix}.") from None


def encoding_of(start: bytes) -> str:
    """Return the codec for text that begins with these bytes: by its byte order mark, or UTF-8."""
    return "utf-16" if start.startswith(_UTF16) else "utf-8-sig"


def _check_kind(path: Path, mode: int, *, pipes: bool) -> None:
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return
    kind = next((name for test, name in _KINDS if test(mode)), "a special file")
    raise TextFileError(f"{path} is {kind}, not a text file. Remove it, or replace it by a text file.")


def _of_pipe(path: Path, number: int, most_bytes: int) -> bytes:
    """Return all that a pipe's writer sends until it closes the pipe."""
    parts: list[bytes] = []
    until = time.monotonic() + PIPE_S
    with selectors.DefaultSelector() as ready:
        ready.register(number, selectors.EVENT_READ)
        while most_bytes > 0:
            if not ready.select(max(until - time.monotonic(), 0)):
                raise TextFileError(f"{path} is a pipe, and its text did not arrive within {PIPE_S:g} s. Use a file.")
            part = os.read(number, most_bytes)
            if not part:
                break
            parts.append(part)
            most_bytes -= len(part)
    return b"".join(parts)


def _undecodable(path: Path, error: UnicodeDecodeError) -> str:
    if error.encoding.startswith("utf-16"):
        return f"{path} starts as UTF-16 text, but is not valid UTF-16 ({error.reason}). Save the file as UTF-8."
    line = error.object.count(b"\n", 0, error.start) + 1
    byte = error.object[error.start]
    return f"{path} line {line} is not UTF-8 (byte 0x{byte:02x}, perhaps Windows-1252). Save the file as UTF-8."


def _line_at(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
