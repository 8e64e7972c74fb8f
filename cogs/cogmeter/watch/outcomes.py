"""Sorts exceptions that ended a command into outcomes: mistakes of users, failures of Discord, errors of the bot.

A cause has the same outcome on every surface, whatever discord.py wraps around it there.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.recording.operation import marked
from cogmeter.recording.service_names import ACKNOWLEDGEMENT_LIMIT_US
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN_INTERACTION: Final = 10062
ACK_LIMIT_NS: Final = ACKNOWLEDGEMENT_LIMIT_US * 1000

# CommandSignatureMismatch is not a mistake of the user: the registered command differs from the code.
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
# Exceptions that mean a bad argument when a converter raises them: ValueError, other exceptions of the standard
# library's parsers, and an id that Discord does not know or does not let the bot see.
BAD_VALUES: Final = (
    ValueError,
    ArithmeticError,  # decimal.Decimal("x")
    re.error,
    ZoneInfoNotFoundError,
    discord.NotFound,
    discord.Forbidden,
)
# A host that turns one of these into a refusal has looked up something that does not exist.
_MISSES: Final = (*BAD_VALUES, LookupError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_WRAPPERS: Final = (
    app_commands.CommandInvokeError,
    commands.CommandInvokeError,
    commands.ConversionError,
    commands.HybridCommandError,
    commands.BadFlagArgument,
    commands.ExtensionFailed,  # of a command that loads or reloads an extension
)
_CAUSED: Final = (app_commands.TransformerError, app_commands.TranslationError)  # they wrap their cause
_CONTAINERS: Final = (*_WRAPPERS, *_CAUSED, BaseExceptionGroup)
_CONVERSIONS: Final = (app_commands.TransformerError, commands.ConversionError)
# GeneratorExit: a coroutine was closed before its end, for example because its loop was closed.
_CANCELLATIONS: Final = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
_CLIENTS: Final = frozenset({"discord.http", "discord.webhook.async_"})  # modules that send requests to Discord
_BY_SEVERITY: Final = (Outcome.OK, Outcome.CANCELLED, Outcome.USER, Outcome.UPSTREAM, Outcome.ERROR)


class _Cause(NamedTuple):
    """The exception that decides the outcome, and whether it was raised while an argument was converted."""

    error: BaseException
    converting: bool


def cause_of(error: BaseException) -> BaseException:
    """Return the exception that decides the outcome, unwrapped."""
    return _opened(error).error


def outcome_of(error: BaseException | None, *, age_ns: int = 0) -> Outcome:
    """Return the outcome of a command, component, listener or loop that this exception ended; None: it succeeded.

    ``age_ns`` is the age of the interaction: an unknown interaction is the bot's error if it was late, else Discord's.
    """
    if error is None:
        return Outcome.OK
    cause = _opened(error)
    return _outcome(cause.error, converting=cause.converting, age_ns=age_ns)


def _outcome(cause: BaseException, *, converting: bool, age_ns: int = 0) -> Outcome:
    """Return the outcome of an exception; ``converting``: it was raised while an argument was converted."""
    if isinstance(cause, _CANCELLATIONS):
        return Outcome.CANCELLED
    if isinstance(cause, USER_ERRORS):
        return Outcome.USER
    if isinstance(cause, discord.NotFound) and getattr(cause, "code", 0) == UNKNOWN_INTERACTION:
        return Outcome.ERROR if age_ns >= ACK_LIMIT_NS else Outcome.UPSTREAM
    if _is_discords(cause):
        return Outcome.UPSTREAM
    by_hand = marked(cause)
    if by_hand is not None:
        return by_hand
    return Outcome.USER if converting and isinstance(cause, BAD_VALUES) else Outcome.ERROR


def _opened(error: BaseException) -> _Cause:
    """Return the exception that decides, and whether it was raised while an argument was converted."""
    try:
        return _open(error, converting=False, seen=set())
    except Exception:  # noqa: BLE001 - the attributes and the text of an exception are the host's code
        return _Cause(error, converting=False)


def _open(error: BaseException, *, converting: bool, seen: set[int]) -> _Cause:
    """Unwrap exceptions that are not in ``seen``: causes may form a circle."""
    seen.add(id(error))
    inner = [wrapped for wrapped in _inside(error) if id(wrapped) not in seen]
    converting = converting or isinstance(error, _CONVERSIONS) or _is_of_a_function(error)
    causes = (_open(wrapped, converting=converting, seen=seen) for wrapped in inner)
    if isinstance(error, _CONTAINERS):  # of several exceptions, the worst one decides
        return max(causes, key=_severity, default=_Cause(error, converting=converting))
    foreign = (cause for cause in causes if _is_foreign(cause))
    return next(foreign, _Cause(error, converting=converting))


def _inside(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that discord.py or a TaskGroup wrapped, or that led to a refusal."""
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions
    elif isinstance(error, _CAUSED):
        yield from [] if error.__cause__ is None else [error.__cause__]
    elif isinstance(error, _WRAPPERS):
        yield error.original
    elif isinstance(error, USER_ERRORS):
        tried = getattr(error, "errors", None)  # of BadUnionArgument, BadLiteralArgument, CheckAnyFailure
        if isinstance(tried, list | tuple):
            yield from (attempt for attempt in tried if isinstance(attempt, BaseException))
        if error.__cause__ is not None:
            yield error.__cause__
        elif error.__context__ is not None and _is_outage(error.__context__, shown=not error.__suppress_context__):
            yield error.__context__


def _is_foreign(cause: _Cause) -> bool:
    """Return whether the cause of a refusal is a failure of the bot or of a service that it depends on."""
    error, converting = cause
    if isinstance(error, _CANCELLATIONS):
        return False
    if isinstance(error, _MISSES) and not converting and marked(error) is None:
        return False
    return _outcome(error, converting=converting) is not Outcome.USER


def _is_outage(context: BaseException, *, shown: bool) -> bool:
    """Return whether this exception, the context of a refusal, is the actual cause of the refusal."""
    return _is_discords(context) or (shown and isinstance(context, ConnectionError | aiohttp.ClientError))


def _is_of_a_function(error: BaseException) -> bool:
    """Return whether discord.py made this BadArgument of an exception of a converter function."""
    return type(error) is commands.BadArgument and str(error).startswith('Converting to "')


def _is_discords(cause: BaseException) -> bool:
    """Return whether Discord refused to answer, or could not be reached."""
    if isinstance(cause, discord.RateLimited | discord.DiscordServerError):
        return True
    if isinstance(cause, discord.HTTPException):
        status = getattr(cause, "status", 0)  # a host's subclass may skip the constructor
        return isinstance(status, int) and (status == 429 or status >= 500)
    return isinstance(cause, OSError | aiohttp.ClientError) and _was_sent_to_discord(cause)


def _was_sent_to_discord(cause: BaseException) -> bool:
    """Return whether a connection error passed through the modules of discord.py that send requests."""
    trace = cause.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") in _CLIENTS:
            return True
        trace = trace.tb_next
    return False


def _severity(cause: _Cause) -> int:
    return _BY_SEVERITY.index(_outcome(cause.error, converting=cause.converting))
