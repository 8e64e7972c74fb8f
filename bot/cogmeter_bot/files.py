"""Output files that are complete or absent: written under another name, and renamed when they are finished."""

from __future__ import annotations

import gzip
import os
import secrets
import stat
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from cogmeter_bot.cli.text import escape_on_terminal
from cogmeter_bot.errors import OutputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STDOUT: Final = "-"
GZIP_SUFFIX: Final = ".gz"
GZIP_LEVEL: Final = 6


def check_writable(path: Path, *, force: bool) -> None:
    """Check that a file can be written under this name; devices and pipes always can.

    Raises:
        OutputFileError: the file exists and ``force`` is not set, or its folder is missing or not writable.
    """
    if path.is_dir():
        raise OutputFileError(f"{path} is a folder. Use the name of a file in it.")
    if path.exists() and not is_device(path) and not force:
        raise OutputFileError(f"{path} already exists. Use another name, or replace it with --force.")
    if path.parent.is_dir() and not is_device(path) and not os.access(path.parent, os.W_OK):
        raise OutputFileError(f"{path.parent.absolute()} is not writable. Use a file in another folder.")
    if not path.parent.is_dir():
        raise OutputFileError(f"{path.parent} is not a folder. Create it, or use another name.")


@contextmanager
def temporary_name(path: Path, *, force: bool) -> Iterator[Path]:
    """Provide a name next to ``path`` to write to; rename it to ``path`` after the block, remove it after an error.

    Raises:
        OutputFileError: the file exists, also when it appeared while the block ran.
    """
    check_writable(path, force=force)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        if force:
            part.replace(path)
        else:
            _rename_without_replacing(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def output(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file for writing; ``-`` is standard output, and ``.gz`` is compressed.

    On a terminal, control characters are escaped. Files and pipes receive every byte unchanged.
    """
    with ExitStack() as stack:
        if str(path) == STDOUT:
            yield escape_on_terminal(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        if is_device(path):
            check_writable(path, force=force)
            yield escape_on_terminal(stack.enter_context(path.open("wb")))
            return
        part = stack.enter_context(temporary_name(path, force=force))
        file = stack.enter_context(part.open("xb"))
        if path.suffix == GZIP_SUFFIX:
            # Without a name and a time inside, the same export makes the same file.
            with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as compressed:
                yield cast("BinaryIO", compressed)
        else:
            yield file
        file.flush()
        os.fsync(file.fileno())


def _rename_without_replacing(part: Path, path: Path) -> None:
    """Rename ``part``; only a file system without hard links leaves a moment in which a new file is replaced."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise OutputFileError(
            f"{path} was created in the meantime. Use another name, or replace it with --force."
        ) from None
    except OSError:
        check_writable(path, force=False)
        part.replace(path)


def is_redirected() -> bool:
    """Return whether standard output is a pipe or a file, for a program that reads the output."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # it is closed, or replaced by an object without a file
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def is_device(path: Path) -> bool:
    """Return whether the path exists and is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
