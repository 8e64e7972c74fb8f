"""A bot with one command, monitored by cogmeter: `DISCORD_TOKEN=... python examples/minimal_bot.py`."""

import os

import discord
from discord import app_commands
from discord.ext import commands


class MinimalBot(commands.Bot):
    async def setup_hook(self) -> None:
        self.tree.add_command(hello)
        await self.load_extension("cogmeter.cog")  # records every command from here on, and adds /perf
        await self.tree.sync()


@app_commands.command(description="Say hello.")
async def hello(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("Hello!")


def make_bot() -> MinimalBot:
    return MinimalBot("!", intents=discord.Intents.default())


if __name__ == "__main__":
    make_bot().run(os.environ["DISCORD_TOKEN"])
