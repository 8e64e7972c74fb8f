"""Recovery of a database that is damaged, cannot be read, or is no longer the file at its path.

SQLite reports both damage and a failed read as "database disk image is malformed". So a file is checked several times
before it is set aside. Of a detached database, the data that only its open connections can read is saved and restored.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import glob
import logging
import re
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from cogmeter_storage.base import CorruptStoreError, StorageError
from cogmeter_storage.slot import SlotFormatError
from cogmeter_storage.sqlite.backup import backup, rename_new
from cogmeter_storage.sqlite.connection import (
    SQLITE_ERRORS,
    primary_code,
    transaction,
    unreadable_error,
    unusable_error,
)
from cogmeter_storage.sqlite.file_identity import INDEX, LOG, Identity, Loss

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cogmeter_storage.sqlite.connection import Connection

T = TypeVar("T")

_FINDINGS_NEEDED: Final = 4  # consecutive checks without a read error that must find damage
_MAX_CHECKS: Final = 10
OPENINGS: Final = 6
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 0.5
_CHUNK_BYTES: Final = 16_384
_ERROR_CODE: Final = re.compile(r"error code=(\d+)")
# Tables with rising ids: their newer rows follow the last one. The others have their own keys, and rows of some of them
# change: the copy has the later state. Slots are not copied: opening the database rebuilds the missing ones from the
# operations.
BY_ID: Final = (
    "series",
    "operation",
    "trace",
    "metric",
    "alert",
    "alert_change",
    "delivery",
    "attempt",
    "mute",
    "audit",
    "marker",
    "damage",
    "clock_step",
    "set_apart",
    "usage_part",
)
BY_KEY: Final = ("sample", "receipt", "threshold_override", "memory", "error_person")
CHANGING: Final = (*("error_group", "error_count", "error_example", "usage_slot", "usage_count", "usage_last", "cost"),)
DERIVED: Final = ("slot",)
MAX_COPIES: Final = 5  # copies in the folder
MAX_SAVE_ATTEMPTS: Final = 10  # on a full disk; about five minutes with the flusher's pauses
_TRANSIENT: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_LOG = logging.getLogger("cogmeter.storage")


class _CheckResult(enum.Enum):
    SOUND = enum.auto()
    DAMAGED = enum.auto()
    UNREADABLE = enum.auto()


def retry_failed_reads(opened: Callable[[], T]) -> T:
    """Open a database; retry for about a second while reads fail.

    Raises:
        StorageError: the error of the last attempt.
    """
    for number in range(OPENINGS - 1):
        try:
            return opened()
        except StorageError as error:
            if not _is_transient_read(error):
                raise
        _pause(number)
    return opened()


def is_damaged(path: Path, error: CorruptStoreError) -> bool:
    """Check a database that could not be opened. No connection of this process may have it open.

    Return True when it is certainly damaged, False when it is sound now.

    Raises:
        StorageError: it cannot be read completely, so the result is unknown.
    """
    # A SlotFormatError: the read worked, but the content is wrong.
    return isinstance(error.__cause__, SlotFormatError) or not is_sound(path)


def is_sound(path: Path) -> bool:
    """Check a database, ours or another program's, that no connection of this process has open.

    Return False when it is certainly damaged, or not a database.

    Raises:
        StorageError: it cannot be read completely, so the result is unknown.
    """
    damaged = 0
    for number in range(_MAX_CHECKS):
        _pause(number)
        result = _quick_check(path)
        if result is _CheckResult.SOUND:
            return True
        damaged = damaged + 1 if result is _CheckResult.DAMAGED else 0
        if damaged == _FINDINGS_NEEDED:
            return False
    raise unreadable_error(path)


def _is_transient_read(error: StorageError) -> bool:
    """Return True if the error can come from a disk that fails for a moment."""
    cause = error.__cause__
    if isinstance(cause, SQLITE_ERRORS):
        return primary_code(cause) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
    return isinstance(cause, OSError) and cause.errno == errno.EIO


def _quick_check(path: Path) -> _CheckResult:
    log = path.with_name(f"{path.name}-wal")
    # Without a log, "immutable" prevents SQLite from creating one.
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if log.exists() else '&immutable=1'}"
    try:
        with contextlib.closing(sqlite3.Connection(uri, uri=True, isolation_level=None)) as raw:
            (text,) = raw.execute("PRAGMA quick_check(1)").fetchone()
    except SQLITE_ERRORS as error:
        if primary_code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return _CheckResult.UNREADABLE
    else:
        if text == "ok":
            return _CheckResult.SOUND
        code = _ERROR_CODE.search(text)
        if code and int(code[1]) & 0xFF == sqlite3.SQLITE_IOERR:
            return _CheckResult.UNREADABLE
    return _CheckResult.DAMAGED if _is_readable(path) and _is_readable(log) else _CheckResult.UNREADABLE


def _is_readable(path: Path) -> bool:
    """Read a file from start to end; a missing one counts as readable."""
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
    time.sleep(min(_FIRST_PAUSE_S * 2**number, _LAST_PAUSE_S))


async def save_copy(reading: Connection, path: Path, *, last: bool) -> Path | None:
    """Copy the database as this connection sees it to ``<name>.recovered-<UTC time>``; None when that is impossible.

    Raises:
        StorageError: the disk cannot take a copy now. Only if this is not the ``last`` attempt.
    """
    target = path.with_name(f"{path.name}.recovered-{_file_timestamp()}")
    try:
        await asyncio.to_thread(_check_copy_count, path)
        await backup(reading, target, None)
    except (StorageError, OSError) as error:
        text = f"The data that only the open files of {path} contain cannot be saved: {error}"
        if not last and _is_transient(error):
            raise StorageError(text, permanent=False) from error
        _LOG.error("%s", text)
        return None
    return target


def _is_transient(error: StorageError | OSError) -> bool:
    return not error.permanent if isinstance(error, StorageError) else error.errno in _TRANSIENT


def _check_copy_count(path: Path) -> None:
    """Create the folder, and refuse to fill the disk when the database is replaced again and again.

    Raises:
        StorageError: the maximum number of copies exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _copy_count(path) >= MAX_COPIES:
        raise StorageError(
            f"There are {MAX_COPIES} copies {path.name}.recovered-* already. Move them away.", permanent=True
        )


