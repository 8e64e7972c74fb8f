"""/read: title, text and links of a web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.replies import REPLY_COLOUR, cut
from cogmeter_bot.services import web

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot


class WebCrawling(commands.Cog, name="web-crawling"):
    """The command for web pages."""

    @app_commands.command()
    @app_commands.describe(url="The address of a public page")
    async def read(self, interaction: discord.Interaction, url: app_commands.Range[str, 8, 500]) -> None:
        """Show the title and the start of a web page."""
        await interaction.response.defer(ephemeral=True, thinking=True)  # the page may take longer than Discord waits
        page = await web.read(url)
        embed = discord.Embed(title=cut(page.title or "A page without a title", 256), colour=REPLY_COLOUR)
        embed.description = cut(page.text, 500) or "It has no text."
        embed.set_footer(text=f"{len(page.text.split()):,} words, {len(page.links):,} links")
        await interaction.followup.send(embed=embed)


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(WebCrawling())
