"""The cog: starts the monitor and adds the command group to the bot's tree, and stops and removes them again."""

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
    errors,
    mutes,
    report,
    running,
    statistics,
    thresholds,
    weekly_report,
)
from cogmeter.cog.registration import Registration
from cogmeter.cog.responder import AccessPolicy, Responder
from cogmeter.monitor.monitor import Monitor
from cogmeter.web.server.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter.settings import Settings

_logger = logging.getLogger("cogmeter.cog")

# Every command family: a new one is a file in this package and a line here.
FAMILIES: Final[tuple[Callable[[app_commands.Group, Responder], None], ...]] = (
    statistics.add,
    running.add,
    alerts.add,
    thresholds.add,
    mutes.add,
    errors.add,
    report.add,
    doctor.add,
)


# The name is in lower case because help commands look up cogs by it.
class Perf(commands.Cog, name="cogmeter", description="How this bot performs: summary and statistics."):
    """``bot.get_cog("cogmeter").monitor`` is the running monitor, ``.servers`` its HTTP servers."""

    def __init__(self, bot: commands.Bot, settings: Settings) -> None:
        self.bot = bot
        self.monitor = Monitor(bot, settings)
        self.servers = Servers(self.monitor)
        self._guild = None if settings.guild_id is None else discord.Object(settings.guild_id)
        # No default permissions: they would hide the commands from an owner or role without administrator rights.
        # AccessPolicy decides at each use.
        self._group = app_commands.Group(name=settings.command_group, description="How this bot performs")
        self._registration = Registration(bot, self._group, self._guild, sync=settings.sync_commands)
        self._responder = Responder(self.monitor, AccessPolicy(bot, settings), self.servers)
        for add in FAMILIES:
            add(self._group, self._responder)

    async def cog_load(self) -> None:
        """Start the monitor, then add its commands.

        Raises:
            SettingsError: a setting does not fit this machine or this bot.
            RecorderInUseError: cogmeter monitors another bot in this process.
        """
        await self.monitor.start()
        parts = self.monitor.parts
        self.monitor.reporters.append(self._registration.findings)
        self._registration.offer()
        with parts.guard("alert buttons", "they do not answer"):
            alert_buttons.add(self.bot, self._responder)
        with parts.guard("weekly report", "it is not posted"):
            self.monitor.schedule.every(
                weekly_report.INTERVAL_S, "weekly report", weekly_report.WeeklyReport(self.monitor).run
            )
        self.monitor.on_stop(self.servers.stop)  # also when another monitor replaces that of a closed bot
        await self.servers.start()
        with parts.guard("command registration", "the commands may be missing in Discord"):
            if self.bot.is_ready():
                await self.on_ready()

    async def cog_unload(self) -> None:
        """Remove the commands and stop everything; buffered operations are stored first."""
        await self._registration.end()
        alert_buttons.remove(self.bot)
        await self._responder.close()
        await self.servers.stop()
        await self.monitor.stop()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """Register the commands and check the alert targets, now that the bot is connected."""
        self._registration.begin()
        await self.monitor.ready()
