"""Files that are whole or not there: written under another name, and renamed when they are finished."""

from __future__ import annotations

import gzip
import os
import secrets
import stat
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from cogmeter_bot.cli.terminal_text import on_terminal
from cogmeter_bot.errors import CannotRunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STDOUT: Final = "-"
PACKED: Final = ".gz"
LEVEL: Final = 6  # of gzip


class TakenError(CannotRunError):
    """A file cannot be written by this name; the text says why, and what to do."""


def refuse_existing(path: Path, *, force: bool) -> None:
    """Refuse a file that exists, unless it may be replaced; devices and pipes always may.

    Raises:
        TakenError: it exists, or its folder does not.
    """
    if path.is_dir():
        raise TakenError(f"{path} is a folder; name a file in it.")
    if path.exists() and not is_device(path) and not force:
        raise TakenError(f"{path} exists already; name another file, or replace it with --force.")
    if path.parent.is_dir() and not is_device(path) and not os.access(path.parent, os.W_OK):
        raise TakenError(f"{path.parent.absolute()} cannot be written in; name a file elsewhere.")
    if not path.parent.is_dir():
        raise TakenError(f"{path.parent} is no folder; make it, or name another file.")


@contextmanager
def unfinished(path: Path, *, force: bool) -> Iterator[Path]:
    """A name beside the file for the time of the block; then it is renamed to the file, or, after a fault, removed.

    Raises:
        TakenError: the file exists; also when it appeared while the block ran.
    """
    refuse_existing(path, force=force)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        if force:
            part.replace(path)
        else:
            _rename_new(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def output(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Where to write what is to stand in the file; ``-`` is standard output, and ``.gz`` is packed.

    What would control a terminal is written to one as escapes; files and pipes get every byte as it is.
    """
    with ExitStack() as stack:
        if str(path) == STDOUT:
            yield on_terminal(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        if is_device(path):
            refuse_existing(path, force=force)
            yield on_terminal(stack.enter_context(path.open("wb")))
            return
        part = stack.enter_context(unfinished(path, force=force))
        file = stack.enter_context(part.open("xb"))
        if path.suffix == PACKED:
            # Without a name and a time inside, the same export gives the same file.
            with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
                yield cast("BinaryIO", packed)
        else:
            yield file
        file.flush()
        os.fsync(file.fileno())


def _rename_new(part: Path, path: Path) -> None:
    """Rename without ever replacing a file, where the file system can; else replacing one of this very moment."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise TakenError(f"{path} has appeared meanwhile; name another file, or replace it with --force.") from None
    except OSError:
        refuse_existing(path, force=False)
        part.replace(path)


def is_device(path: Path) -> bool:
    """Whether it is there, and neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
