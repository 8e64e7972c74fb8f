"""Opens the store that a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from cogmeter_storage.base import Store

_SQLITE = "sqlite:///"
_SHOWN = 100  # characters of a wrong URL
_ENDINGS = (".db", ".sqlite", ".sqlite3")
_EXPECTED = "expected sqlite:///data/performance.db (relative) or sqlite:////var/lib/bot/performance.db (absolute)"


async def open_store(url: str, *, replace_corrupt: bool = False, read_only: bool = False) -> Store:
    """Open the store at ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``; missing folders are made.

    Args:
        url: where the operations live (the setting PERFORMANCE_DATABASE_URL).
        replace_corrupt: set a damaged database aside as ``<name>.corrupt-<UTC time>``, with an error in the log, and
            start a new one.
        read_only: for another process than the writer: takes no lock, and every writing method raises StorageError.

    Raises:
        CorruptStoreError: the database is damaged, and ``replace_corrupt`` is not set.
        StorageError: it cannot be opened; the text says why and how to mend it.
    """
    path = sqlite_path(url)
    from cogmeter_storage.sqlite import SqliteStore

    return await SqliteStore.open(path, url, replace_corrupt=replace_corrupt, read_only=read_only)


def is_written(path: Path) -> bool:
    """Whether a bot, or another writer of ours, has this SQLite file open now."""
    from cogmeter_storage.sqlite.lock import is_locked

    return is_locked(path)


def sqlite_path(url: str) -> Path:
    """The file that an SQLite URL names.

    Raises:
        StorageError: it is no such URL.
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
    """Return what a message repeats of a wrong URL: what may be a file's path.

    A URL of another kind may contain a password, and so may what follows a question mark. What is no path at all may be
    another setting's secret.
    """
    scheme, separator, _ = url.partition("://")
    if separator and not url.startswith(_SQLITE):
        return f"{scheme[:_SHOWN]}://..."
    path, question, _ = url.partition("?")
    if not separator and not set(path) & {"/", "\\", ":"} and not path.endswith(_ENDINGS):
        return "(hidden)"
    return path[:_SHOWN] + ("..." if question or len(path) > _SHOWN else "")
