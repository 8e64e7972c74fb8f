"""The example bot: commands that do measurable work, watched by the extension ``cogmeter.cog``."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import discord
from discord.ext import commands

from cogmeter.settings import SettingsError
from cogmeter_bot.cogs import EXTENSIONS
from cogmeter_bot.errors import CannotRunError
from cogmeter_bot.replies import ExampleTree
from cogmeter_bot.services.graph import Fact, Graph
from cogmeter_bot.services.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

MONITOR: Final = "cogmeter.cog"
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
INITIAL_FACTS: Final = (  # so that /ask and /connect have an answer from the start
    Fact("cogmeter", "watches", "this bot"),
    Fact("cogmeter", "stores in", "SQLite"),
    Fact("SQLite", "is a", "database"),
)


class ExampleBot(commands.Bot):
    """A bot with slash commands only: no privileged intents, no message content, no mentions that ping."""

    def __init__(self) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=discord.Intents.default(),
            allowed_mentions=discord.AllowedMentions.none(),
            tree_cls=ExampleTree,
        )
        self.memory = Memory()
        self.graph = Graph(INITIAL_FACTS)

    async def setup_hook(self) -> None:
        """Load all extensions before the bot goes online."""
        await self.load_all_extensions()

    async def load_all_extensions(self) -> None:
        """Load the example commands and the monitor, and register the commands with Discord.

        Raises:
            CannotRunError: a setting of the monitor is wrong.
        """
        for extension in EXTENSIONS:
            await self.load_extension(extension)
        try:
            await self.load_extension(MONITOR)
        except commands.ExtensionFailed as error:
            # Any other bot continues without the monitor; this one exists to show it.
            if isinstance(error.original, SettingsError):
                raise CannotRunError(str(error.original)) from None
            raise
        await self.tree.sync()


def run_bot(token: str) -> None:
    """Run the bot on Discord until Ctrl+C or SIGTERM.

    Raises:
        CannotRunError: Discord refuses the token or cannot be reached, or a setting is wrong.
    """
    discord.utils.setup_logging(root=True)
    try:
        asyncio.run(run_until_stopped(_start(ExampleBot(), token)))
    except discord.LoginFailure:
        raise CannotRunError(
            "Discord refuses DISCORD_TOKEN. Copy the bot's token again from https://discord.com/developers."
        ) from None
    except (aiohttp.ClientError, discord.HTTPException, discord.GatewayNotFound) as error:
        raise CannotRunError(f"Discord cannot be reached ({error}). Try again later.") from error


async def _start(bot: ExampleBot, token: str) -> None:
    async with bot:  # closes the bot, and with it the monitor, whatever happens
        await bot.start(token)


async def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to its end, or cancel it at the first signal and wait until it has cleaned up.

    A second signal ends the process at once.
    """
    with _stop_signals() as stop:
        working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()  # does nothing to work that has ended
            stopping.cancel()
            await asyncio.wait({working, stopping})
        if not (stop.is_set() and working.cancelled()):
            working.result()


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Provide an event that the first signal sets."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def remove_handlers() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def set_stop() -> None:
        remove_handlers()
        stop.set()

    try:
        for number in SIGNALS:
            loop.add_signal_handler(number, set_stop)
    except NotImplementedError:  # Windows: Ctrl+C arrives as KeyboardInterrupt instead
        yield stop
        return
    try:
        yield stop
    finally:
        remove_handlers()
