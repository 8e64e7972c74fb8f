"""Forecasts: a slash command with a view, a hybrid, and a loop that fetches."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands, tasks

import cogmeter


class Refresh(discord.ui.View):
    @discord.ui.button(label="Refresh", custom_id="weather:refresh")
    async def refresh(self, interaction: discord.Interaction, button: discord.ui.Button) -> None:
        await interaction.response.edit_message(content="fair")


class Weather(commands.Cog):
    def __init__(self, bot: commands.Bot) -> None:
        self.bot = bot
        self.view = Refresh(timeout=None)

    async def cog_load(self) -> None:
        self.bot.add_view(self.view)
        self.fetch.start()

    async def cog_unload(self) -> None:
        self.view.stop()
        self.fetch.cancel()

    @tasks.loop(seconds=0.01, count=2)
    async def fetch(self) -> None:
        with cogmeter.operation("http.weather", "GET /now"):
            pass
        self.bot.count("fetched")

    @fetch.after_loop
    async def after_fetch(self) -> None:
        self.bot.count("loops ended")

    @app_commands.command(description="Shows the weather")
    async def weather(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message("rain", view=self.view)

    @commands.hybrid_command(description="Shows the temperature")
    async def temperature(self, ctx: commands.Context) -> None:
        await ctx.send("18")

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        self.bot.count("weather heard")


async def setup(bot: commands.Bot) -> None:
    await bot.add_cog(Weather(bot))
