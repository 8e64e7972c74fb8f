"""/mood: the mood of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.replies import REPLY_COLOUR, cut
from cogmeter_bot.services.sentiment import analyze

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class SentimentAnalysis(commands.Cog, name="sentiment-analysis"):
    """The command for moods."""

    @app_commands.command()
    @app_commands.describe(text="A sentence or two in English")
    async def mood(self, interaction: discord.Interaction, text: app_commands.Range[str, 1, 2000]) -> None:
        """Show the mood of a text."""
        result = analyze(text)
        reason = f" because of *{', '.join(result.words)}*" if result.words else ""
        embed = discord.Embed(title=f"{result.label} ({result.score:+.2f})", colour=REPLY_COLOUR)
        embed.description = cut(f"The text is {result.label}{reason}.")
        await interaction.response.send_message(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(SentimentAnalysis())
