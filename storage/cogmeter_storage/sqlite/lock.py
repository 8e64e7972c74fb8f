"""The lock beside a database file: one writer at a time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import filelock

from cogmeter_storage.sqlite.errors import unusable

_PROBE_S = 0.3  # how long is_locked() may hold a lock that a starting bot wants


def resolved(path: Path) -> Path:
    """Return the absolute path without symbolic links: one file has one lock, and stays the same after os.chdir().

    Raises:
        StorageError: the links lead nowhere.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # before Python 3.13, a loop of links is a RuntimeError
        raise unusable(path, f"is a symbolic link that leads nowhere ({error})", "remove the link") from error


def take(path: Path) -> filelock.BaseFileLock:
    """The writer's lock, taken; the system frees it when the process dies.

    Raises:
        StorageError: another process holds it, or it cannot be made here.
    """
    lock = filelock.FileLock(f"{path}.lock", thread_local=False)
    try:
        lock.acquire(timeout=_PROBE_S, poll_interval=0.02)
    except filelock.Timeout as error:
        raise unusable(
            path, f"is being written by another bot, which holds {path.name}.lock", "end that bot"
        ) from error
    except OSError as error:
        reason = f"cannot be written: its lock {path.name}.lock cannot be made ({error.strerror or error})"
        raise unusable(path, reason, "make the folder writable for the bot") from error
    _give_to_owner(Path(lock.lock_file), path)
    return lock


def _give_to_owner(lock: Path, path: Path) -> None:
    """Let the lock belong to whom the database belongs, as SQLite does with the files that it makes beside it.

    Or what an administrator did with a database, such as a vacuum, would leave its bot without the right to lock it.
    """
    if path.exists() and hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = path.stat()
        with contextlib.suppress(OSError):
            os.chown(lock, owner.st_uid, owner.st_gid)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the writer's lock; none is made where there is none."""
    name = Path(f"{resolved(path)}.lock")
    if not name.exists():
        return False
    lock = filelock.FileLock(name, thread_local=False)
    try:
        with lock.acquire(blocking=False):
            return False
    except (filelock.Timeout, OSError):
        return True
