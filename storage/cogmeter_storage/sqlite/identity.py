"""Checks that the open files are still the ones at their paths, and keeps SQLite's locks on them."""

from __future__ import annotations

import contextlib
import enum
import os
import struct
import sys
from typing import TYPE_CHECKING, Final

from cogmeter_storage.base import DetachedStoreError
from cogmeter_storage.sqlite.overwritten import INDEX_BYTES, Content

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "linux":
    import fcntl

LOG, INDEX = "-wal", "-shm"

# The bytes that every connection in WAL mode locks for reading, from SQLite's file format: SHARED_FIRST and SHARED_SIZE
# of the database, and the "dead man switch" of the index.
_DATABASE_RANGE: Final = (0x40000002, 510)
_INDEX_RANGE: Final = (128, 1)
_CLOSE_ON_EXEC: Final = getattr(os, "O_CLOEXEC", 0)


class Loss(enum.Enum):
    """How the open database lost its place on the disk."""

    DELETED = "was deleted or moved away while the bot has it open"
    REPLACED = "was replaced by another file while the bot has it open"
    OVERWRITTEN = "was overwritten with other content while the bot has it open"
    LOG = "lost its write-ahead log (-wal) or its index (-shm) while the bot has it open"


class Identity:
    """The inodes of a database, its write-ahead log and its index, as they were when the connection was opened.

    SQLite never replaces these files while a connection is open. If one is gone, what is written from then on lies in
    a file without a name, and is lost when the process ends.
    """

    def __init__(self, path: Path, lock: SharedLock) -> None:
        """Note the files. Call it when the connection has read something, so that its log exists.

        Their content is noted by the first ``check`` after ``lock`` has been taken.
        """
        self.path = path
        self._paths = {suffix: _beside(path, suffix) for suffix in ("", LOG, INDEX)}
        self._noted = {suffix: _inode(_status(file)) for suffix, file in self._paths.items()}
        self._content = Content(path, lock.read_index)

    def loss(self) -> Loss | None:
        """Return what happened to the files, or None while they are in place. Costs a few microseconds."""
        status = _status(self.path)
        if status is None:
            return Loss.DELETED
        if _inode(status) != self._noted[""]:
            return Loss.REPLACED
        if self._noted[LOG] is not None and self._content.is_overwritten(status):
            return Loss.OVERWRITTEN
        return None if self._has(LOG) and self._has(INDEX) else Loss.LOG

    def check(self) -> None:
        """Refuse to go on with files that are gone.

        Raises:
            DetachedStoreError: one of them is.
        """
        loss = self.loss()
        if loss is not None:
            raise DetachedStoreError(f"Database {self.path} {loss.value}.")

    def follow(self) -> None:
        """Note what a commit of this process changed in the index. Costs a few microseconds."""
        self._content.follow()

    def own(self, suffix: str) -> Path | None:
        """Return the path of the log or the index if the noted file is still there."""
        return self._paths[suffix] if self._noted[suffix] is not None and self._has(suffix) else None

    def _has(self, suffix: str) -> bool:
        """Check that a noted file is in its place; what was not there when it was noted cannot be lost."""
        noted = self._noted[suffix]
        return noted is None or noted == _inode(_status(self._paths[suffix]))


class SharedLock:
    """The read locks of an open connection, held a second time in a way that nothing in this process can drop.

    POSIX drops all locks that a process has on a file as soon as it closes any descriptor of it: a bot that uploads or
    copies its database would make every other program believe that nobody has it open. Locks of an open file
    description (Linux) stay until they are released here. Elsewhere nothing is locked, and ``Identity`` notices.
    """

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}  # by suffix

    def take(self, path: Path) -> None:
        """Lock a database in WAL mode and its index; a file system without such locks is left alone."""
        for suffix, (start, length) in (("", _DATABASE_RANGE), (INDEX, _INDEX_RANGE)):
            with contextlib.suppress(OSError):
                self._descriptors[suffix] = os.open(_beside(path, suffix), os.O_RDONLY | _CLOSE_ON_EXEC)
                if sys.platform == "linux":
                    _lock(self._descriptors[suffix], fcntl.F_RDLCK, start, length)

    def read_index(self) -> bytes:
        """Return the first bytes of the index; b"" when it cannot be read. It opens no file, so it drops no lock."""
        if INDEX in self._descriptors and sys.platform != "win32":
            with contextlib.suppress(OSError):
                return os.pread(self._descriptors[INDEX], INDEX_BYTES, 0)
        return b""

    def release(self) -> None:
        """Unlock, before the last connection closes: to close cleanly, SQLite needs the database for itself."""
        if sys.platform == "linux":
            for descriptor in self._descriptors.values():
                with contextlib.suppress(OSError):
                    _lock(descriptor, fcntl.F_UNLCK, 0, 0)

    def close(self) -> None:
        """Close the descriptors. That drops SQLite's own locks too, so close its connections before."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


def _lock(descriptor: int, kind: int, start: int, length: int) -> None:
    """Lock or unlock bytes of a file for this open file description. A length of 0 reaches to the end."""
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


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
