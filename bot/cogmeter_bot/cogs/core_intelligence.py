"""/ask: an answer from what the bot was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.replies import ANSWER, cut
from cogmeter_bot.services.answers import answer

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class CoreIntelligence(commands.Cog, name="core-intelligence"):
    """Answers questions."""

    def __init__(self, bot: ExampleBot) -> None:
        self.bot = bot

    @app_commands.command()
    @app_commands.describe(question="What you want to know")
    async def ask(self, interaction: discord.Interaction, question: app_commands.Range[str, 1, 500]) -> None:
        """Ask about what you taught me with /remember and /relate."""
        found = answer(interaction.user.id, question, memory=self.bot.memory, graph=self.bot.graph)
        embed = discord.Embed(title=cut(question, 256), description=cut(found.text, 2000), colour=ANSWER)
        embed.set_footer(text=f"{len(found.notes)} notes and {len(found.facts)} facts fit")
        await interaction.response.send_message(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(CoreIntelligence(bot))
