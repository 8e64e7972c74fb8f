"""What the command line sends to push targets: samples that check them, and ranges of the past."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from cogmeter.diagnostics.judgement import settings_of_bot, stored_health
from cogmeter.monitor.git_revision import revision
from cogmeter.monitor.pushing import stored_origin
from cogmeter.push.backfill import Backfill
from cogmeter.push.base import PushError
from cogmeter.push.table import TARGETS, build, switched_on
from cogmeter.query.query import Query
from cogmeter.query.records import UnknownNameError
from cogmeter.settings import env_name, merged
from cogmeter_bot.errors import RequestError
from cogmeter_bot.sources.factory import database_url, quiet_settings
from cogmeter_storage import StorageError, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence
    from pathlib import Path

    from cogmeter.push.backfill import BackfillReport
    from cogmeter.push.base import PushTarget
    from cogmeter.query.records import Range
    from cogmeter.settings import Settings
    from cogmeter_storage import Store


class CheckedTarget(NamedTuple):
    """What the endpoint of one target said to a sample."""

    name: str
    well: bool
    text: str


async def check_targets(names: Sequence[str], database: Path | None) -> list[CheckedTarget]:
    """Send a sample to these targets, else to those that are switched on.

    Raises:
        RequestError: none is named or switched on.
        SettingsError: a setting of a target is missing or invalid.
    """
    try:
        async with _opened(database) as (store, settings):
            return await _check(names, store, settings)
    except StorageError:  # the bot has not run yet: its settings can be checked all the same
        return await _check(names, None, quiet_settings())


async def _check(names: Sequence[str], store: Store | None, settings: Settings) -> list[CheckedTarget]:
    names = list(dict.fromkeys(names)) or switched_on(settings)
    if not names:
        switches = " or ".join(env_name(field) for _, field in TARGETS.values())
        example = next(iter(TARGETS))
        raise RequestError(
            f"No push target is switched on. Set {switches}, or name a target: cogmeter push --check {example}."
        )
    results = []
    for name in names:
        target = await _target(name, store, settings)
        try:
            results.append(CheckedTarget(name, well=True, text=await target.check()))
        except PushError as error:
            results.append(CheckedTarget(name, well=False, text=str(error)))
    return results


async def send_range(
    name: str,
    time_range: Range,
    services: Collection[str] | None,
    database: Path | None,
    progress: Callable[[int, int], None],
) -> BackfillReport:
    """Send a range of the database to a target, switched on or not; see ``Backfill`` for ``progress``.

    Raises:
        BackfillStoppedError: the target did not accept a request.
        RequestError: one of the services is unknown.
        SettingsError: a setting of the target is missing or invalid.
        StorageError: the database cannot be read.
    """
    async with _opened(database) as (store, settings):
        if services is not None:
            try:
                await Query(store).require_services(services)
            except UnknownNameError as error:
                raise RequestError(str(error)) from error
        target = await _target(name, store, settings)
        since_us, until_us = time_range.since_us, time_range.until_us
        return await Backfill(
            target, store, since_us=since_us, until_us=until_us, services=services, progress=progress
        ).run()


@asynccontextmanager
async def _opened(database: Path | None) -> AsyncIterator[tuple[Store, Settings]]:
    """Open the database read-only, with the settings in effect."""
    settings = quiet_settings()
    store = await open_store(database_url(settings, database), read_only=True)
    try:
        yield store, await _in_effect(store, settings)
    finally:
        await store.close()


async def _in_effect(store: Store, settings: Settings) -> Settings:
    """Return the settings of the bot that writes the database, with the changes that were made in chat."""
    of_bot = settings_of_bot(settings, await stored_health(store))
    return merged(of_bot, await store.alerting.overrides()).settings


async def _target(name: str, store: Store | None, settings: Settings) -> PushTarget:
    version = settings.version or await asyncio.to_thread(revision)
    origin = await stored_origin(store, settings, version)
    return await asyncio.to_thread(build, name, settings, origin)
