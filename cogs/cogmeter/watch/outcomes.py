"""Sorts what ended a command: the user's mistake, Discord's trouble, or the bot's own fault."""

from __future__ import annotations

import asyncio
from typing import Final

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.timing import marked
from cogmeter_storage.model import Outcome

UNKNOWN_INTERACTION: Final = 10062
ACK_LIMIT_NS: Final = 3_000_000_000  # Discord's limit for the first response

# CommandSignatureMismatch is no mistake of the user: what is registered with Discord differs from the code.
USER_ERRORS: Final = (
    app_commands.CheckFailure,  # CommandOnCooldown is one, too
    app_commands.TransformerError,
    commands.CheckFailure,
    commands.UserInputError,
    commands.CommandNotFound,
    commands.CommandOnCooldown,
    commands.MaxConcurrencyReached,
    commands.DisabledCommand,
)
_WRAPPERS: Final = (
    app_commands.CommandInvokeError,
    commands.CommandInvokeError,
    commands.ConversionError,
    commands.HybridCommandError,
)
# GeneratorExit: a coroutine that is closed before its end, as when its loop goes away.
_CANCELLATIONS: Final = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


def cause_of(error: BaseException) -> BaseException:
    """The exception that the host's code raised, out of discord.py's wrappers."""
    while isinstance(error, _WRAPPERS):
        error = error.original
    # A transformer's exception says that the argument is bad, unless it was Discord that could not answer.
    if isinstance(error, app_commands.TransformerError) and isinstance(error.__cause__, discord.DiscordServerError):
        return error.__cause__
    return error


def outcome_of(error: BaseException | None, *, age_ns: int = 0) -> Outcome:
    """The outcome of a command, component or listener that this exception ended (or none).

    ``age_ns`` is how old the interaction was: an unknown interaction is ours when we were late, else Discord's.
    """
    if error is None:
        return Outcome.OK
    cause = cause_of(error)
    if isinstance(cause, _CANCELLATIONS):
        return Outcome.CANCELLED
    if isinstance(cause, USER_ERRORS):
        return Outcome.USER
    if isinstance(cause, discord.NotFound) and cause.code == UNKNOWN_INTERACTION:
        return Outcome.ERROR if age_ns >= ACK_LIMIT_NS else Outcome.UPSTREAM
    if isinstance(cause, discord.DiscordServerError):
        return Outcome.UPSTREAM
    return marked(cause) or Outcome.ERROR
