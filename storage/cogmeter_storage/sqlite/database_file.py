"""Opens the file for the store: its folder, its lock, its schema, and what the last run left open."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sqlite3
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from cogmeter_storage.base import CorruptStoreError, StorageError
from cogmeter_storage.clock import clock
from cogmeter_storage.model import Tier
from cogmeter_storage.rollup import Head
from cogmeter_storage.schema import APPLICATION_ID, SQLITE_MIGRATIONS, SQLITE_VERSION
from cogmeter_storage.slot import SlotFormatError
from cogmeter_storage.sqlite import lock
from cogmeter_storage.sqlite.errors import SQLITE_ERRORS, damaged, primary_code, storage_error, unreadable, unusable
from cogmeter_storage.sqlite.faulty_reads import OPENINGS, is_damaged, steadily
from cogmeter_storage.sqlite.future_rows import has_future, set_apart
from cogmeter_storage.sqlite.header import check_header, check_version
from cogmeter_storage.sqlite.identity import LOG, Identity, SharedLock
from cogmeter_storage.sqlite.recovery import Recovered, set_aside, take_over
from cogmeter_storage.sqlite.rows import transaction, unsealed_columns
from cogmeter_storage.sqlite.slots import last_edge, repair, seal
from cogmeter_storage.sqlite.validity import LAST_US

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cogmeter_storage.sqlite.damage import DamageLog
    from cogmeter_storage.sqlite.slots import Edge

_LOG = logging.getLogger("cogmeter.storage")
_BUSY_TIMEOUT_S = 5.0
BUSY_STEP_S = 0.25
_REBUILD_PAUSE_S = 0.001  # after each chunk, so that the loop's thread gets the interpreter's lock
_NO_ROOM_BESIDE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


class Writable:
    """Opens a file for writing, on the connection's thread; ``head`` then says where writing goes on.

    ``identity`` notes the files that were opened. ``saved`` is a copy whose newer rows are taken over first.
    """

    identity: Identity

    def __init__(self, path: Path, damage: DamageLog, *, replace_corrupt: bool, saved: Path | None = None) -> None:
        self.head = Head()
        self.recovered = Recovered()
        self.patience_s = _BUSY_TIMEOUT_S
        self.damage = damage
        self._path = path
        self._replace_corrupt = replace_corrupt
        self.saved = saved

    def __call__(self, stack: ExitStack) -> sqlite3.Connection:
        """Return the open connection; the lock and the connection are given back with the stack.

        Raises:
            StorageError: the file cannot be opened, is in use, is no database of ours, or is damaged.
        """
        _make_folder(self._path)
        stack.callback(lock.take(self._path).release)
        shared = SharedLock()
        stack.callback(shared.close)
        raw = self._opened(stack)
        self.identity = Identity(self._path, shared)
        if self.identity.own(LOG):
            shared.take(self._path)
            stack.callback(shared.release)
        self.identity.check()
        # Writer waits longer, in steps of this length, so that a bot that stops need not wait for it.
        raw.execute(f"PRAGMA busy_timeout = {int(BUSY_STEP_S * 1000)}")
        return raw

    def _opened(self, stack: ExitStack) -> sqlite3.Connection:
        """Return the connection to the file, or to a new one when the file is damaged and may be replaced."""
        for _ in range(OPENINGS):
            try:
                return steadily(partial(self._connected, stack))
            except CorruptStoreError as error:
                if not self._replace_corrupt:
                    raise
                if is_damaged(self._path, error):
                    _LOG.error("%s It is set aside under another name, and a new database is started.", error)
                    break
        else:
            raise unreadable(self._path)
        _LOG.error("The damaged database is kept as %s.", set_aside(self._path))
        return self._connected(stack)

    def _connected(self, stack: ExitStack) -> sqlite3.Connection:
        check_header(self._path)
        with _in_our_words(self._path), ExitStack() as until_it_works:
            raw = connect(self._path, "rwc")
            until_it_works.callback(raw.close)
            _migrate(raw, check_version(raw, self._path))
            raw.execute("PRAGMA journal_mode = WAL")
            raw.execute("PRAGMA synchronous = NORMAL")
            raw.execute("PRAGMA journal_size_limit = 16777216")
            # Upkeep makes the checkpoints, beside the writer; a commit makes one only when far more has been written
            # since then than usual (16 MB).
            raw.execute("PRAGMA wal_autocheckpoint = 4000")
            if self.saved is not None:
                self.recovered = take_over(raw, self.saved)
            if clock.credible and has_future(raw, clock.now_us()):
                set_apart(raw, self.damage, clock.now_us())
            self.head = recover(raw, self.damage)
            stack.push(until_it_works.pop_all())
        return raw


class Readable:
    """Opens a file for reading alone, on the connection's thread; it neither locks nor changes the database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, stack: ExitStack) -> sqlite3.Connection:
        """Return the open connection; it is given back with the stack.

        Raises:
            StorageError: the file is missing, is no database of ours, is of another version, or is damaged.
        """
        return steadily(partial(self._opened, stack))

    def _opened(self, stack: ExitStack) -> sqlite3.Connection:
        check_header(self._path, must_exist=True)
        with _in_our_words(self._path), ExitStack() as until_it_works:
            raw = self._connected()
            until_it_works.callback(raw.close)
            if check_version(raw, self._path) < SQLITE_VERSION:
                raise StorageError(
                    f"Database {self._path} was written by an earlier version. To mend it: start the bot once with "
                    "this version, which brings it up to date.",
                    permanent=True,
                )
            stack.push(until_it_works.pop_all())
        return raw

    def _connected(self) -> sqlite3.Connection:
        """The connection; also to a finished file in a folder that cannot be written, as a backup often is.

        SQLite would make a write-ahead log there to read it. Where no bot has one open, nothing can change meanwhile.
        """
        raw = connect(self._path, "ro")
        try:
            raw.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as error:
            raw.close()
            if primary_code(error) not in _NO_ROOM_BESIDE or self._path.with_name(f"{self._path.name}-wal").exists():
                raise
            return connect(self._path, "ro&immutable=1")
        except BaseException:
            raw.close()
            raise
        return raw


