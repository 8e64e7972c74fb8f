"""Who may use the commands: the bot's owner or team, and the roles that a setting names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

if TYPE_CHECKING:
    from discord.ext import commands

    from cogmeter.settings import Settings


class AccessPolicy:
    """Asked at each use, because roles and teams change while the bot runs."""

    def __init__(self, bot: commands.Bot, settings: Settings) -> None:
        self._bot = bot
        self._roles = settings.ops_role_ids
        self._guild_id = settings.guild_id

    async def admits(self, interaction: discord.Interaction) -> bool:
        """Whether this user may, in this place."""
        if self._guild_id is not None and interaction.guild_id != self._guild_id:
            return False
        user = interaction.user
        if isinstance(user, discord.Member) and any(role.id in self._roles for role in user.roles):
            return True
        return await self._bot.is_owner(user)
