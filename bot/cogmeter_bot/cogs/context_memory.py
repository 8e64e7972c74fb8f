"""/remember and /recall: notes, and finding them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.replies import ANSWER, cut

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class ContextMemory(commands.Cog, name="context-memory"):
    """Keeps notes."""

    def __init__(self, bot: ExampleBot) -> None:
        self.bot = bot

    @app_commands.command()
    @app_commands.describe(note="What to keep in mind")
    async def remember(self, interaction: discord.Interaction, note: app_commands.Range[str, 1, 500]) -> None:
        """Keep a note; only you get it back, and only until I restart."""
        count = self.bot.memory.remember(interaction.user.id, note)
        await interaction.response.send_message(f"Noted. I keep {count} of your notes.", ephemeral=True)

    @app_commands.command()
    @app_commands.describe(question="Words that are in the note, or near it")
    async def recall(self, interaction: discord.Interaction, question: app_commands.Range[str, 1, 500]) -> None:
        """Find your notes again."""
        hits = self.bot.memory.recall(interaction.user.id, question)
        if not hits:
            raise UserInputError("No note of yours fits that. Add one with /remember.")
        lines = "\n".join(f"- {hit.text} ({hit.score:.0%})" for hit in hits)
        embed = discord.Embed(title="Your notes", description=cut(lines), colour=ANSWER)
        await interaction.response.send_message(embed=embed, ephemeral=True)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(ContextMemory(bot))
