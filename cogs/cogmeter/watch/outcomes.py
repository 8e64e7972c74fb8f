"""Sort what ended a command: the user's mistake, Discord's trouble, or the bot's own fault.

The same cause has the same outcome on every surface, whatever discord.py wraps around it there.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfoNotFoundError

import aiohttp
import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.timing import marked
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN_INTERACTION: Final = 10062
ACK_LIMIT_NS: Final = 3_000_000_000  # Discord's limit for the first response
DEEPEST: Final = 20  # wrappers that are opened: an exception's causes may form a cycle

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
)
_CONVERSIONS: Final = (app_commands.TransformerError, commands.ConversionError)
# GeneratorExit: a coroutine that is closed before its end, as when its loop goes away.
_CANCELLATIONS: Final = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
_CLIENTS: Final = frozenset({"discord.http", "discord.webhook.async_"})  # modules that send requests to Discord
_BY_SEVERITY: Final = (Outcome.OK, Outcome.CANCELLED, Outcome.USER, Outcome.UPSTREAM, Outcome.ERROR)


def cause_of(error: BaseException) -> BaseException:
    """Return the exception that decides the outcome, without what discord.py or a refusal wraps around it."""
    return _opened(error)[0]


def outcome_of(error: BaseException | None, *, age_ns: int = 0) -> Outcome:
    """Return the outcome of a command, component, listener or loop that this exception ended (or none).

    ``age_ns`` is how old the interaction was: an unknown interaction is ours when we were late, else Discord's.
    """
    if error is None:
        return Outcome.OK
    cause, converting = _opened(error)
    return _outcome(cause, converting=converting, age_ns=age_ns)


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


def _opened(error: BaseException) -> tuple[BaseException, bool]:
    """Return the exception that decides, and whether it was raised while an argument was converted."""
    try:
        return _open(error)
    except Exception:  # noqa: BLE001 - the attributes and the text of an exception are the host's code
        return error, False


def _open(error: BaseException) -> tuple[BaseException, bool]:
    converting = False
    for _ in range(DEEPEST):
        below = _below(error, converting=converting)
        if below is None:
            break
        converting = converting or isinstance(error, _CONVERSIONS) or _is_of_a_function(error)
        error = below
    return error, converting


def _below(error: BaseException, *, converting: bool) -> BaseException | None:
    """Return the exception inside this one that decides in its place, None if this one decides."""
    if isinstance(error, BaseExceptionGroup):  # of a TaskGroup: the worst one decides
        return max(error.exceptions, key=lambda one: _severity(one, converting=converting))
    if isinstance(error, _WRAPPERS):
        return error.original
    if isinstance(error, app_commands.TransformerError):
        return error.__cause__
    if isinstance(error, USER_ERRORS):
        return next((one for one in _inside(error) if _is_foreign(one, error)), None)
    return None


def _inside(refusal: BaseException) -> Iterator[BaseException]:
    """Yield what led to a refusal: what each of several converters or checks raised, then its cause or context."""
    tried = getattr(refusal, "errors", None)  # of BadUnionArgument, BadLiteralArgument, CheckAnyFailure
    if isinstance(tried, list | tuple):
        yield from (one for one in tried if isinstance(one, BaseException))
    if refusal.__cause__ is not None:
        yield refusal.__cause__
    elif refusal.__context__ is not None and _is_outage(refusal.__context__, shown=not refusal.__suppress_context__):
        yield refusal.__context__


def _is_foreign(inner: BaseException, refusal: BaseException) -> bool:
    """Whether what led to a refusal is no refusal itself, but a failure: of the bot, or of what it relies on."""
    if isinstance(inner, _CANCELLATIONS):
        return False
    cause, converting = _opened(inner)
    if isinstance(cause, _MISSES) and marked(cause) is None and not (converting or _is_of_a_function(refusal)):
        return False
    return _outcome(cause, converting=True) is not Outcome.USER


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


def _severity(error: BaseException, *, converting: bool) -> int:
    cause, inside = _opened(error)
    return _BY_SEVERITY.index(_outcome(cause, converting=converting or inside))
