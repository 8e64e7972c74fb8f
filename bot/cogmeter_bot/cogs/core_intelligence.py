"""/ask: answer with notes and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.replies import REPLY_COLOUR, cut
from cogmeter_bot.services.answers import answer

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class CoreIntelligence(commands.Cog, name="core-intelligence"):
    """The command for questions."""

    def __init__(self, bot: ExampleBot) -> None:
        self.bot = bot

    @app_commands.command()
    @app_commands.describe(question="Your question")
    async def ask(self, interaction: discord.Interaction, question: app_commands.Range[str, 1, 500]) -> None:
        """Search your notes (/remember) and all facts (/relate)."""
        result = answer(interaction.user.id, question, memory=self.bot.memory, graph=self.bot.graph)
        embed = discord.Embed(title=cut(question, 256), description=cut(result.text, 2000), colour=REPLY_COLOUR)
        embed.set_footer(text=f"{len(result.notes)} notes and {len(result.facts)} facts match")
        await interaction.response.send_message(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(CoreIntelligence(bot))
