"""How the example commands answer: one colour, bounded texts, errors to the person alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import discord
from discord import app_commands

from cogmeter_bot.errors import UserInputError

if TYPE_CHECKING:
    from discord.ext import commands

ANSWER: Final = 0x5865F2
_log = logging.getLogger(__name__)


class ExampleTree(app_commands.CommandTree["commands.Bot"]):
    """A command tree that tells the person what went wrong, and the log everything else."""

    async def on_error(
        self, interaction: discord.Interaction[commands.Bot], error: app_commands.AppCommandError, /
    ) -> None:
        """Answer to the person alone: a refusal in its own words, anything else as an apology."""
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        if isinstance(cause, UserInputError | app_commands.CheckFailure):
            text = str(cause)
        else:
            _log.error("/%s failed", interaction.command and interaction.command.qualified_name, exc_info=cause)
            text = "That went wrong on my side; it is in the log."
        try:
            await _answer(interaction, cut(text, 2000))
        except discord.HTTPException as failure:
            _log.warning("The answer about a failed command could not be sent: %s", failure)


def cut(text: str, limit: int = 2000) -> str:
    """The text, ended with an ellipsis where it is longer than Discord shows."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


async def _answer(interaction: discord.Interaction[commands.Bot], text: str) -> None:
    if interaction.response.is_done():
        # It takes the place of "thinking", and is as private as that was: so the examples think in private.
        await interaction.followup.send(text, ephemeral=True)
    else:
        await interaction.response.send_message(text, ephemeral=True)
