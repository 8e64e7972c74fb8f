"""/look: what an image is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.replies import ANSWER
from cogmeter_bot.services.images import MAX_BYTES, describe

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class MultimodalProcessing(commands.Cog, name="multimodal-processing"):
    """Looks at images."""

    @app_commands.command()
    @app_commands.describe(image="A PNG, GIF, JPEG or WebP file of up to 8 MB")
    async def look(self, interaction: discord.Interaction, image: discord.Attachment) -> None:
        """Look at an image: its size and its main colour."""
        if image.size > MAX_BYTES:
            raise UserInputError(f"The file has {image.size:,} bytes; up to {MAX_BYTES:,} are looked at.")
        await interaction.response.defer(
            ephemeral=True, thinking=True
        )  # the download may take longer than Discord waits
        facts = await asyncio.to_thread(describe, await image.read())
        embed = discord.Embed(title=f"{facts.kind}, {facts.width} x {facts.height} pixels")
        embed.colour = discord.Colour(ANSWER if facts.colour is None else facts.colour)
        embed.description = "" if facts.colour is None else f"Its mean colour is #{facts.colour:06x}, as on the left."
        await interaction.followup.send(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(MultimodalProcessing())
