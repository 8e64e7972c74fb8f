"""Opens the database file: header, writer lock, schema, and recovery of what the last run left unsealed."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import sqlite3
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from cogmeter_storage.base import CorruptStoreError, StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import LAST_US, Tier
from cogmeter_storage.rollup import WritePosition
from cogmeter_storage.schema import APPLICATION_ID, SQLITE_MIGRATIONS, SQLITE_VERSION
from cogmeter_storage.slot import SlotFormatError
from cogmeter_storage.sqlite.connection import (
    SQLITE_ERRORS,
    damaged_error,
    primary_code,
    storage_error,
    transaction,
    unreadable_error,
    unusable_error,
)
from cogmeter_storage.sqlite.file_identity import LOG, Identity, SharedLock, acquire_writer_lock
from cogmeter_storage.sqlite.future_rows import has_future_rows, move_future_rows
from cogmeter_storage.sqlite.operation_rows import unsealed_columns
from cogmeter_storage.sqlite.recovery import (
    OPENINGS,
    CopiedRows,
    copy_missing_rows,
    is_damaged,
    retry_failed_reads,
    set_aside,
)
from cogmeter_storage.sqlite.session import SqliteSession
from cogmeter_storage.sqlite.slots import last_slot, repair, seal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.slots import SlotHeader

_MAGIC = b"SQLite format 3\0"
_LOG = logging.getLogger("cogmeter.storage")
_LOCK_TIMEOUT_S = 5.0
LOCK_STEP_S = 0.25
_REBUILD_PAUSE_S = 0.001  # after each chunk, so that the event loop's thread can run
_CANNOT_CREATE_LOG = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def check_header(path: Path, *, must_exist: bool = False) -> None:
    """Refuse a file whose first page is not from our database, which has our application id from the first commit on.

    SQLite reads the page without locks and without the write-ahead log. Opening and closing the file in Python would
    drop the locks of every connection that this process has to it.

    Raises:
        StorageError: it is not an SQLite database, not ours, of a later version, missing, or cannot be read.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        if must_exist:
            raise StorageError(
                f"Database {path} does not exist. To fix it: start the bot once, or set PERFORMANCE_DATABASE_URL to "
                "the file that it writes.",
                permanent=True,
            ) from error
        return
    except OSError as error:
        raise unusable_error(
            path, f"cannot be read ({error.strerror or error})", "make it readable for the bot"
        ) from error
    if not path.is_file():
        raise unusable_error(path, "is a directory or a device, not a file", "move it away")
    if not size:
        if must_exist:
            raise unusable_error(path, "is empty: no bot has written to it yet", "start the bot on it once")
        return
    header = _read_first_page(path)
    if header is None:
        return
    application, version = header
    if application != APPLICATION_ID:
        raise _foreign_error(path)
    refuse_newer(path, version)


