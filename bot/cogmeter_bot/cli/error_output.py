"""How commands end when something is wrong: one line that says what and how to mend it, and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

UNHEALTHY: Final = 1  # asked by --check; also what could not be done
WRONG_USAGE: Final = 2
NO_DATA: Final = 3  # or no database
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells say it
CLOSED_PIPE: Final = 141  # 128 + SIGPIPE
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LONGEST: Final = 1_000  # characters of what is said


class Failure(click.ClickException):
    """Ends the command with this line and this exit code."""

    def __init__(self, message: str, code: int = UNHEALTHY) -> None:
        super().__init__(_line(message))
        self.exit_code = code  # type: ignore[misc]  # click declares it for classes, and reads it from the error


@contextmanager
def told() -> Iterator[None]:
    """What sources, stores and settings refuse, as a Failure."""
    from cogmeter.settings import SettingsError
    from cogmeter_bot.errors import CannotRunError
    from cogmeter_bot.files import TakenError
    from cogmeter_bot.sources.base import NoDataError, RequestError
    from cogmeter_storage import StorageError

    try:
        yield
    except (RequestError, SettingsError, TakenError) as error:
        raise Failure(str(error), WRONG_USAGE) from error
    except (NoDataError, StorageError) as error:
        raise Failure(str(error), NO_DATA) from error
    except CannotRunError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        _system(error)


@contextmanager
def printed() -> Iterator[None]:
    """What the system refuses, standard output that takes nothing more among it, as a Failure or an exit code."""
    try:
        yield
    except OSError as error:
        _system(error)


def _system(error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        closed_pipe()
    if error.errno in _NO_ROOM:
        _drop_output()
    raise Failure(_words(error)) from error


def _words(error: OSError) -> str:
    if error.errno in _NO_ROOM:
        return f"There is no room for the file ({error.strerror}); free some space, or write it elsewhere."
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}."


def _line(message: str) -> str:
    """One line without secrets that a terminal shows as it is, whatever a path, a name or a server put into it."""
    from cogmeter.redaction import shown

    return shown(" ".join(message.split()), limit=LONGEST)


def closed_pipe() -> NoReturn:
    """End as a program does whose reader has gone: at once, without a word."""
    _drop_output()
    raise click.exceptions.Exit(CLOSED_PIPE)


def _drop_output() -> None:
    """Take what is left for standard output nowhere, or Python would complain when it flushes that in the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usage_line(error: click.UsageError) -> str:
    """The complaint of click on one line, with the way to the help."""
    path = error.ctx.command_path if error.ctx else "cogmeter"
    from cogmeter.redaction import shown

    # click repeats the value that was given, and a value of one option may be another's secret.
    said = shown(" ".join(error.format_message().split()), strict=True, limit=LONGEST)
    return f"{said.rstrip('.')}. See `{path} --help`."
