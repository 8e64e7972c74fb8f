"""Notices that a database was overwritten in its place, as by ``cp backup.db performance.db`` under a running bot.

The inode stays, so only the content shows it. The newest operation in the file itself, without the write-ahead log,
never goes back: checkpoints only add, and clean-up removes the oldest first. An older backup has an older one. Only
setting apart what a wrong clock recorded removes the newest ones; from then on the content shows nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import os
    from pathlib import Path

LOOKS: Final = 3  # that must agree: one that coincides with a checkpoint may see half of it
_PAUSE_S: Final = 0.2


class Content:
    """The newest operation that the database file was seen to hold; looked at again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen = (0, 0)
        self._newest = 0
        self._rewound = False
        with contextlib.suppress(OSError):
            self.is_older(path.stat())

    def is_older(self, status: os.stat_result) -> bool:
        """Check the file, whose present state is ``status``; costs about a millisecond after each checkpoint."""
        seen = (status.st_mtime_ns, status.st_size)
        if seen == self._seen or self._rewound:
            return False
        with self._lock:
            newest = _newest(self._path)
            if newest is None:  # in the middle of a change: the next check sees more
                return False
            if not newest or newest >= self._newest:  # clean-up may have removed all
                self._newest, self._seen = newest or self._newest, seen
                return False
            return self._is_still_older(seen)

    def rewind(self) -> None:
        """Stop looking: the newest operations are about to be removed, and any checkpoint may bring that in part."""
        with self._lock:
            self._rewound = True

    def _is_still_older(self, seen: tuple[int, int]) -> bool:
        for _ in range(LOOKS - 1):
            time.sleep(_PAUSE_S)
            try:
                status = self._path.stat()
            except OSError:
                return False
            newest = _newest(self._path)
            if seen != (status.st_mtime_ns, status.st_size) or not newest or newest >= self._newest:
                return False
        return True


def _newest(path: Path) -> int | None:
    """Return the last operation's id in the file without its log, 0 without any; None when it cannot be read now."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as raw:
            (newest,) = raw.execute("SELECT ifnull(max(id), 0) FROM operation").fetchone()
    except sqlite3.Error:
        return None
    return int(newest)
