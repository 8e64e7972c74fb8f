"""/remember and /recall: store notes and find them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.replies import REPLY_COLOUR, cut

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class ContextMemory(commands.Cog, name="context-memory"):
    """The commands for notes."""

    def __init__(self, bot: ExampleBot) -> None:
        self.bot = bot

    @app_commands.command()
    @app_commands.describe(note="The text to store")
    async def remember(self, interaction: discord.Interaction, note: app_commands.Range[str, 1, 500]) -> None:
        """Store a note that only you can recall, until the bot restarts."""
        count = self.bot.memory.remember(interaction.user.id, note)
        await interaction.response.send_message(
            f"Stored. You have {count} {'note' if count == 1 else 'notes'}.", ephemeral=True
        )

    @app_commands.command()
    @app_commands.describe(question="Words of the note")
    async def recall(self, interaction: discord.Interaction, question: app_commands.Range[str, 1, 500]) -> None:
        """Find your notes."""
        hits = self.bot.memory.recall(interaction.user.id, question)
        if not hits:
            raise UserInputError("None of your notes matches. Add one with /remember.")
        lines = "\n".join(f"- {hit.text} ({hit.score:.0%})" for hit in hits)
        embed = discord.Embed(title="Your notes", description=cut(lines), colour=REPLY_COLOUR)
        await interaction.response.send_message(embed=embed, ephemeral=True)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(ContextMemory(bot))
