"""Opens the source that the options name, and turns what it cannot do into one line and an exit code."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, TypeVar

from cogmeter.settings import SettingsError, load_settings
from cogmeter_bot.sources.base import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cogmeter.settings import Settings
    from cogmeter_bot.sources.base import Source
    from cogmeter_storage import Store

T = TypeVar("T")


def quiet_settings() -> Settings:
    """The settings, without the warnings that are the bot's to give; ``cogmeter config`` shows them.

    Raises:
        AskedError: one of them is wrong.
    """
    logging.getLogger("cogmeter").addHandler(logging.NullHandler())
    try:
        return load_settings()
    except SettingsError as error:
        raise RequestError(str(error)) from None


def url_of(settings: Settings, database: Path | None) -> str:
    """The store's URL: that of ``--database``, else that of the settings."""
    return settings.database_url if database is None else f"sqlite:///{database}"


async def open_source(url: str | None, token: str | None, database: Path | None) -> Source:
    """The API at ``url``, or the database.

    Raises:
        SourceError: it cannot be opened, or both were named.
    """
    settings = quiet_settings()
    if url is not None:
        if database is not None:
            raise RequestError("--url and --database name two sources; leave one of them out.")
        from cogmeter_bot.sources.api import ApiSource

        return await ApiSource.open(url, token, settings)
    from cogmeter_bot.sources.database import DatabaseSource

    return await DatabaseSource.open(settings, url_of(settings, database))


def ask(opened: Callable[[], Awaitable[Source]], question: Callable[[Source], Awaitable[T]]) -> T:
    """Open a source, ask it in a loop of its own, and close it again.

    Raises:
        SourceError: it cannot be opened, or cannot answer.
    """

    async def asked() -> T:
        source = await opened()
        try:
            return await question(source)
        finally:
            await source.close()

    return asyncio.run(asked())


async def writing(database: Path | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """Open the database for writing, do the work, and close it.

    Raises:
        SourceError: the settings are wrong.
        StorageError: it cannot be opened, as while a bot writes it, or the work cannot be done.
    """
    from cogmeter_storage import open_store

    store = await open_store(url_of(quiet_settings(), database))
    try:
        return await work(store)
    finally:
        await store.close()
