"""Opens the store of a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from cogmeter_storage.base import Store

_SQLITE = "sqlite:///"
_SHOWN = 100  # characters of a wrong URL in a message
_ENDINGS = (".db", ".sqlite", ".sqlite3")
_EXPECTED = "expected sqlite:///data/performance.db (relative) or sqlite:////var/lib/bot/performance.db (absolute)"


async def open_store(url: str, *, replace_corrupt: bool = False, read_only: bool = False) -> Store:
    """Open the store at ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``; create missing folders.

    Args:
        url: the location of the database (the setting PERFORMANCE_DATABASE_URL).
        replace_corrupt: set a damaged database aside as ``<name>.corrupt-<UTC time>``, log an error, and start a new
            one.
        read_only: for a process other than the writer: take no lock; every writing method raises StorageError.

    Raises:
        CorruptStoreError: the database is damaged, and ``replace_corrupt`` is false.
        StorageError: it cannot be opened; the text names the reason and the next step.
    """
    path = sqlite_path(url)
    from cogmeter_storage.sqlite import SqliteStore

    return await SqliteStore.open(path, url, replace_corrupt=replace_corrupt, read_only=read_only)


def is_written(path: Path) -> bool:
    """Return True if a bot, or another writer of cogmeter, has this SQLite file open now."""
    from cogmeter_storage.sqlite.file_identity import is_locked

    return is_locked(path)


def sqlite_path(url: str) -> Path:
    """Return the path of an SQLite URL.

    Raises:
        StorageError: it is not an SQLite URL.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme.partition("+")[0] in ("postgresql", "postgres"):
        raise StorageError(
            f"PERFORMANCE_DATABASE_URL names a PostgreSQL server, which this version cannot use yet: {_EXPECTED}.",
            permanent=True,
        )
    name = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not name or name.endswith("/") or name == ":memory:" or "?" in name:
        raise StorageError(
            f"PERFORMANCE_DATABASE_URL={_without_secrets(url)} names no database file: {_EXPECTED}.", permanent=True
        )
    return Path(name)


def _without_secrets(url: str) -> str:
    """Return the part of a wrong URL that a message may show: what may be a file's path.

    A URL of another kind may contain a password, and so may a query string. A text that is no path may be the secret of
    another setting.
    """
    scheme, separator, _ = url.partition("://")
    if separator and not url.startswith(_SQLITE):
        return f"{scheme[:_SHOWN]}://..."
    path, question, _ = url.partition("?")
    if not separator and not set(path) & {"/", "\\", ":"} and not path.endswith(_ENDINGS):
        return "(hidden)"
    return path[:_SHOWN] + ("..." if question or len(path) > _SHOWN else "")
