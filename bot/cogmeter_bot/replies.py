"""Replies of the example commands: one colour, bounded texts, private error messages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter_bot.errors import UserInputError

if TYPE_CHECKING:
    from discord.ext import commands

REPLY_COLOUR: Final = 0x5865F2
_log = logging.getLogger(__name__)


class ExampleTree(app_commands.CommandTree["commands.Bot"]):
    """A command tree that reports user errors to the user and logs all other errors."""

    async def on_error(
        self, interaction: discord.Interaction[commands.Bot], error: app_commands.AppCommandError, /
    ) -> None:
        """Reply privately: with the text of a user error, or with a general apology."""
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        if isinstance(cause, UserInputError | app_commands.CheckFailure):
            text = str(cause)
        else:
            _log.error("/%s failed", interaction.command and interaction.command.qualified_name, exc_info=cause)
            text = "Something went wrong on my side. The bot's log has the details."
        try:
            await _reply(interaction, cut(text))
        except discord.HTTPException as failure:
            _log.warning("The error message of a failed command could not be sent: %s", failure)


def cut(text: str, limit: int = 2000) -> str:
    """Return the text, cut to ``limit`` characters with an ellipsis at the end."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


async def _reply(interaction: discord.Interaction[commands.Bot], text: str) -> None:
    if interaction.response.is_done():
        # It replaces "thinking" and is only as private as that was, so the examples defer privately.
        await interaction.followup.send(text, ephemeral=True)
    else:
        await interaction.response.send_message(text, ephemeral=True)
