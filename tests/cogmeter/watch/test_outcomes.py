"""Outcomes: the user's mistakes, Discord's trouble, cancellations, and the bot's own faults."""

from __future__ import annotations

import asyncio
import decimal
import inspect
import re
import zoneinfo

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


def not_translated(cause):
    context = app_commands.TranslationContext(app_commands.TranslationContextLocation.other, None)
    error = app_commands.TranslationError(string="x", context=context)
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
        lambda error: commands.CommandInvokeError(commands.ExtensionFailed("plugins.music", error)),
        not_transformed,
        not_translated,
    ],
    ids=["bare", "slash", "hybrid", "extension", "transformer", "translator"],
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


def raised(refusal, cause, *, how):
    """The refusal as Python leaves it when it is raised while the cause is handled."""
    try:
        try:
            raise cause
        except Exception as handled:
            if how == "from":
                raise refusal from handled
            if how == "from None":
                raise refusal from None
            raise refusal  # noqa: B904 - without a cause, as many hosts do it
    except Exception as error:
        return error


@pytest.mark.parametrize(
    ("cause", "how", "outcome"),
    [
        (KeyError("nobody"), "from", Outcome.USER),
        (FileNotFoundError("no such playlist"), "from", Outcome.USER),
        (http(404), "from", Outcome.USER),
        (TimeoutError("nobody confirmed"), "", Outcome.USER),
        (TimeoutError("no answer"), "from", Outcome.ERROR),
        (RuntimeError("not connected"), "from", Outcome.ERROR),
        (ConnectionRefusedError("database"), "", Outcome.ERROR),
        (ConnectionRefusedError("database"), "from None", Outcome.USER),
        (http(503), "", Outcome.UPSTREAM),
        (discord.RateLimited(5), "from None", Outcome.UPSTREAM),
        (asyncio.CancelledError(), "", Outcome.USER),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else str(one),
)
def test_a_hosts_refusal_is_the_users_unless_a_failure_led_to_it(cause, how, outcome):
    refusal = commands.CheckFailure("not registered")
    error = raised(refusal, cause, how=how) if isinstance(cause, Exception) else refusal
    if not isinstance(cause, Exception):
        error.__cause__ = cause
    assert outcome_of(error) is outcome
    assert cause_of(error) is (refusal if outcome is Outcome.USER else cause)


def test_a_user_that_discord_cannot_name_now_is_not_the_users_mistake():
    error = raised(commands.UserNotFound("x"), http(503), how="from None")  # as discord.py's converter does it
    assert outcome_of(error) is Outcome.UPSTREAM
    assert outcome_of(raised(commands.UserNotFound("x"), http(404), how="from None")) is Outcome.USER


@pytest.mark.parametrize("parse", [decimal.Decimal, zoneinfo.ZoneInfo, re.compile, float], ids=lambda one: one.__name__)
def test_what_the_standard_library_says_of_a_bad_text_is_the_users(parse):
    with pytest.raises(Exception) as caught:
        parse("(no/such")
    assert outcome_of(not_transformed(caught.value)) is Outcome.USER
    assert outcome_of(commands.ConversionError(parse, caught.value)) is Outcome.USER
    assert outcome_of(caught.value) is Outcome.ERROR


def test_an_outcome_set_by_hand_goes_before_the_guess_for_a_bad_value():
    failure = ValueError("the model answered nonsense")
    failure.cogmeter_outcome = Outcome.UPSTREAM
    assert outcome_of(commands.ConversionError(commands.MemberConverter(), failure)) is Outcome.UPSTREAM


def test_causes_in_a_circle_come_to_an_end():
    one, other = commands.CheckFailure("a"), app_commands.CommandInvokeError(COMMAND, ValueError("b"))
    other.original, one.__cause__ = one, other
    assert (outcome_of(one), cause_of(one)) == (Outcome.ERROR, other)
    assert (outcome_of(other), cause_of(other)) == (Outcome.USER, one)


def test_an_exception_that_cannot_be_read_is_still_sorted():
    class Odd(commands.CheckFailure):
        @property
        def errors(self):
            raise RuntimeError("not now")

    odd = Odd("no")
    assert (outcome_of(odd), cause_of(odd)) == (Outcome.USER, odd)
