"""/relate and /connect: add facts, and find the path of facts between two things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter_bot.errors import UserInputError
from cogmeter_bot.replies import REPLY_COLOUR, cut

if TYPE_CHECKING:
    from cogmeter_bot.bot import ExampleBot

Name = app_commands.Range[str, 1, 80]


class KnowledgeGraph(commands.Cog, name="knowledge-graph"):
    """The commands for facts."""

    def __init__(self, bot: ExampleBot) -> None:
        self.bot = bot

    @app_commands.command()
    @app_commands.describe(thing="For example: SQLite", relation="For example: is a", other="For example: database")
    async def relate(self, interaction: discord.Interaction, thing: Name, relation: Name, other: Name) -> None:
        """Add a fact."""
        fact = self.bot.graph.relate(thing, relation, other)
        await interaction.response.send_message(f"Added: {fact}.")

    @app_commands.command()
    @app_commands.describe(start="Start of the path", goal="End of the path")
    async def connect(self, interaction: discord.Interaction, start: Name, goal: Name) -> None:
        """Find the path of facts between two things."""
        path = self.bot.graph.path(start, goal)
        if path is None:
            raise UserInputError(f"No path of facts leads from {start} to {goal}. Add a fact with /relate.")
        steps = "\n".join(f"{number}. {fact}" for number, fact in enumerate(path, 1)) or "They are the same thing."
        embed = discord.Embed(title=cut(f"From {start} to {goal}", 256), description=cut(steps), colour=REPLY_COLOUR)
        await interaction.response.send_message(embed=embed)

    @connect.autocomplete("start")
    @connect.autocomplete("goal")
    async def _names(self, _: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        matching = [name for name in self.bot.graph.names() if typed.casefold() in name.casefold()]
        return [app_commands.Choice(name=name, value=name) for name in matching[:25]]


async def setup(bot: ExampleBot) -> None:
    """Add the cog."""
    await bot.add_cog(KnowledgeGraph(bot))
