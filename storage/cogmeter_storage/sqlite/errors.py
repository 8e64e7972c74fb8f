"""Turns SQLite's errors into ours: what happened to which file, whether trying again helps, and how to mend it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import CorruptStoreError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

# What a call of sqlite3 raises. Where a damaged schema puts bytes that are no UTF-8 into SQLite's message, Python
# raises the error of decoding it in place of SQLite's own.
SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# By primary result code: what it means, what to do, whether it is permanent.
_MEANINGS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; writing goes on by itself then", False),
    sqlite3.SQLITE_IOERR: ("the disk does not answer as it should", "check the disk and its free space", False),
    sqlite3.SQLITE_BUSY: ("another program holds a lock on it", "end that program's transaction", False),
    sqlite3.SQLITE_LOCKED: ("another program holds a lock on it", "end that program's transaction", False),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "make the file and its folder writable for the bot", True),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "check that the folder exists and that the bot may read and write in it",
        True,
    ),
    sqlite3.SQLITE_PERM: ("access is refused", "make the file and its folder writable for the bot", True),
}


def primary_code(error: Exception) -> int:
    """Return SQLite's primary result code of one of SQLITE_ERRORS, or -1 for an error of the sqlite3 module itself."""
    if isinstance(error, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else int(code) & 0xFF


def storage_error(error: Exception, path: Path) -> StorageError:
    """Our error for one of SQLITE_ERRORS."""
    code = primary_code(error)
    if code in _DAMAGED:
        return damaged(path, str(error))
    meaning, mend, permanent = _MEANINGS.get(
        code, ("SQLite refuses", "see the log; if it goes on, set PERFORMANCE_DATABASE_URL to another file", True)
    )
    return StorageError(f"Database {path}: {meaning} ({error}). To mend it: {mend}.", permanent=permanent)


def damaged(path: Path, reason: str) -> CorruptStoreError:
    """Our error for a database that is damaged."""
    return CorruptStoreError(
        f"Database {path} is damaged ({reason}). To mend it: move it away (with its -wal and -shm files) or restore a "
        "copy; a new one is started when the file is gone."
    )


def unreadable(path: Path) -> StorageError:
    """Our error for a database whose reads fail, so that it may be damaged or not."""
    return StorageError(
        f"Database {path} cannot be read reliably: reading it fails again and again. It has not been changed. To mend "
        "it: check the disk, or set PERFORMANCE_DATABASE_URL to another file.",
        permanent=False,
    )


def unusable(path: Path, reason: str, mend: str) -> StorageError:
    """Our error for a file that cannot be the bot's database."""
    return StorageError(
        f"Database {path} {reason}. To mend it: {mend}, or set PERFORMANCE_DATABASE_URL to another file.",
        permanent=True,
    )
