"""Sort what ended a command: the user's mistake, Discord's trouble, or the bot's own fault.

The same cause has the same outcome on every surface, whatever discord.py wraps around it there.
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
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

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
# What says that an argument is bad, when it is raised while the argument is converted: ValueError, the exceptions of
# the standard library's parsers that are none, and a snowflake that Discord does not know or does not let the bot see.
BAD_VALUES: Final = (
    ValueError,
    ArithmeticError,  # decimal.Decimal("x")
    re.error,
    ZoneInfoNotFoundError,
    discord.NotFound,
    discord.Forbidden,
)
# A host that turns one of these into a refusal has looked something up that is not there.
_MISSES: Final = (*BAD_VALUES, LookupError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_WRAPPERS: Final = (
    app_commands.CommandInvokeError,
    commands.CommandInvokeError,
    commands.ConversionError,
    commands.HybridCommandError,
    commands.BadFlagArgument,
    commands.ExtensionFailed,  # of a command that loads or reloads an extension
)
_CAUSED: Final = (app_commands.TransformerError, app_commands.TranslationError)  # what they wrap is their cause
_CONTAINERS: Final = (*_WRAPPERS, *_CAUSED, BaseExceptionGroup)
_CONVERSIONS: Final = (app_commands.TransformerError, commands.ConversionError)
# GeneratorExit: a coroutine that is closed before its end, as when its loop goes away.
_CANCELLATIONS: Final = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
_CLIENTS: Final = frozenset({"discord.http", "discord.webhook.async_"})  # modules that send requests to Discord
_BY_SEVERITY: Final = (Outcome.OK, Outcome.CANCELLED, Outcome.USER, Outcome.UPSTREAM, Outcome.ERROR)


class _Cause(NamedTuple):
    """An exception that decides, and whether it was raised while an argument was converted."""

    error: BaseException
    converting: bool


def cause_of(error: BaseException) -> BaseException:
    """Return the exception that decides the outcome, without what discord.py or a refusal wraps around it."""
    return _opened(error).error


def outcome_of(error: BaseException | None, *, age_ns: int = 0) -> Outcome:
    """Return the outcome of a command, component, listener or loop that this exception ended (or none).

    ``age_ns`` is how old the interaction was: an unknown interaction is ours when we were late, else Discord's.
    """
    if error is None:
        return Outcome.OK
    cause = _opened(error)
    return _outcome(cause.error, converting=cause.converting, age_ns=age_ns)


def _outcome(cause: BaseException, *, converting: bool, age_ns: int = 0) -> Outcome:
    """Return the outcome of what the host's code raised; ``converting``: while it converted an argument."""
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
    """Open what ``seen`` does not have yet: causes may form a circle."""
    seen.add(id(error))
    inner = [one for one in _inside(error) if id(one) not in seen]
    converting = converting or isinstance(error, _CONVERSIONS) or _is_of_a_function(error)
    causes = (_open(one, converting=converting, seen=seen) for one in inner)
    if isinstance(error, _CONTAINERS):  # of several exceptions, the worst one decides
        return max(causes, key=_severity, default=_Cause(error, converting=converting))
    foreign = (cause for cause in causes if _is_foreign(cause))
    return next(foreign, _Cause(error, converting=converting))


def _inside(error: BaseException) -> Iterator[BaseException]:
    """Yield what discord.py or a TaskGroup wrapped, or what led to a refusal: it alone may be due to something else."""
    if isinstance(error, BaseExceptionGroup):
        yield from error.exceptions
    elif isinstance(error, _CAUSED):
        yield from [] if error.__cause__ is None else [error.__cause__]
    elif isinstance(error, _WRAPPERS):
        yield error.original
    elif isinstance(error, USER_ERRORS):
        tried = getattr(error, "errors", None)  # of BadUnionArgument, BadLiteralArgument, CheckAnyFailure
        if isinstance(tried, list | tuple):
            yield from (one for one in tried if isinstance(one, BaseException))
        if error.__cause__ is not None:
            yield error.__cause__
        elif error.__context__ is not None and _is_outage(error.__context__, shown=not error.__suppress_context__):
            yield error.__context__


def _is_foreign(cause: _Cause) -> bool:
    """Whether what led to a refusal is no refusal itself, but a failure: of the bot, or of what it relies on."""
    error, converting = cause
    if isinstance(error, _CANCELLATIONS):
        return False
    if isinstance(error, _MISSES) and not converting and marked(error) is None:
        return False
    return _outcome(error, converting=converting) is not Outcome.USER


def _is_outage(context: BaseException, *, shown: bool) -> bool:
    """Whether a refusal that was raised while this was handled, without naming it, is due to it."""
    return _is_discords(context) or (shown and isinstance(context, ConnectionError | aiohttp.ClientError))


def _is_of_a_function(error: BaseException) -> bool:
    """Whether discord.py made this BadArgument of whatever a function raised that serves as a converter."""
    return type(error) is commands.BadArgument and str(error).startswith('Converting to "')


def _is_discords(cause: BaseException) -> bool:
    """Whether Discord refused to answer now, or could not be reached."""
    if isinstance(cause, discord.RateLimited | discord.DiscordServerError):
        return True
    if isinstance(cause, discord.HTTPException):
        status = getattr(cause, "status", 0)  # a host's subclass may not have called the constructor
        return isinstance(status, int) and (status == 429 or status >= 500)
    return isinstance(cause, OSError | aiohttp.ClientError) and _was_sent_to_discord(cause)


def _was_sent_to_discord(cause: BaseException) -> bool:
    """Whether a connection's failure passed through the modules of discord.py that send requests."""
    trace = cause.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") in _CLIENTS:
            return True
        trace = trace.tb_next
    return False


def _severity(cause: _Cause) -> int:
    return _BY_SEVERITY.index(_outcome(cause.error, converting=cause.converting))
