"""``/perf forget``: erase what is stored about one user. For the bot's owner and team only, after a confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter.cog.guide import OWNERS_ONLY
from cogmeter.cog.responder import CommandAnswer, UserError
from cogmeter.cog.views import Buttons
from cogmeter.monitor.erasure import forget_running
from cogmeter.notifiers.discord_channel.channel import NO_MENTIONS
from cogmeter.render.embeds.forget import erased_embed, question_embed

if TYPE_CHECKING:
    from cogmeter.cog.responder import Responder

REFUSED_FORGET: Final = "Only the bot's owner and team can erase a user's data."


def add(group: app_commands.Group, responder: Responder) -> None:
    """Add the command to the group."""

    @group.command(name="forget", description="Erase what is stored about one user", extras={OWNERS_ONLY: True})
    @app_commands.describe(user="Whose data; an id works too")
    async def forget(interaction: discord.Interaction, user: discord.User) -> None:
        async def owner() -> None:
            if not await responder.access.is_owner(interaction.user):
                raise UserError(REFUSED_FORGET)

        async def ask(_: None) -> CommandAnswer:
            return CommandAnswer(question_embed(user), buttons=ErasureConfirmation(responder, user))

        await responder.answer_checked(interaction, owner, ask, ephemeral=True)


class ErasureConfirmation(Buttons):
    """The buttons Erase and Cancel."""

    def __init__(self, responder: Responder, user: discord.User | discord.Member) -> None:
        super().__init__(responder)
        self._user = user

    async def interaction_check(self, interaction: discord.Interaction) -> bool:
        """Return whether the user is an owner now."""
        if await self._responder.access.is_owner(interaction.user):
            return True
        await interaction.response.send_message(REFUSED_FORGET, ephemeral=True, allowed_mentions=NO_MENTIONS)
        return False

    @discord.ui.button(label="Erase", custom_id="cogmeter:forget:erase", style=discord.ButtonStyle.danger)
    async def erase(self, interaction: discord.Interaction, _: discord.ui.Button[ErasureConfirmation]) -> None:
        """Erase the data, and show what was erased."""
        await interaction.response.defer()
        self.stop()  # a second press must not begin again
        monitor = self._responder.monitor
        actor = interaction.user.display_name
        erased = await forget_running(monitor, str(self._user.id), self._user.display_name, actor=actor)
        await self.show(interaction, erased_embed(erased), last=True)

    @discord.ui.button(label="Cancel", custom_id="cogmeter:forget:cancel")
    async def cancel(self, interaction: discord.Interaction, _: discord.ui.Button[ErasureConfirmation]) -> None:
        """Erase nothing."""
        await interaction.response.defer()
        await self.show(interaction, erased_embed(None), last=True)