def _copy_count(path: Path) -> int:
    return len(list(path.parent.glob(f"{glob.escape(path.name)}.recovered-*")))


def prepare_path(identity: Identity, loss: Loss, saved: Path | None) -> Path | None:
    """Prepare the path to be opened again, with all connections closed; return the copy that is still needed.

    A deleted database is written again, and so is one that was overwritten with something that is not a sound database.
    The old log would be applied to a new database, so it is removed.

    Raises:
        StorageError: the file at the path cannot be read or set aside.
    """
    path = identity.path
    if loss is not Loss.LOG:
        index, log = identity.existing_file(INDEX), identity.existing_file(LOG)
        if index is not None:
            index.unlink(missing_ok=True)
        if log is not None and saved is None and _copy_count(path) < MAX_COPIES:
            log.rename(path.with_name(f"{path.name}.recovered-{_file_timestamp()}{LOG}"))
        elif log is not None:
            log.unlink(missing_ok=True)
    if loss is Loss.OVERWRITTEN and path.exists() and not path.stat().st_size:
        path.unlink()
    elif loss is Loss.OVERWRITTEN and path.exists() and not is_sound(path):
        text = "%s was overwritten with a file that is damaged or not a database. That file is kept as %s."
        _LOG.error(text, path, set_aside(path))
    if saved is not None and not path.exists() and is_sound(saved):
        try:
            rename_new(saved, path)
        except FileExistsError:
            return saved
        return None
    return saved


@dataclass(frozen=True, slots=True)
class CopiedRows:
    """The result of copying rows into a reopened database: their number, and the tables that could not be read."""

    rows: int = 0
    failed: tuple[str, ...] = ()


def describe_result(path: Path, loss: Loss | None, saved: Path | None, copy: Path | None, copied: CopiedRows) -> str:
    """Return a sentence that describes the result and the next step; ``copy`` is the copied file if it still exists."""
    if loss is None:
        rest = "Operations recorded in the meantime are written to it."
    elif saved is None:
        rest = "The data that only its open files contained could not be saved, and is lost."
    elif copy is None:
        rest = "It was written again from its open files. To start with an empty one, stop the bot before deleting it."
    elif loss is not Loss.LOG:
        rest = f"The data recorded before is kept in {saved.name}. Stop the bot before you replace its database."
    elif copied.failed:
        rest = f"Not all data of its open files could be written again: a copy is {saved.name}."
    else:
        rest = f"{copied.rows} rows from its open files were written again. Do not touch the files of a running bot."
    return f"Database {path} is open again. {rest}"


def copy_missing_rows(raw: sqlite3.Connection, saved: Path) -> CopiedRows:
    """Add the rows of a copy that this database lacks, table by table, because the copy may be damaged.

    Changes that other programs made in the database stay.
    """
    # Immutable: the copy is in WAL mode, and SQLite would create a log for it.
    raw.execute("ATTACH DATABASE ? AS saved", (f"{saved.absolute().as_uri()}?mode=ro&immutable=1",))
    try:
        copied = {table: _copy_missing_rows_of(raw, table) for table in (*BY_ID, *BY_KEY, *CHANGING)}
    finally:
        raw.execute("DETACH DATABASE saved")
    failed = tuple(table for table, rows in copied.items() if rows is None)
    return CopiedRows(sum(rows or 0 for rows in copied.values()), failed)


def _copy_missing_rows_of(raw: sqlite3.Connection, table: str) -> int | None:
    conflict, behind = "IGNORE", ""
    if table in BY_ID:
        behind = f"WHERE id > (SELECT ifnull(max(id), 0) FROM main.{table})"  # noqa: S608 - names of our tables
    elif table in CHANGING:
        conflict, behind = "REPLACE", f"EXCEPT SELECT * FROM main.{table}"  # noqa: S608 - names of our tables
    try:
        with transaction(raw):
            return raw.execute(f"INSERT OR {conflict} INTO main.{table} SELECT * FROM saved.{table} {behind}").rowcount  # noqa: S608 - names of our tables
    except SQLITE_ERRORS as error:
        _LOG.error("Rows of the table %s cannot be copied over: %s", table, error)
        return None


def set_aside(path: Path) -> Path:
    """Rename the database, its write-ahead log first: a log without its database is useless, but not the reverse.

    Raises:
        StorageError: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.corrupt-{_file_timestamp()}")
    try:
        for suffix in (LOG, INDEX, ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        reason = f"is damaged and cannot be set aside ({error.strerror or error})"
        raise unusable_error(path, reason, "move it away") from error
    return aside


def _file_timestamp() -> str:
    """Return the present time for a file name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
