"""Registers the commands with Discord where the settings say so; elsewhere tells the host once what to call."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import discord

from cogmeter.background import detached

if TYPE_CHECKING:
    from discord import app_commands
    from discord.ext import commands

_logger = logging.getLogger("cogmeter.cog")


class Registration:
    """Runs once for each load, in the background: Discord's answer can take seconds."""

    def __init__(
        self, bot: commands.Bot, group: app_commands.Group, guild: discord.Object | None, *, sync: bool
    ) -> None:
        self._bot = bot
        self._group = group
        self._guild = guild
        self._sync = sync
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start it, unless it was started before."""
        if self._task is None:
            self._task = detached(self._run(), name="cogmeter-registration")

    async def end(self) -> None:
        """Stop it, and wait until it has stopped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        try:
            if self._sync:
                registered = await self._bot.tree.sync(guild=self._guild)
                _logger.info("Registered %d commands with Discord", len(registered))
                return
            names = {command.name for command in await self._bot.tree.fetch_commands(guild=self._guild)}
        except discord.DiscordException as error:
            _logger.warning("Could not see to the registration of /%s: %s", self._group.name, error)
            return
        if self._group.name not in names:
            where = "" if self._guild is None else f"guild=discord.Object({self._guild.id})"
            _logger.warning(
                "/%s is not registered with Discord yet: call `await bot.tree.sync(%s)` once, or set "
                "PERFORMANCE_SYNC_COMMANDS=true",
                self._group.name,
                where,
            )
