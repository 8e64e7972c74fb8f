"""A bot with one of each surface, for both kinds of client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any

import discord
import pytest
from discord import app_commands
from discord.ext import commands
from loopback import Loopback

BotFactory = Callable[..., commands.Bot]


class Question(discord.ui.Modal, title="Question"):
    answer: discord.ui.TextInput[Any] = discord.ui.TextInput(label="Answer", custom_id="answer")

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"heard {self.answer.value}", ephemeral=True)


class Panel(discord.ui.View):
    @discord.ui.button(label="Press", custom_id="panel:press")
    async def press(self, interaction: discord.Interaction, button: discord.ui.Button[Any]) -> None:
        await interaction.response.edit_message(content="pressed")

    @discord.ui.button(label="Ask", custom_id="panel:ask")
    async def ask(self, interaction: discord.Interaction, button: discord.ui.Button[Any]) -> None:
        await interaction.response.send_modal(Question(custom_id="panel:question"))

    @discord.ui.select(
        custom_id="panel:choose", options=[discord.SelectOption(label="a"), discord.SelectOption(label="b")]
    )
    async def choose(self, interaction: discord.Interaction, select: discord.ui.Select[Any]) -> None:
        await interaction.response.defer()
        await interaction.followup.send(f"chose {select.values[0]}")


@app_commands.command(description="Defers, then sends a file")
async def chart(interaction: discord.Interaction, points: int) -> None:
    await interaction.response.defer()
    embed = discord.Embed(title="chart").set_image(url="attachment://chart.png")
    await interaction.followup.send(embed=embed, file=discord.File(BytesIO(b"x" * points), "chart.png"))


@app_commands.command(description="Shows buttons")
async def panel(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("panel", view=Panel(timeout=None))


@app_commands.command(description="Completes as you type")
async def lookup(interaction: discord.Interaction, word: str) -> None:
    await interaction.response.send_message(word, ephemeral=True)


@lookup.autocomplete("word")
async def complete_word(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=typed + end, value=typed + end) for end in ("a", "b")]


@app_commands.context_menu(name="Who is this")
async def who(interaction: discord.Interaction, member: discord.Member) -> None:
    await interaction.response.send_message(member.name)


@app_commands.context_menu(name="How long")
async def how_long(interaction: discord.Interaction, message: discord.Message) -> None:
    await interaction.response.send_message(str(len(message.content)))


outer = app_commands.Group(name="outer", description="A group")
inner = app_commands.Group(name="inner", description="A group in it", parent=outer)


@inner.command(description="Two levels down")
async def deep(interaction: discord.Interaction, who: discord.Member, loud: bool = False) -> None:
    await interaction.response.send_message(f"{who.name} {loud}")


@commands.command()
async def ping(context: commands.Context[Any]) -> None:
    await context.send("pong")


def make_bot(kind: type[commands.Bot] = commands.Bot, **options: Any) -> commands.Bot:
    bot = kind(command_prefix="!", intents=discord.Intents.all(), help_command=None, **options)
    for command in (chart, panel, lookup, who, how_long, outer):
        bot.tree.add_command(command)
    bot.add_command(commands.Command(ping.callback, name="ping"))
    return bot


@pytest.fixture(name="make_bot")
def make_bot_fixture() -> BotFactory:
    """Builds a bot, `commands.Bot` unless another class is given."""
    return make_bot


@pytest.fixture
async def bot(discord_server: Loopback) -> AsyncIterator[commands.Bot]:
    """A ready bot."""
    async with discord_server.running(make_bot()) as running:
        yield running
