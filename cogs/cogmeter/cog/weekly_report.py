"""Posts the alert report to the alert channel on Mondays. A restart neither repeats it nor skips it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import discord

from cogmeter.cog.report import made
from cogmeter.notifiers.base import NotifyError
from cogmeter.notifiers.discord_channel.channel import BROKEN, AlertChannel
from cogmeter.query.query import now_us
from cogmeter.query.records import Range
from cogmeter.render.embeds.report import report_embed
from cogmeter_storage.base import StorageError
from cogmeter_storage.model import DAY_US, HOUR_US

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.monitor.monitor import Monitor
    from cogmeter.notifiers.discord_channel.channel import Room

INTERVAL_S: Final = 600.0  # how often it is looked whether a week is over
KEY: Final = "weekly_report"  # what is remembered: "posted 2915", or "begun 2915" while nobody knows whether it arrived
WEEK_US: Final = 7 * DAY_US
FIRST_US: Final = 4 * DAY_US + 8 * HOUR_US  # Monday, 1970-01-05, 08:00 UTC
LOOKED_AT: Final = 100  # messages of the channel, for a report that may have arrived

_logger = logging.getLogger("cogmeter.cog")


class WeeklyReport:
    """Posts the report of each week once that is over. Trouble is logged when it changes, and tried again."""

    def __init__(self, monitor: Monitor, *, clock: Callable[[], int] = now_us) -> None:
        self._monitor = monitor
        self._clock = clock
        self._trouble = ""

    async def run(self) -> None:
        """Post what is due; to be called every few minutes. Never raises for what Discord or the store did."""
        try:
            await self._post_due()
        except (NotifyError, StorageError) as error:
            if str(error) != self._trouble:
                _logger.warning("The weekly report could not be posted: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = ""

    async def _post_due(self) -> None:
        """The first time only the week is noted: there is nothing to report on yet."""
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
        """Post it, and note before and after; ``begun``: it was tried before, and may have arrived."""
        settings, store = self._monitor.settings, self._monitor.store
        channel = AlertChannel(self._monitor.bot, settings)
        room = await channel.room()
        until_us = FIRST_US + week * WEEK_US
        report = await made(store, settings, Range(until_us - WEEK_US, until_us, "last 7 days"))
        embed = report_embed(report, weekly=True)
        try:
            if not (begun and await self._stands(room, embed)):
                await store.set_value(KEY, _written("begun", week))
                nobody = discord.AllowedMentions.none()
                await room.send(embed=embed, silent=True, allowed_mentions=nobody, nonce=f"cogmeter-week-{week}")
        except (discord.DiscordException, *BROKEN) as error:
            raise channel.refused(error) from error
        await store.set_value(KEY, _written("posted", week))

    async def _stands(self, room: Room, embed: discord.Embed) -> bool:
        """Whether this report is in the channel: its title and the days in its footer are no other message's."""
        own = self._monitor.bot.user
        async for message in room.history(limit=LOOKED_AT):
            if message.author == own and any(_days(one) == _days(embed) for one in message.embeds):
                return True
        return False


def _days(embed: discord.Embed) -> tuple[str | None, str]:
    return embed.title, (embed.footer.text or "").partition(" · ")[0]


def _written(state: str, week: int) -> bytes:
    return f"{state} {week}".encode()


def _read(kept: bytes | None) -> tuple[str, int | None]:
    """What is remembered; a week of None where it is nothing that this version wrote."""
    state, _, week = (kept or b"").decode("utf-8", "replace").partition(" ")
    return state, int(week) if week.isdecimal() else None
