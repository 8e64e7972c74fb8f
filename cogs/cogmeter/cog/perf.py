"""The cog: starts the monitor, puts the command group into the bot's tree, and takes both out again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.cog import (
    alert_buttons,
    alerts,
    doctor,
    mutes,
    report,
    stats,
    summary,
    test_alert,
    thresholds,
    weekly_report,
)
from cogmeter.cog.access_policy import AccessPolicy
from cogmeter.cog.registration import Registration
from cogmeter.cog.responder import Responder
from cogmeter.monitor.monitor import Monitor
from cogmeter.web.server.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.settings import Settings

_logger = logging.getLogger("cogmeter.cog")

# Every command family; a new one is a file beside this, and a line here.
FAMILIES: Final[tuple[Callable[[app_commands.Group, Responder], None], ...]] = (
    summary.add,
    stats.add,
    alerts.add,
    thresholds.add,
    mutes.add,
    report.add,
    test_alert.add,
    doctor.add,
)


# The name is in lower case because help commands look cogs up so.
class Perf(commands.Cog, name="cogmeter", description="How this bot performs: summary and statistics."):
    """``bot.get_cog("cogmeter").monitor`` is the running monitor, ``.servers`` what serves it to browsers."""

    def __init__(self, bot: commands.Bot, settings: Settings) -> None:
        self.bot = bot
        self.monitor = Monitor(bot, settings)
        self.servers = Servers(self.monitor)
        self._guild = None if settings.guild_id is None else discord.Object(settings.guild_id)
        # No default permissions: they would hide the commands from an owner or role that is no administrator. The
        # gate decides at each use.
        self._group = app_commands.Group(name=settings.command_group, description="How this bot performs")
        self._registration = Registration(bot, self._group, self._guild, sync=settings.sync_commands)
        self._desk = Responder(self.monitor, AccessPolicy(bot, settings), self.servers)
        for add in FAMILIES:
            add(self._group, self._desk)

    async def cog_load(self) -> None:
        """Start the monitor, then offer its commands.

        Raises:
            SettingsError: a setting does not fit this machine or this bot.
            RecorderInUseError: cogmeter monitors another bot in this process.
        """
        await self.monitor.start()
        parts = self.monitor.parts
        self.monitor.reporters.append(self._registration.findings)
        self._registration.offer()
        with parts.guard("alert buttons", "they do not answer"):
            alert_buttons.add(self.bot, self._desk)
        with parts.guard("weekly report", "it is not posted"):
            self.monitor.schedule.every(
                weekly_report.INTERVAL_S, "weekly report", weekly_report.WeeklyReport(self.monitor).run
            )
        self.monitor.on_stop(self.servers.stop)  # also when another monitor takes the place of a closed bot's
        await self.servers.start()
        with parts.guard("command registration", "the commands may be missing in Discord"):
            if self.bot.is_ready():
                await self.on_ready()

    async def cog_unload(self) -> None:
        """Take the commands out and stop everything; what is buffered is stored first."""
        await self._registration.end()
        alert_buttons.remove(self.bot)
        await self._desk.close()
        await self.servers.stop()
        await self.monitor.stop()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """See to it that commands are registered and alerts can be told, once the bot knows who and where it is."""
        self._registration.begin()
        await self.monitor.ready()