def check_version(raw: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of the database, 0 for an empty one.

    Raises:
        StorageError: it is not ours, or of a later version; the first page alone may not show that yet.
    """
    (application,) = raw.execute("PRAGMA application_id").fetchone()
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    if pages and application != APPLICATION_ID:
        raise _foreign_error(path)
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    refuse_newer(path, version)
    return int(version)


def refuse_newer(path: Path, version: int) -> None:
    """Raise StorageError for a schema version later than ours."""
    if version > SQLITE_VERSION:
        raise unusable_error(
            path,
            f"has schema version {version}, later than the {SQLITE_VERSION} known here; it has not been changed",
            "install that later version of cogmeter again",
        )


def _foreign_error(path: Path) -> StorageError:
    return unusable_error(path, "belongs to another program; it has not been changed", "move it away")


def _read_first_page(path: Path) -> tuple[int, int] | None:
    """Return application id and schema version of the first page; None for a damaged database."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.Connection(uri, uri=True, isolation_level=None)) as raw:
            raw.execute("PRAGMA writable_schema = ON")  # allows reading the first page of a truncated file
            (application,) = raw.execute("PRAGMA application_id").fetchone()
            (version,) = raw.execute("PRAGMA user_version").fetchone()
    except SQLITE_ERRORS as error:
        code = primary_code(error)
        if code == sqlite3.SQLITE_NOTADB:
            _refuse_other_file(path)
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return None  # the caller's own connection finds the cause
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise unusable_error(path, f"cannot be read ({error})", "make it readable for the bot") from error
        raise storage_error(error, path) from error
    return application, version


def _refuse_other_file(path: Path) -> None:
    """Refuse a file that does not begin like an SQLite database of ours.

    This opens the file. SQLite has just refused it, so no connection can depend on a lock on it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        if error.errno == errno.EIO:
            raise unreadable_error(path) from error
        raise unusable_error(
            path, f"cannot be read ({error.strerror or error})", "make it readable for the bot"
        ) from error
    if not header.startswith(_MAGIC):
        raise unusable_error(path, "is not an SQLite database; it has not been changed", "move it away")
    if header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        raise _foreign_error(path)


class WriteOpener:
    """Opens a file for writing on the connection's thread; then ``position`` is where writing continues.

    ``identity`` has the files that were opened. ``saved`` is a copy whose newer rows are copied first.
    """

    identity: Identity

    def __init__(self, path: Path, damage: DamageLog, *, replace_corrupt: bool, saved: Path | None = None) -> None:
        self.position = WritePosition()
        self.copied = CopiedRows()
        self.lock_timeout_s = _LOCK_TIMEOUT_S
        self.damage = damage
        self._path = path
        self._replace_corrupt = replace_corrupt
        self.saved = saved

    def __call__(self, stack: ExitStack) -> SqliteSession:
        """Return the open connection; closing the stack releases lock and connection.

        Raises:
            StorageError: the file cannot be opened, is in use, is not our database, or is damaged.
        """
        make_folder(self._path)
        stack.callback(acquire_writer_lock(self._path).release)
        shared = SharedLock()
        stack.callback(shared.close)
        raw = self._opened(stack)
        self.identity = Identity(self._path, shared)
        if self.identity.existing_file(LOG):
            shared.acquire(self._path)
            stack.callback(shared.release)
        self.identity.check()
        # Writer retries in steps of this length, so that a stopping bot need not wait longer.
        raw.execute(f"PRAGMA busy_timeout = {int(LOCK_STEP_S * 1000)}")
        return raw

    def _opened(self, stack: ExitStack) -> SqliteSession:
        """Return a connection to the file, or to a new one when the file is damaged and may be replaced."""
        for _ in range(OPENINGS):
            try:
                return retry_failed_reads(partial(self._connected, stack))
            except CorruptStoreError as error:
                if not self._replace_corrupt:
                    raise
                if is_damaged(self._path, error):
                    _LOG.error("%s It is set aside under another name, and a new database is started.", error)
                    break
        else:
            raise unreadable_error(self._path)
        _LOG.error("The damaged database is kept as %s.", set_aside(self._path))
        return self._connected(stack)

    def _connected(self, stack: ExitStack) -> SqliteSession:
        check_header(self._path)
        with _translated_errors(self._path), ExitStack() as cleanup:
            raw = connect(self._path, "rwc")
            cleanup.callback(raw.close)
            migrate(raw, check_version(raw, self._path))
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute("PRAGMA synchronous = NORMAL")
            raw.execute("PRAGMA journal_size_limit = 16777216")
            # Checkpointer makes the checkpoints. A commit makes one only when 16 MB have been written since the last
            # one, far more than usual.
            raw.execute("PRAGMA wal_autocheckpoint = 4000")
            if self.saved is not None:
                self.copied = copy_missing_rows(raw, self.saved)
            if clock.credible and has_future_rows(raw, clock.now_us()):
                move_future_rows(raw, self.damage, clock.now_us())
            self.position = recover_position(raw, self.damage)
            stack.push(cleanup.pop_all())
        return raw


class ReadOpener:
    """Opens a file for reading on the connection's thread, without locking or changing the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, stack: ExitStack) -> SqliteSession:
        """Return the open connection; closing the stack closes it.

        Raises:
            StorageError: the file is missing, not our database, of another version, or damaged.
        """
        return retry_failed_reads(partial(self._opened, stack))

    def _opened(self, stack: ExitStack) -> SqliteSession:
        check_header(self._path, must_exist=True)
        with _translated_errors(self._path), ExitStack() as cleanup:
            raw = self._connected()
            cleanup.callback(raw.close)
            if check_version(raw, self._path) < SQLITE_VERSION:
                raise StorageError(
                    f"Database {self._path} was written by an earlier version. To fix it: start the bot once with "
                    "this version, which upgrades it.",
                    permanent=True,
                )
            stack.push(cleanup.pop_all())
        return raw

    def _connected(self) -> SqliteSession:
        """Return a connection, also to a finished file in a read-only folder, such as a backup.

        SQLite would create a write-ahead log there to read it. Where no bot has one open, nothing can change in the
        meantime.
        """
        raw = connect(self._path, "ro")
        try:
            raw.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:
            raw.close()
            if primary_code(error) not in _CANNOT_CREATE_LOG or self._path.with_name(f"{self._path.name}-wal").exists():
                raise
            return connect(self._path, "ro&immutable=1")
        except BaseException:
            raw.close()
            raise
        return raw


def recover_position(raw: sqlite3.Connection, damage: DamageLog) -> WritePosition:
    """Return where writing continues: read the unsealed rows of the last run, and seal its finished minutes.

    This reads whatever shows a damaged file: the schema, the newest slots, the first and the last operation.
    """
    raw.execute("SELECT id, CAST(service AS BLOB), CAST(operation AS BLOB) FROM series").fetchall()
    raw.execute("SELECT id, end_us, CAST(error AS BLOB) FROM operation ORDER BY id LIMIT 1").fetchone()
    find = "SELECT end_us FROM operation WHERE typeof(end_us) = 'integer' ORDER BY id DESC LIMIT 1"
    last = raw.execute(find).fetchone()
    newest = _newest_slots(raw, damage)
    sealed_id = max((slot.last_id for slot in newest), default=0)
    # A late minute is still added to its hour and day, so for these the start is the limit.
    since_us = max((slot.end_us if slot.tier is Tier.MINUTE else slot.start_us for slot in newest), default=-LAST_US)
    last_end_us = last[0] if last is not None and last[0] <= LAST_US else 0
    position = WritePosition(
        next_id=_next_id(raw, sealed_id), last_end_us=max(since_us, last_end_us, 0), sealed_id=sealed_id
    )
    finished = []
    for columns in unsealed_columns(raw, damage, sealed_id, since_us=since_us):
        position, sealed = position.after(columns)
        finished += sealed
        time.sleep(_REBUILD_PAUSE_S)
    with transaction(raw):
        for minute in finished:
            seal(raw, damage, minute)
        for tier, start_us in damage.unrepaired_slots():
            repair(raw, damage, tier, start_us)
    return dataclasses.replace(position, next_id=max(position.next_id, _next_id(raw, sealed_id)))


def _newest_slots(raw: sqlite3.Connection, damage: DamageLog) -> list[SlotHeader]:
    """Return the newest slot of each tier."""
    newest = (last_slot(raw, damage, tier) for tier in Tier)
    return [slot for slot in newest if slot is not None]


def _next_id(raw: sqlite3.Connection, sealed_id: int) -> int:
    """Return the first id that neither a slot nor a row has used."""
    (last_id,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    return int(max(last_id, sealed_id)) + 1


def migrate(raw: sqlite3.Connection, version: int) -> None:
    """Upgrade the schema, or at least check that the file can be written."""
    if version == SQLITE_VERSION:
        _check_writable(raw)
        return
    with transaction(raw):
        for statements in SQLITE_MIGRATIONS[version:]:
            for statement in statements:
                raw.execute(statement)
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version = {SQLITE_VERSION}")


def _check_writable(raw: sqlite3.Connection) -> None:
    """Begin to write and roll back: SQLite begins a transaction even on a file that cannot be written."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        raw.execute(f"PRAGMA user_version = {SQLITE_VERSION}")
    finally:
        if raw.in_transaction:  # SQLite ends it when the disk is full
            raw.execute("ROLLBACK")


def make_folder(path: Path) -> None:
    """Create the folder of a database.

    Raises:
        StorageError: it cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable_error(path, f"needs a folder that cannot be created ({error})", "create the folder") from error


def connect(path: Path, mode: str) -> SqliteSession:
    """Return a connection in SQLite's mode ``ro``, ``rw`` or ``rwc``, which may add parameters to the URI.

    This package calls the class, not ``sqlite3.connect``: tracing tools of the host replace the function by one that
    returns a wrapper. It would record the monitor's own statements, and SQLite refuses it as the target of a backup.
    """
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return SqliteSession(uri, uri=True, isolation_level=None, timeout=_LOCK_TIMEOUT_S)


@contextlib.contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of a slot's decoder as StorageError."""
    try:
        yield
    except SQLITE_ERRORS as error:
        raise storage_error(error, path) from error
    except SlotFormatError as error:
        raise damaged_error(path, str(error)) from error
