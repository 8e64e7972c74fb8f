"""Checks whose database a file is before anything could change it."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from typing import TYPE_CHECKING

from cogmeter_storage.base import StorageError
from cogmeter_storage.schema import APPLICATION_ID, SQLITE_VERSION
from cogmeter_storage.sqlite.errors import SQLITE_ERRORS, primary_code, storage_error, unreadable, unusable

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"SQLite format 3\0"


def check_header(path: Path, *, must_exist: bool = False) -> None:
    """Refuse a file that is not our database by its first page. Our application id is there from the first commit on.

    SQLite itself reads it, without locks and without the write-ahead log: opening the file here, and closing it, would
    drop the locks of every connection that this process has to it.

    Raises:
        StorageError: it is no SQLite database, or not ours, or of a later version; or it is missing or unreadable.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        if must_exist:
            raise StorageError(
                f"Database {path} does not exist. To mend it: run the bot once, or set PERFORMANCE_DATABASE_URL to the "
                "file that it writes.",
                permanent=True,
            ) from error
        return
    except OSError as error:
        raise unusable(path, f"cannot be read ({error.strerror or error})", "make it readable for the bot") from error
    if not path.is_file():
        raise unusable(path, "is a directory or a device, not a file", "move it away")
    if not size:
        if must_exist:
            raise unusable(path, "is empty: no bot has written it yet", "start the bot on it once")
        return
    found = _read(path)
    if found is None:
        return
    application, version = found
    if application != APPLICATION_ID:
        raise _foreign(path)
    refuse_newer(path, version)


def check_version(raw: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of the database, 0 for an empty one.

    Raises:
        StorageError: it is not ours, or of a later version; the first page alone may not show that yet.
    """
    (application,) = raw.execute("PRAGMA application_id").fetchone()
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    if pages and application != APPLICATION_ID:
        raise _foreign(path)
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    refuse_newer(path, version)
    return int(version)


def refuse_newer(path: Path, version: int) -> None:
    """Raise StorageError for a schema version that is later than ours."""
    if version > SQLITE_VERSION:
        raise unusable(
            path,
            f"has schema version {version}, later than the {SQLITE_VERSION} known here; it has not been touched",
            "install that later version of cogmeter again",
        )


def _foreign(path: Path) -> StorageError:
    return unusable(path, "belongs to another program; it has not been touched", "move it away")


def _read(path: Path) -> tuple[int, int] | None:
    """Return application id and schema version of the first page; None when it is damaged, but a database."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as raw:
            raw.execute("PRAGMA writable_schema = ON")  # of a file that was cut off, the first page can be read
            (application,) = raw.execute("PRAGMA application_id").fetchone()
            (version,) = raw.execute("PRAGMA user_version").fetchone()
    except SQLITE_ERRORS as error:
        code = primary_code(error)
        if code == sqlite3.SQLITE_NOTADB:
            _refuse_foreign(path)
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return None  # the caller finds out what is wrong, with its own connection
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise unusable(path, f"cannot be read ({error})", "make it readable for the bot") from error
        raise storage_error(error, path) from error
    return application, version


def _refuse_foreign(path: Path) -> None:
    """Refuse what does not begin as an SQLite database.

    This opens the file. SQLite has just refused it, so no connection can depend on a lock on it.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        if error.errno == errno.EIO:
            raise unreadable(path) from error
        raise unusable(path, f"cannot be read ({error.strerror or error})", "make it readable for the bot") from error
    if not header.startswith(_MAGIC):
        raise unusable(path, "is no SQLite database; it has not been touched", "move it away")
    if header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        raise _foreign(path)
