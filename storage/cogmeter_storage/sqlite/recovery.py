"""Saves what only the open connections of a detached database can still read, and puts it back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import glob
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import StorageError
from cogmeter_storage.sqlite.backup import backup, rename_new
from cogmeter_storage.sqlite.errors import SQLITE_ERRORS, unusable
from cogmeter_storage.sqlite.faulty_reads import is_sound
from cogmeter_storage.sqlite.identity import INDEX, LOG, Identity, Loss
from cogmeter_storage.sqlite.rows import transaction

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from cogmeter_storage.sqlite.connection import Connection

# How each table's newer rows are found: those of tables with ascending ids lie behind the last one, the others have a
# key of their own. Slots are left out: opening the database derives the missing ones from the operations.
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
)
BY_KEY: Final = ("sample", "receipt", "threshold_override", "memory")
DERIVED: Final = ("slot",)
COPIES: Final = 5  # that may be there
SAVES: Final = 10  # attempts on a full disk, with the flusher's pauses about five minutes; then the data is given up
_TRANSIENT: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_LOG = logging.getLogger("cogmeter.storage")


async def save(reading: Connection, path: Path, *, last: bool) -> Path | None:
    """Copy the database as this connection sees it to ``<name>.recovered-<UTC time>``; None when it cannot be.

    Raises:
        StorageError: the disk takes no copy now. Only if this is not the ``last`` attempt.
    """
    target = path.with_name(f"{path.name}.recovered-{stamp()}")
    try:
        await asyncio.to_thread(_make_room, path)
        await backup(reading, target, None)
    except (StorageError, OSError) as error:
        text = f"What only the open files of {path} hold cannot be saved: {error}"
        if not last and _may_pass(error):
            raise StorageError(text, permanent=False) from error
        _LOG.error("%s", text)
        return None
    return target


def _may_pass(error: StorageError | OSError) -> bool:
    return not error.permanent if isinstance(error, StorageError) else error.errno in _TRANSIENT


def _make_room(path: Path) -> None:
    """Make the folder, and refuse to fill it: something may take the database away again and again.

    Raises:
        StorageError: there are as many copies as may be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _copies(path) >= COPIES:
        raise StorageError(
            f"There are {COPIES} copies {path.name}.recovered-* already. Move them away.", permanent=True
        )


def _copies(path: Path) -> int:
    return len(list(path.parent.glob(f"{glob.escape(path.name)}.recovered-*")))


def prepare(identity: Identity, loss: Loss, saved: Path | None) -> Path | None:
    """Make the path ready to be opened again, with all connections closed; return the copy that is still to be used.

    A deleted database is written again, and so is one that was overwritten with what is no sound database. The old log
    beside a new database would be applied to it: it goes.

    Raises:
        StorageError: what is at the path cannot be read or set aside.
    """
    path = identity.path
    if loss is not Loss.LOG:
        index, log = identity.own(INDEX), identity.own(LOG)
        if index is not None:
            index.unlink(missing_ok=True)
        if log is not None and saved is None and _copies(path) < COPIES:
            log.rename(path.with_name(f"{path.name}.recovered-{stamp()}{LOG}"))
        elif log is not None:
            log.unlink(missing_ok=True)
    if loss is Loss.OVERWRITTEN and path.exists() and not path.stat().st_size:
        path.unlink()
    elif loss is Loss.OVERWRITTEN and path.exists() and not is_sound(path):
        _LOG.error("What %s was overwritten with is no sound database. It is kept as %s.", path, set_aside(path))
    if saved is not None and not path.exists() and is_sound(saved):
        try:
            rename_new(saved, path)
        except FileExistsError:
            return saved
        return None
    return saved


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a reopened database took over from a copy: rows, and the tables whose rows could not be read."""

    rows: int = 0
    failed: tuple[str, ...] = ()


def report(path: Path, loss: Loss | None, saved: Path | None, spare: Path | None, taken: Recovered) -> str:
    """Say what was done, and what the owner can do; ``spare`` is the copy if it is still there."""
    if loss is None:
        rest = "Operations recorded meanwhile are written to it."
    elif saved is None:
        rest = "What only its open files held could not be saved, and is lost."
    elif spare is None:
        rest = "It was written again from its open files. To start with an empty one, stop the bot before deleting it."
    elif loss is not Loss.LOG:
        rest = f"What was recorded before is kept in {saved.name}. Stop the bot before you replace its database."
    elif taken.failed:
        rest = f"Not all that only its open files held could be written again: a copy of them is {saved.name}."
    else:
        rest = f"{taken.rows} rows that only its open files held were written again. Leave the files of a running bot."
    return f"Database {path} is open again. {rest}"


def take_over(raw: sqlite3.Connection, saved: Path) -> Recovered:
    """Add the rows of a copy that this database lacks. Each table by itself: the copy may be damaged.

    What other programs changed in the database since stays as they left it.
    """
    # Immutable: the copy is in WAL mode, and would get a log of its own.
    raw.execute("ATTACH DATABASE ? AS saved", (f"{saved.absolute().as_uri()}?mode=ro&immutable=1",))
    try:
        found = {table: _take_over_table(raw, table) for table in (*BY_ID, *BY_KEY)}
    finally:
        raw.execute("DETACH DATABASE saved")
    failed = tuple(table for table, rows in found.items() if rows is None)
    return Recovered(sum(rows or 0 for rows in found.values()), failed)


def _take_over_table(raw: sqlite3.Connection, table: str) -> int | None:
    behind = f"WHERE id > (SELECT ifnull(max(id), 0) FROM main.{table})" if table in BY_ID else ""  # noqa: S608 - names of our tables
    try:
        with transaction(raw):
            return raw.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM saved.{table} {behind}").rowcount  # noqa: S608 - names of our tables
    except SQLITE_ERRORS as error:
        _LOG.error("Rows of the table %s cannot be taken over: %s", table, error)
        return None


def set_aside(path: Path) -> Path:
    """Rename the database, its write-ahead log first: a log without its database is nothing, but not the reverse.

    Raises:
        StorageError: it cannot be renamed.
    """
    aside = path.with_name(f"{path.name}.corrupt-{stamp()}")
    try:
        for suffix in (LOG, INDEX, ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        reason = f"is damaged and cannot be set aside ({error.strerror or error})"
        raise unusable(path, reason, "move it away") from error
    return aside


def stamp() -> str:
    """Return the time for the name of a file."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
