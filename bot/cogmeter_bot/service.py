"""Runs the bot against Discord until it is told to stop."""

from __future__ import annotations

import asyncio

import aiohttp
import discord

from cogmeter_bot.bot import ExampleBot
from cogmeter_bot.errors import CannotRunError
from cogmeter_bot.stopping import run_until_stopped


def run_bot(token: str) -> None:
    """Run until Ctrl+C or SIGTERM.

    Raises:
        CannotRunError: Discord refuses the token or cannot be reached, or a setting is wrong.
    """
    discord.utils.setup_logging(root=True)
    try:
        asyncio.run(run_until_stopped(_run(ExampleBot(), token)))
    except discord.LoginFailure:
        raise CannotRunError(
            "Discord refuses DISCORD_TOKEN; copy the bot's token again from https://discord.com/developers"
        ) from None
    except (aiohttp.ClientError, discord.HTTPException, discord.GatewayNotFound) as error:
        raise CannotRunError(f"Discord cannot be reached ({error}); try again later") from error


async def _run(bot: ExampleBot, token: str) -> None:
    async with bot:  # closes the bot, and with it the monitor, whatever happens
        await bot.start(token)
