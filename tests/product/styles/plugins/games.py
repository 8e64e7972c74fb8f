"""A game, without a cog: functions that are added in setup and taken out in teardown, as in older plugins."""

from __future__ import annotations

import asyncio

import discord
from discord import app_commands
from discord.ext import commands, tasks


@commands.command()
async def play(ctx: commands.Context) -> None:
    await ctx.send("you win")


@app_commands.command(description="Plays a round")
async def round_(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("you lose")


round_.name = "round"


bots: list[commands.Bot] = []


async def on_message(message: discord.Message) -> None:
    bots[0].count("games heard")
    if message.content == "cheat":
        raise PermissionError("no cheating")


@tasks.loop(seconds=3600)
async def tidy() -> None:
    await asyncio.sleep(0)


async def setup(bot: commands.Bot) -> None:
    bots.append(bot)
    bot.add_command(play)
    bot.tree.add_command(round_)
    bot.add_listener(on_message)
    tidy.start()


async def teardown(bot: commands.Bot) -> None:
    bot.remove_command("play")
    bot.tree.remove_command("round")
    bot.remove_listener(on_message)
    tidy.cancel()
