"""Posts the alert report to the alert channel on Mondays. A restart neither repeats nor skips it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import discord

from cogmeter.cog.report import alert_report
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_channel.channel import BROKEN, NO_MENTIONS, AlertChannel
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.render.embeds.report import report_embed
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.notifiers.discord_channel.channel import MessageableChannel

INTERVAL_S: Final = 600.0  # how often the job checks whether a week is over
KEY: Final = "weekly_report"  # of the stored state: "posted 2915", or "begun 2915" until Discord has confirmed it
WEEK_US: Final = 7 * DAY_US
FIRST_US: Final = 4 * DAY_US + 8 * HOUR_US  # Monday, 1970-01-05, 08:00 UTC
SEARCHED: Final = 100  # messages of the channel that may be a report whose sending was interrupted

_logger = logging.getLogger("cogmeter.cog")


class WeeklyReport:
    """The job that posts each week's report once the week is over. It retries, and logs an error when it changes."""

    def __init__(self, monitor: Monitor, *, clock: Callable[[], int] = now_us) -> None:
        self._monitor = monitor
        self._clock = clock
        self._last_error = ""

    async def run(self) -> None:
        """Post the report that is due. Never raises for an error of Discord or the store."""
        try:
            await self._post_due()
        except (NotifyError, StorageError) as error:
            if str(error) != self._last_error:
                _logger.warning("The weekly report could not be posted: %s", error)
            self._last_error = str(error)
        else:
            self._last_error = ""

    async def _post_due(self) -> None:
        """Post the report of the last week; on the first run only store the week, as there is nothing to report."""
        settings, store = self._monitor.settings, self._monitor.store
        if not settings.alert_weekly_report or settings.alert_channel_id is None:
            return
        week = (self._clock() - FIRST_US) // WEEK_US
        state, last = _read(await store.get_value(KEY))
        if last is None:
            await store.set_value(KEY, _written("posted", week))
        elif last < week:
            await self._post(week, begun=False)
        elif last == week and state == "begun":
            await self._post(week, begun=True)

    async def _post(self, week: int, *, begun: bool) -> None:
        """Post a report and store the state before and after; ``begun``: an earlier attempt may have arrived."""
        settings, store = self._monitor.settings, self._monitor.store
        alert_channel = AlertChannel(self._monitor.bot, settings)
        channel = await alert_channel.resolve()
        until_us = FIRST_US + week * WEEK_US
        report = await alert_report(store, settings, Range(until_us - WEEK_US, until_us, "last 7 days"))
        embed = report_embed(report, weekly=True)
        try:
            if not (begun and await self._was_posted(channel, embed)):
                await store.set_value(KEY, _written("begun", week))
                nonce = f"cogmeter-week-{week}"
                await channel.send(embed=embed, silent=True, allowed_mentions=NO_MENTIONS, nonce=nonce)
        except (discord.DiscordException, *BROKEN) as error:
            raise alert_channel.refused(error) from error
        await store.set_value(KEY, _written("posted", week))

    async def _was_posted(self, channel: MessageableChannel, embed: discord.Embed) -> bool:
        """Return whether the channel has this report: no other message has its title and the days of its footer."""
        own = self._monitor.bot.user
        async for message in channel.history(limit=SEARCHED):
            if message.author == own and any(_days(posted) == _days(embed) for posted in message.embeds):
                return True
        return False


def _days(embed: discord.Embed) -> tuple[str | None, str]:
    return embed.title, (embed.footer.text or "").partition(" · ")[0]


def _written(state: str, week: int) -> bytes:
    return f"{state} {week}".encode()


def _read(stored: bytes | None) -> tuple[str, int | None]:
    """Return the stored state and week; the week is None if this version did not write them."""
    state, _, week = (stored or b"").decode("utf-8", "replace").partition(" ")
    return state, int(week) if week.isdecimal() else None
