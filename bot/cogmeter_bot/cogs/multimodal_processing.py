"""/look: format, size and colour of an image."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.replies import REPLY_COLOUR
from cogmeter_bot.services.images import MAX_BYTES, describe

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class MultimodalProcessing(commands.Cog, name="multimodal-processing"):
    """The command for images."""

    @app_commands.command()
    @app_commands.describe(image="A PNG, GIF, JPEG or WebP file of up to 8 MB")
    async def look(self, interaction: discord.Interaction, image: discord.Attachment) -> None:
        """Show the format, size and mean colour of an image."""
        if image.size > MAX_BYTES:
            raise UserInputError(f"The file has {image.size:,} bytes. Use one with at most {MAX_BYTES:,} bytes.")
        # The download may take longer than Discord waits.
        await interaction.response.defer(ephemeral=True, thinking=True)
        facts = await asyncio.to_thread(describe, await image.read())
        embed = discord.Embed(title=f"{facts.kind}, {facts.width} x {facts.height} pixels")
        embed.colour = discord.Colour(REPLY_COLOUR if facts.colour is None else facts.colour)
        embed.description = "" if facts.colour is None else f"Mean colour: #{facts.colour:06x}"
        await interaction.followup.send(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(MultimodalProcessing())
