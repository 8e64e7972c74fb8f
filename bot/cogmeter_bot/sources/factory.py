"""Opens the source that the options name, and reopens one that was gone."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from cogmeter.settings import SettingsError, load_settings
from cogmeter_bot.errors import NoDataError, RequestError, SourceError
from cogmeter_storage import StorageError, open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cogmeter.settings import Settings
    from cogmeter_bot.sources.base import Source
    from cogmeter_storage import Store

T = TypeVar("T")


def quiet_settings() -> Settings:
    """Return the settings without their warnings, which the bot logs and ``cogmeter config`` shows.

    Raises:
        RequestError: one of them is wrong.
    """
    logging.getLogger("cogmeter").addHandler(logging.NullHandler())
    try:
        return load_settings()
    except SettingsError as error:
        raise RequestError(str(error)) from None


def database_url(settings: Settings, database: Path | None) -> str:
    """Return the URL of ``--database``, else that of the settings."""
    return settings.database_url if database is None else f"sqlite:///{database}"


async def open_source(url: str | None, token: str | None, database: Path | None, process: str | None = None) -> Source:
    """Open the API at ``url``, or the database; with ``process``, read only its operations.

    Raises:
        SourceError: it cannot be opened, or both are set.
    """
    settings = quiet_settings()
    if url is not None:
        if database is not None:
            raise RequestError("--url and --database name two sources. Remove one of them.")
        from cogmeter_bot.sources.api import ApiSource

        return await ApiSource.open(url, token, settings, process)
    from cogmeter_bot.sources.database import DatabaseSource

    return await DatabaseSource.open(settings, database_url(settings, database), process)


def run_query(opener: Callable[[], Awaitable[Source]], request: Callable[[Source], Awaitable[T]]) -> T:
    """Open a source, return the result of ``request`` from a new event loop, and close the source.

    Raises:
        SourceError: it cannot be opened, or cannot answer.
    """

    async def query() -> T:
        source = await opener()
        try:
            return await request(source)
        finally:
            await source.close()

    return asyncio.run(query())


async def write_database(database: Path | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the database for writing, return the result of ``work``, and close it.

    Raises:
        SourceError: the settings are wrong.
        StorageError: it cannot be opened, for example because a bot writes it, or the work fails.
    """
    store = await open_store(database_url(quiet_settings(), database))
    try:
        return await work(store)
    finally:
        await store.close()


class ReconnectingSource:
    """A source that is opened at the first query, and again after it failed or its file was replaced."""

    def __init__(self, opener: Callable[[], Awaitable[Source]], file: Path | None = None) -> None:
        """``file`` is the database file; None for an API."""
        self._opener = opener
        self._file = file
        self._file_id: tuple[int, int] | None = None
        self._source: Source | None = None

    async def query(self, request: Callable[[Source], Awaitable[T]]) -> T:
        """Return the result of ``request``.

        Raises:
            SourceError: the source cannot answer now; a later query may succeed.
        """
        try:
            return await request(await self._current())
        except StorageError as error:
            await self.close()
            raise NoDataError(str(error)) from error
        except OSError as error:
            await self.close()
            raise NoDataError(f"{error.strerror or error}.") from error
        except SourceError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the source; the next query opens it again."""
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def _current(self) -> Source:
        # An open connection continues to read a file that was moved away, without an error.
        file_id = _file_id(self._file)
        if self._source is not None and file_id != self._file_id:
            await self.close()
        if self._source is None:
            self._file_id = file_id
            self._source = await self._opener()
        return self._source


def _file_id(file: Path | None) -> tuple[int, int] | None:
    """Return the device and inode of a file, which a file that replaces it does not have; None without a file."""
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
