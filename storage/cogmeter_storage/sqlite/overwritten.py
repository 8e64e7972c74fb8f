"""Notices that a database was overwritten in its place, as by ``cp backup.db performance.db`` under a running bot.

The inode stays, so only the content shows it. In WAL mode, nothing but a checkpoint writes the database file, and each
checkpoint shows in the write-ahead log's index. A file that changed without one was written by another program.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter_storage.sqlite.errors import SQLITE_ERRORS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

LOOKS: Final = 3  # that must agree
_PAUSE_S: Final = 0.2
# Of the index, from SQLite's file format: the salts of the log, and how much of it is in the database.
_INDEX: Final = struct.Struct("=32x8s56xI28xI")
INDEX_BYTES: Final = _INDEX.size


class _Progress(NamedTuple):
    """How far the write-ahead log has been brought into the database."""

    salts: bytes  # new ones when the log is begun anew
    done: int
    begun: int  # before the first page is written; equal to ``done`` while no checkpoint runs

    @property
    def settled(self) -> bool:
        """Whether no checkpoint runs, or has failed midway."""
        return self.done == self.begun


class _Seen(NamedTuple):
    """The database file at one moment."""

    modified_ns: int
    size: int
    newest: int | None  # the last operation's id, without the log; None when it cannot be read


class Content:
    """The content of the database file as the last checkpoint left it; it is read again when the file has changed."""

    def __init__(self, path: Path, read_index: Callable[[], bytes]) -> None:
        """``read_index`` returns the first bytes of the log's index, or b"" when it cannot be read."""
        self._path = path
        self._read_index = read_index
        self._lock = threading.Lock()
        self._seen = _Seen(0, 0, None)
        self._progress: _Progress | None = None  # when that was seen

    def is_overwritten(self, status: os.stat_result) -> bool:
        """Check the file, whose present state is ``status``; costs about a millisecond after each checkpoint."""
        if (status.st_mtime_ns, status.st_size) == self._seen[:2]:
            self.follow()
            return False
        with self._lock:
            # A checkpoint shows in the index before it changes the file, so the index is read last.
            found, progress = _look(self._path), self._read_progress()
            if found is None or progress is None or not progress.settled:
                return False  # in the middle of a change: the next check sees more
            if progress == self._progress and found[1:] != self._seen[1:]:
                return self._stays(found, progress)
            if found == _look(self._path):
                self._seen, self._progress = found, progress
            return False

    def follow(self) -> None:
        """Note a log that was begun anew, which does not change the file. Call it after a commit."""
        progress = self._read_progress()
        if progress is None or progress == self._progress or not progress.settled:
            return
        with self._lock, contextlib.suppress(OSError):
            status = self._path.stat()
            if (status.st_mtime_ns, status.st_size) == self._seen[:2]:
                self._progress = progress

    def _stays(self, found: _Seen, progress: _Progress) -> bool:
        for _ in range(LOOKS - 1):
            time.sleep(_PAUSE_S)
            if found != _look(self._path) or progress != self._read_progress():
                return False
        return True

    def _read_progress(self) -> _Progress | None:
        data = self._read_index()
        return _Progress(*_INDEX.unpack(data)) if len(data) == INDEX_BYTES else None


def _look(path: Path) -> _Seen | None:
    """Return what the file is now; None when it is gone, or changes meanwhile."""
    try:
        before = path.stat()
        newest = _newest(path)
        after = path.stat()
    except OSError:
        return None
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        return None
    return _Seen(after.st_mtime_ns, after.st_size, newest)


def _newest(path: Path) -> int | None:
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as raw:
            (newest,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    except SQLITE_ERRORS:
        return None
    return int(newest)
