"""Tells damage from a read that failed: SQLite reports both as "database disk image is malformed"."""

from __future__ import annotations

import contextlib
import enum
import errno
import re
import sqlite3
import time
from typing import TYPE_CHECKING, Final, TypeVar

from cogmeter_storage.base import CorruptStoreError, StorageError
from cogmeter_storage.slot import SlotFormatError
from cogmeter_storage.sqlite.errors import SQLITE_ERRORS, primary_code, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

IN_A_ROW: Final = 4  # checks that must find damage, and no read error, before a database counts as damaged
CHECKS: Final = 10
OPENINGS: Final = 6
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 0.5
_CHUNK_BYTES: Final = 16_384
_ERROR_CODE: Final = re.compile(r"error code=(\d+)")


class _Found(enum.Enum):
    SOUND = enum.auto()
    DAMAGED = enum.auto()
    UNREADABLE = enum.auto()


def steadily(opened: Callable[[], T]) -> T:
    """Open a database; try again for about a second while reads fail.

    Raises:
        StorageError: what the last attempt raised.
    """
    for number in range(OPENINGS - 1):
        try:
            return opened()
        except StorageError as error:
            if not _may_pass(error):
                raise
        _pause(number)
    return opened()


def is_damaged(path: Path, error: CorruptStoreError) -> bool:
    """Check a database that could not be opened. No connection of this process may have it open.

    Return True when it is damaged for certain, False when it is sound now.

    Raises:
        StorageError: it cannot be read from start to end, so nobody can know.
    """
    # A slot's error: it was read well; its content is wrong.
    return isinstance(error.__cause__, SlotFormatError) or not is_sound(path)


def is_sound(path: Path) -> bool:
    """Check a database, ours or another program's, that no connection of this process has open.

    Return False when it is damaged for certain, or no database.

    Raises:
        StorageError: it cannot be read from start to end, so nobody can know.
    """
    damaged = 0
    for number in range(CHECKS):
        _pause(number)
        found = _check(path)
        if found is _Found.SOUND:
            return True
        damaged = damaged + 1 if found is _Found.DAMAGED else 0
        if damaged == IN_A_ROW:
            return False
    raise unreadable(path)


def _may_pass(error: StorageError) -> bool:
    """Whether an error can come from a disk that fails for a moment."""
    cause = error.__cause__
    if isinstance(cause, SQLITE_ERRORS):
        return primary_code(cause) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
    return isinstance(cause, OSError) and cause.errno == errno.EIO


def _check(path: Path) -> _Found:
    log = path.with_name(f"{path.name}-wal")
    # Without a log, immutable keeps SQLite from making one.
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if log.exists() else '&immutable=1'}"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as raw:
            (said,) = raw.execute("PRAGMA quick_check(1)").fetchone()
    except SQLITE_ERRORS as error:
        if primary_code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return _Found.UNREADABLE
    else:
        if said == "ok":
            return _Found.SOUND
        code = _ERROR_CODE.search(said)
        if code and int(code[1]) & 0xFF == sqlite3.SQLITE_IOERR:
            return _Found.UNREADABLE
    return _Found.DAMAGED if _can_be_read(path) and _can_be_read(log) else _Found.UNREADABLE


def _can_be_read(path: Path) -> bool:
    """Read a file from start to end; one that is missing can be read."""
    try:
        with path.open("rb", buffering=0) as file:
            while file.read(_CHUNK_BYTES):
                pass
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _pause(number: int) -> None:
    time.sleep(min(FIRST_PAUSE_S * 2**number, LAST_PAUSE_S))
