"""/mood: how a text feels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.replies import ANSWER, cut
from cogmeter_bot.services.sentiment import analyze

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class SentimentAnalysis(commands.Cog, name="sentiment-analysis"):
    """Reads moods."""

    @app_commands.command()
    @app_commands.describe(text="A sentence or two in English")
    async def mood(self, interaction: discord.Interaction, text: app_commands.Range[str, 1, 2000]) -> None:
        """Read the mood of a text."""
        found = analyze(text)
        why = f" because of *{', '.join(found.words)}*" if found.words else ""
        embed = discord.Embed(title=f"{found.label} ({found.score:+.2f})", colour=ANSWER)
        embed.description = cut(f"It reads {found.label}{why}.")
        await interaction.response.send_message(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(SentimentAnalysis())
