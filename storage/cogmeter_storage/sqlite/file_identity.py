"""Which file is open: the writer's lock, and checks that the open files are still the ones at their paths.

A database can also be overwritten in place, as by ``cp backup.db performance.db`` under a running bot. Its inode stays,
so only the content shows that. In WAL mode, nothing but a checkpoint writes the database file, and each checkpoint is
visible in the index of the write-ahead log. A file that changed without a checkpoint was written by another program.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sqlite3
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import filelock

from cogmeter_storage.base import DetachedStoreError
from cogmeter_storage.sqlite.connection import SQLITE_ERRORS, unusable_error

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.platform == "linux":
    import fcntl

_ACQUIRE_TIMEOUT_S = 0.3  # is_locked() in another process may have the lock for a moment
LOG, INDEX = "-wal", "-shm"
# The bytes that every connection in WAL mode locks for reading, from SQLite's file format: SHARED_FIRST and SHARED_SIZE
# of the database, and the "dead man switch" of the index.
_DATABASE_RANGE: Final = (0x40000002, 510)
_INDEX_RANGE: Final = (128, 1)
_CLOSE_ON_EXEC: Final = getattr(os, "O_CLOEXEC", 0)
_CONFIRMATIONS: Final = 3  # consistent reads before a file counts as overwritten
_CONFIRM_PAUSE_S: Final = 0.2
# From SQLite's file format: the salts of the log, and how much of it is in the database.
_INDEX: Final = struct.Struct("=32x8s56xI28xI")
INDEX_BYTES: Final = _INDEX.size


def resolve_path(path: Path) -> Path:
    """Return the absolute path without symbolic links, so that one file has one lock, also after os.chdir().

    Raises:
        StorageError: the link is broken.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # before Python 3.13, a loop of links is a RuntimeError
        raise unusable_error(path, f"is a broken symbolic link ({error})", "remove the link") from error


def acquire_writer_lock(path: Path) -> filelock.BaseFileLock:
    """Return the acquired lock of the writer; the system releases it when the process dies.

    Raises:
        StorageError: another process has it, or its file cannot be created.
    """
    lock = filelock.FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=_ACQUIRE_TIMEOUT_S, poll_interval=0.02)
    except filelock.Timeout as error:
        raise unusable_error(
            path, f"is being written by another bot, which has locked {path.name}.lock", "stop that bot"
        ) from error
    except OSError as error:
        reason = f"cannot be written: its lock {path.name}.lock cannot be created ({error.strerror or error})"
        raise unusable_error(path, reason, "make the folder writable for the bot") from error
    _match_owner(Path(lock.lock_file), path)
    return lock


def _match_owner(lock: Path, path: Path) -> None:
    """Change the owner of the lock file to the owner of the database, as SQLite does for its own files.

    Otherwise a command that an administrator ran, such as a vacuum, would leave the bot without access to the lock.
    """
    if path.exists() and hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = path.stat()
        with contextlib.suppress(OSError):
            os.chown(lock, owner.st_uid, owner.st_gid)


def is_locked(path: Path) -> bool:
    """Return True if a process has the writer's lock; do not create a lock file."""
    name = Path(f"{resolve_path(path)}.lock")
    if not name.exists():
        return False
    lock = filelock.FileLock(name, thread_local=False)
    try:
        with lock.acquire(blocking=False):
            return False
    except (filelock.Timeout, OSError):
        return True


class Loss(enum.Enum):
    """A way in which an open database lost its files."""

    DELETED = "was deleted or moved away while the bot has it open"
    REPLACED = "was replaced by another file while the bot has it open"
    OVERWRITTEN = "was overwritten with other content while the bot has it open"
    LOG = "lost its write-ahead log (-wal) or its index (-shm) while the bot has it open"


class Identity:
    """The inodes of a database, its write-ahead log and its index, as they were when the connection was opened.

    SQLite never replaces these files while a connection is open. If one is gone, later writes go to a file without a
    name, and are lost when the process ends.
    """

    def __init__(self, path: Path, lock: SharedLock) -> None:
        """Record the files. Call it when the connection has read something, so that its log exists.

        The first ``check`` after ``lock`` was acquired records their content.
        """
        self.path = path
        self._paths = {suffix: _sibling(path, suffix) for suffix in ("", LOG, INDEX)}
        self._noted = {suffix: _inode(_status(file)) for suffix, file in self._paths.items()}
        self._content = ContentCheck(path, lock.read_index)

    def loss(self) -> Loss | None:
        """Return what happened to the files, or None while they are in place. Takes a few microseconds."""
        status = _status(self.path)
        if status is None:
            return Loss.DELETED
        if _inode(status) != self._noted[""]:
            return Loss.REPLACED
        if self._noted[LOG] is not None and self._content.is_overwritten(status):
            return Loss.OVERWRITTEN
        return None if self._has(LOG) and self._has(INDEX) else Loss.LOG

    def check(self) -> None:
        """Refuse to continue when a file is gone.

        Raises:
            DetachedStoreError: one of them is.
        """
        loss = self.loss()
        if loss is not None:
            raise DetachedStoreError(f"Database {self.path} {loss.value}.")

    def note_commit(self) -> None:
        """Record what a commit of this process changed in the index. Takes a few microseconds."""
        self._content.note_commit()

    def existing_file(self, suffix: str) -> Path | None:
        """Return the path of the log or the index if the recorded file is still there."""
        return self._paths[suffix] if self._noted[suffix] is not None and self._has(suffix) else None

    def _has(self, suffix: str) -> bool:
        """Return True if a recorded file is in its place; one that was not recorded cannot be lost."""
        noted = self._noted[suffix]
        return noted is None or noted == _inode(_status(self._paths[suffix]))


