"""A host's bot. Its modules bear the names that bots' modules have: bot, storage, cogs."""

from __future__ import annotations

import cogs
import discord
import storage
from discord import app_commands
from discord.ext import commands


def make_bot(kind: type[commands.Bot] = commands.Bot) -> commands.Bot:
    """The bot with a command and a listener of its own."""
    bot = kind(command_prefix="!", intents=discord.Intents.default())
    bot.tree.add_command(hello)
    bot.add_listener(on_message, "on_message")
    return bot


@app_commands.command(description="Says hello")
async def hello(interaction: discord.Interaction) -> None:
    """Answer, and remember whom."""
    storage.GREETED.append(interaction.user.id)
    await interaction.response.send_message(await cogs.greeting(interaction.user.name))


async def on_message(message: discord.Message) -> None:
    """Nothing; it is there to be left alone."""
