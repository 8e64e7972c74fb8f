"""``cogmeter health``: whether the monitor writes and its bot is connected, by a look into the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from cogmeter_bot.cli.options import Finite
from cogmeter_bot.cli.terminal_text import echo
from cogmeter_bot.sources.freshness import CONNECTED, limit_s

if TYPE_CHECKING:
    from cogmeter.settings import Settings
    from cogmeter_storage import Store


@click.command()
@click.option(
    "--within",
    type=Finite(1, 86_400),
    help="How old the newest record may be, in seconds; 120, or four sample intervals where that is more.",
)
def health(within: float | None) -> None:
    """Tell in one line whether the bot runs.

    It ends with 0 if so, with 1 if not, as a container's health check wants it. It needs no connection to the bot: it
    reads the database of PERFORMANCE_DATABASE_URL, in which a bot that runs leaves its gauges every
    PERFORMANCE_SAMPLE_INTERVAL.
    """
    import asyncio

    from cogmeter.settings import SettingsError, load_settings
    from cogmeter_storage import StorageError

    try:
        settings = load_settings()
        echo(asyncio.run(_examine(settings, within or limit_s(settings.sample_interval))))
    except (SettingsError, StorageError, UnhealthyError) as error:
        raise click.ClickException(str(error)) from error


class UnhealthyError(Exception):
    """The bot does not run as it should; the text says what is wrong."""


async def _examine(settings: Settings, within_s: float) -> str:
    from cogmeter_storage import open_store

    store = await open_store(settings.database_url, read_only=True)
    try:
        return await verdict(store, within_s, now_us=time.time_ns() // 1000)
    finally:
        await store.close()


async def verdict(store: Store, within_s: float, *, now_us: int) -> str:
    """One line on a bot that runs.

    Raises:
        UnhealthyError: nothing was written in the last ``within_s`` seconds, or no shard is connected.
        StorageError: the database cannot be read.
    """
    from cogmeter_storage.clock import AHEAD_US

    since_us = now_us - int(within_s * 1e6)
    samples = (await store.samples([CONNECTED], since_us, now_us + 1))[CONNECTED]
    last_end_us = (await store.status()).last_end_us or 0
    newest_us = max(last_end_us, samples[-1][0] if samples else 0)
    if newest_us > now_us + AHEAD_US:
        raise UnhealthyError(f"The newest record lies {(newest_us - now_us) / 1e6:.0f} s in the future; set the clock")
    if newest_us < since_us:
        raise UnhealthyError(f"Nothing has been written for {within_s:g} s; the bot hangs, or does not run")
    if samples and not samples[-1][1]:
        raise UnhealthyError("The bot runs, and is not connected to Discord")
    return f"Well: the last record is {max(now_us - newest_us, 0) / 1e6:.0f} s old"
