"""Outcomes: the user's mistakes, Discord's trouble, cancellations, and the bot's own faults."""

from __future__ import annotations

import asyncio
import inspect

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogmeter.watch.outcomes import ACK_LIMIT_NS, cause_of, outcome_of
from cogmeter_storage import Outcome


class Answer:
    """The part of an aiohttp response that discord.py's exceptions read."""

    reason = "x"

    def __init__(self, status):
        self.status = status


def http(status, code=0):
    kind = {404: discord.NotFound, 403: discord.Forbidden, 503: discord.DiscordServerError}[status]
    return kind(Answer(status), {"code": code, "message": "x"})


async def callback(interaction: discord.Interaction):
    """A command's."""


COMMAND = app_commands.Command(name="ask", description="x", callback=callback)
PARAMETER = commands.Parameter("number", inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Transformer(app_commands.Transformer):
    """Any."""


def not_transformed(cause):
    error = app_commands.TransformerError("x", discord.AppCommandOptionType.string, Transformer())
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        app_commands.CheckFailure("no"),
        app_commands.CommandOnCooldown(app_commands.Cooldown(1, 5), 3.0),
        app_commands.MissingPermissions(["ban_members"]),
        app_commands.NoPrivateMessage(),
        commands.CheckFailure("no"),
        commands.NotOwner(),
        commands.CommandOnCooldown(commands.Cooldown(1, 5), 3.0, commands.BucketType.user),
        commands.MaxConcurrencyReached(1, commands.BucketType.user),
        commands.MissingRequiredArgument(PARAMETER),
        commands.BadArgument("x"),
        commands.BadUnionArgument(PARAMETER, (int,), [commands.BadArgument("x")]),
        commands.TooManyArguments("x"),
        commands.UnexpectedQuoteError("'"),
        commands.CommandNotFound("x"),
        commands.DisabledCommand("x"),
        commands.HybridCommandError(app_commands.CheckFailure("no")),
        not_transformed(None),
        not_transformed(ValueError("no number")),
        not_transformed(http(404)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_refusals_and_bad_arguments_are_the_users(error):
    assert outcome_of(error) is Outcome.USER


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        app_commands.CommandInvokeError(COMMAND, KeyError("x")),
        app_commands.CommandSignatureMismatch(COMMAND),
        app_commands.CommandNotFound("ask", []),
        commands.CommandInvokeError(KeyError("x")),
        commands.ConversionError(commands.MemberConverter(), KeyError("x")),
        discord.InteractionResponded.__new__(discord.InteractionResponded),
        http(403),
        http(404),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_ours(error):
    assert outcome_of(error) is Outcome.ERROR


@pytest.mark.parametrize(
    "wrap",
    [
        lambda error: error,
        lambda error: app_commands.CommandInvokeError(COMMAND, error),
        lambda error: commands.HybridCommandError(app_commands.CommandInvokeError(COMMAND, error)),
        not_transformed,
    ],
    ids=["bare", "slash", "hybrid", "transformer"],
)
def test_discords_failures_are_found_in_every_wrapping(wrap):
    assert outcome_of(wrap(http(503))) is Outcome.UPSTREAM


def test_an_unknown_interaction_is_ours_only_when_we_were_late():
    error = commands.CommandInvokeError(http(404, 10062))
    assert outcome_of(error, age_ns=ACK_LIMIT_NS - 1) is Outcome.UPSTREAM
    assert outcome_of(error, age_ns=ACK_LIMIT_NS) is Outcome.ERROR


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), SystemExit(), KeyboardInterrupt()])
def test_what_ends_a_command_from_outside_is_a_cancellation(error):
    assert outcome_of(error) is Outcome.CANCELLED


def test_nothing_is_fine():
    assert outcome_of(None) is Outcome.OK


def test_the_cause_is_what_the_hosts_code_raised():
    cause = LookupError("x")
    wrapped = commands.HybridCommandError(app_commands.CommandInvokeError(COMMAND, cause))
    assert cause_of(wrapped) is cause


def test_an_error_that_an_operation_marked_as_anothers_is_the_commands_too(recorder):
    failure = OSError("502")
    with pytest.raises(OSError), recorder.operation("model", "call") as op:
        op.outcome = "upstream"
        raise failure
    assert outcome_of(app_commands.CommandInvokeError(COMMAND, failure)) is Outcome.UPSTREAM