def recover(raw: sqlite3.Connection, damage: DamageLog) -> Head:
    """Return where writing goes on: read what the last run left unsealed again, and seal its finished minutes.

    It also reads what shows a damaged file: the schema, the newest slots, the first and the last operation.
    """
    raw.execute("SELECT id, CAST(service AS BLOB), CAST(operation AS BLOB) FROM series").fetchall()
    raw.execute("SELECT id, end_us, CAST(error AS BLOB) FROM operation ORDER BY id LIMIT 1").fetchone()
    find = "SELECT end_us FROM operation WHERE typeof(end_us) = 'integer' ORDER BY id DESC LIMIT 1"
    last = raw.execute(find).fetchone()
    newest = _newest(raw, damage)
    sealed_id = max((edge.last_id for edge in newest), default=0)
    # A late minute still joins its hour and its day, so there it is their start that binds.
    since_us = max((edge.end_us if edge.tier is Tier.MINUTE else edge.start_us for edge in newest), default=-LAST_US)
    last_end_us = last[0] if last is not None and last[0] <= LAST_US else 0
    head = Head(next_id=_behind(raw, sealed_id), last_end_us=max(since_us, last_end_us, 0), sealed_id=sealed_id)
    finished = []
    for columns in unsealed_columns(raw, damage, sealed_id, since_us=since_us):
        head, sealed = head.follow(columns)
        finished += sealed
        time.sleep(_REBUILD_PAUSE_S)
    with transaction(raw):
        for minute in finished:
            seal(raw, damage, minute)
        for tier, start_us in damage.waiting():
            repair(raw, damage, tier, start_us)
    return dataclasses.replace(head, next_id=max(head.next_id, _behind(raw, sealed_id)))


def _newest(raw: sqlite3.Connection, damage: DamageLog) -> list[Edge]:
    """Return the newest slot of each tier."""
    found = (last_edge(raw, damage, tier) for tier in Tier)
    return [edge for edge in found if edge is not None]


def _behind(raw: sqlite3.Connection, sealed_id: int) -> int:
    """Return the first id that neither a slot nor a row has used."""
    (last_id,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    return int(max(last_id, sealed_id)) + 1


def _migrate(raw: sqlite3.Connection, version: int) -> None:
    """Bring the schema up to date, or at least show that the file can be written."""
    if version == SQLITE_VERSION:
        _probe(raw)
        return
    with transaction(raw):
        for statements in SQLITE_MIGRATIONS[version:]:
            for statement in statements:
                raw.execute(statement)
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version = {SQLITE_VERSION}")


def _probe(raw: sqlite3.Connection) -> None:
    """Begin to write, and take it back: on a file that cannot be written, SQLite lets a transaction begin."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        raw.execute(f"PRAGMA user_version = {SQLITE_VERSION}")
    finally:
        if raw.in_transaction:  # SQLite ends it by itself when the disk is full
            raw.execute("ROLLBACK")


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unusable(path, f"needs a folder that cannot be made ({error})", "make the folder") from error


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to the file, in SQLite's mode ``ro``, ``rw`` or ``rwc``, with what else its URI is to say."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)


@contextlib.contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    """What SQLite or a slot's decoder raises, as a StorageError."""
    try:
        yield
    except SQLITE_ERRORS as error:
        raise storage_error(error, path) from error
    except SlotFormatError as error:
        raise damaged(path, str(error)) from error
