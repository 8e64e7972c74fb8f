"""Opens the store of a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from cogmeter_storage.base import Store
    from cogmeter_storage.process import Process

_SQLITE = "sqlite:///"
_SHOWN = 100  # characters of a wrong URL in a message
_ENDINGS = (".db", ".sqlite", ".sqlite3")
_EXPECTED = "expected sqlite:///data/performance.db (relative) or sqlite:////var/lib/bot/performance.db (absolute)"


async def open_store(
    url: str, *, replace_corrupt: bool = False, read_only: bool = False, process: Process | None = None
) -> Store:
    """Open the store at ``sqlite:///relative/path.db``, ``sqlite:////absolute/path.db`` or ``postgresql://host/database``.

    Missing folders and tables are created.

    Args:
        url: the location of the database (the setting PERFORMANCE_DATABASE_URL).
        replace_corrupt: set a damaged database aside as ``<name>.corrupt-<UTC time>``, log an error, and start a new
            one.
        read_only: for a process other than the writer: take no lock; every writing method raises StorageError.
        process: how this process is called among those that share a PostgreSQL database (default: by host and pid).

    Raises:
        CorruptStoreError: the database is damaged, and ``replace_corrupt`` is false.
        StorageError: it cannot be opened; the text names the reason and the next step.
    """
    if is_postgres(url):
        return await _open_postgres(url, read_only=read_only, process=process)
    path = sqlite_path(url)
    from cogmeter_storage.sqlite import SqliteStore

    return await SqliteStore.open(path, url, replace_corrupt=replace_corrupt, read_only=read_only)


def is_written(path: Path) -> bool:
    """Return True if a bot, or another writer of cogmeter, has this SQLite file open now."""
    from cogmeter_storage.sqlite.file_identity import is_locked

    return is_locked(path)


def is_postgres(url: str) -> bool:
    """Return True if a URL names a PostgreSQL database."""
    scheme, separator, _ = url.partition("://")
    return bool(separator) and scheme.partition("+")[0] in ("postgresql", "postgres")


def database_file(url: str) -> Path | None:
    """Return the path of an SQLite URL; None for a database on a server.

    Raises:
        StorageError: it is neither.
    """
    return None if is_postgres(url) else sqlite_path(url)


def shown_url(url: str) -> str:
    """Return a valid database URL without user, password and parameters, as messages may show it."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest if scheme == 'sqlite' else rest.rpartition('@')[2]}"


async def _open_postgres(url: str, *, read_only: bool, process: Process | None) -> Store:
    try:
        from cogmeter_storage.postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise StorageError(
            "PERFORMANCE_DATABASE_URL names a PostgreSQL server, which needs another package. To fix it:"
            ' pip install "cogmeter[postgres]".',
            permanent=True,
        ) from error
    return await PostgresStore.open(url, read_only=read_only, process=process)


def sqlite_path(url: str) -> Path:
    """Return the path of an SQLite URL.

    Raises:
        StorageError: it is not an SQLite URL.
    """
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