class SharedLock:
    """A second copy of an open connection's read locks, which nothing in this process can drop by accident.

    POSIX drops all locks of a process on a file when the process closes any descriptor of it. After a bot uploads or
    copies its database, all other programs would find it unlocked. Locks of an open file description (Linux) stay until
    they are released here. On other systems nothing is locked, and ``Identity`` detects the loss.
    """

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}  # by suffix

    def acquire(self, path: Path) -> None:
        """Lock a database in WAL mode and its index; ignore file systems without such locks."""
        for suffix, (start, length) in (("", _DATABASE_RANGE), (INDEX, _INDEX_RANGE)):
            with contextlib.suppress(OSError):
                self._descriptors[suffix] = os.open(_sibling(path, suffix), os.O_RDONLY | _CLOSE_ON_EXEC)
                if sys.platform == "linux":
                    _set_lock(self._descriptors[suffix], fcntl.F_RDLCK, start, length)

    def read_index(self) -> bytes:
        """Return the first bytes of the index, b"" when it cannot be read. This opens no file, so it drops no lock."""
        if INDEX in self._descriptors and sys.platform != "win32":
            with contextlib.suppress(OSError):
                return os.pread(self._descriptors[INDEX], INDEX_BYTES, 0)
        return b""

    def release(self) -> None:
        """Unlock before the last connection closes: to close cleanly, SQLite needs the database for itself."""
        if sys.platform == "linux":
            for descriptor in self._descriptors.values():
                with contextlib.suppress(OSError):
                    _set_lock(descriptor, fcntl.F_UNLCK, 0, 0)

    def close(self) -> None:
        """Close the descriptors. That drops SQLite's own locks, too, so close its connections first."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def _set_lock(descriptor: int, kind: int, start: int, length: int) -> None:
    """Lock or unlock bytes of a file for this open file description. A length of 0 means to the end."""
    if sys.platform == "linux":
        request = struct.pack("hhqqi0q", kind, os.SEEK_SET, start, length, 0)  # struct flock
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, at every flush
    except OSError:
        return None


def _inode(status: os.stat_result | None) -> tuple[int, int] | None:
    return None if status is None else (status.st_dev, status.st_ino)


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


class _LogProgress(NamedTuple):
    """How much of the write-ahead log is in the database."""

    salts: bytes  # new ones when the log restarts
    done: int
    begun: int  # set before the first page is written; equal to ``done`` while no checkpoint runs

    @property
    def settled(self) -> bool:
        """True if no checkpoint is running or has failed midway."""
        return self.done == self.begun


class _FileState(NamedTuple):
    """The database file at one moment."""

    modified_ns: int
    size: int
    newest: int | None  # the last operation's id, without the log; None when it cannot be read


class ContentCheck:
    """The content of the database file after the last checkpoint; it is read again when the file has changed."""

    def __init__(self, path: Path, read_index: Callable[[], bytes]) -> None:
        """``read_index`` returns the first bytes of the log's index, or b"" when it cannot be read."""
        self._path = path
        self._read_index = read_index
        self._lock = threading.Lock()
        self._seen = _FileState(0, 0, None)
        self._progress: _LogProgress | None = None  # at the time of ``_seen``

    def is_overwritten(self, status: os.stat_result) -> bool:
        """Check the file, whose present state is ``status``; takes about a millisecond after each checkpoint."""
        if (status.st_mtime_ns, status.st_size) == self._seen[:2]:
            self.note_commit()
            return False
        with self._lock:
            # A checkpoint changes the index before the file, so the index is read last.
            state, progress = _read_state(self._path), self._read_progress()
            if state is None or progress is None or not progress.settled:
                return False  # a change is in progress: the next check decides
            if progress == self._progress and state[1:] != self._seen[1:]:
                return self._is_stable(state, progress)
            if state == _read_state(self._path):
                self._seen, self._progress = state, progress
            return False

    def note_commit(self) -> None:
        """Record that the log restarted, which does not change the file. Call it after a commit."""
        progress = self._read_progress()
        if progress is None or progress == self._progress or not progress.settled:
            return
        with self._lock, contextlib.suppress(OSError):
            status = self._path.stat()
            if (status.st_mtime_ns, status.st_size) == self._seen[:2]:
                self._progress = progress

    def _is_stable(self, state: _FileState, progress: _LogProgress) -> bool:
        for _ in range(_CONFIRMATIONS - 1):
            time.sleep(_CONFIRM_PAUSE_S)
            if state != _read_state(self._path) or progress != self._read_progress():
                return False
        return True

    def _read_progress(self) -> _LogProgress | None:
        data = self._read_index()
        return _LogProgress(*_INDEX.unpack(data)) if len(data) == INDEX_BYTES else None


def _read_state(path: Path) -> _FileState | None:
    """Return the state of the file; None when it is gone or changes during the call."""
    try:
        before = path.stat()
        newest = _newest_operation_id(path)
        after = path.stat()
    except OSError:
        return None
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        return None
    return _FileState(after.st_mtime_ns, after.st_size, newest)


def _newest_operation_id(path: Path) -> int | None:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.Connection(uri, uri=True, isolation_level=None)) as raw:
            (newest,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    except SQLITE_ERRORS:
        return None
    return int(newest)
