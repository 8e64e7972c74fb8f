"""The project's own bot: example commands that do measurable work, watched by the extension ``cogmeter.cog``."""

from __future__ import annotations

from typing import Final

import discord
from discord.ext import commands

from cogmeter.settings import SettingsError
from cogmeter_bot.cogs import EXTENSIONS
from cogmeter_bot.errors import CannotRunError
from cogmeter_bot.replies import ExampleTree
from cogmeter_bot.services.graph import Fact, Graph
from cogmeter_bot.services.memory import Memory

MONITOR: Final = "cogmeter.cog"
# Something to ask about from the start.
KNOWN: Final = (
    Fact("cogmeter", "watches", "this bot"),
    Fact("cogmeter", "stores in", "SQLite"),
    Fact("SQLite", "is a", "database"),
)


class ExampleBot(commands.Bot):
    """A bot with slash commands alone: no privileged intents, no message content, no mentions that ping."""

    def __init__(self) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=discord.Intents.default(),
            allowed_mentions=discord.AllowedMentions.none(),
            tree_cls=ExampleTree,
        )
        self.memory = Memory()
        self.graph = Graph(KNOWN)

    async def setup_hook(self) -> None:
        """Load everything before the bot goes online."""
        await self.load_parts()

    async def load_parts(self) -> None:
        """Load the example commands and the monitor, and tell Discord of their commands.

        Raises:
            CannotRunError: a setting of the monitor is wrong.
        """
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        try:
            await self.load_extension(MONITOR)
        except commands.ExtensionFailed as error:
            # Any other bot would go on without the monitor; this one is there for it.
            if isinstance(error.original, SettingsError):
                raise CannotRunError(str(error.original)) from None
            raise
        await self.tree.sync()
