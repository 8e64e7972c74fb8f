"""How commands end: an exit code and one line that names what is wrong and the next step."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from cogmeter_bot.errors import FAILED, NO_DATA, WRONG_USAGE, CannotRunError

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED: Final = 130  # 128 + SIGINT, as in shells
CLOSED_PIPE: Final = 141  # 128 + SIGPIPE
MAX_MESSAGE: Final = 1_000  # characters
_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Failure(click.ClickException):
    """An error that ends the command with this line and this exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(_one_line(message))
        self.exit_code = code  # type: ignore[misc]  # click declares it for classes, and reads it from the error


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Raise a Failure for each error of a source, a store, a setting or the system."""
    from cogmeter.settings import SettingsError
    from cogmeter_storage import StorageError

    try:
        yield
    except CannotRunError as error:
        raise Failure(str(error), error.exit_code) from error
    except SettingsError as error:
        raise Failure(str(error), WRONG_USAGE) from error
    except StorageError as error:
        raise Failure(str(error), NO_DATA) from error
    except OSError as error:
        _raise_failure(error)


@contextmanager
def reporting_os_errors() -> Iterator[None]:
    """Raise a Failure for each error of the system; end quietly when the reader of the output is gone."""
    try:
        yield
    except OSError as error:
        _raise_failure(error)


def _raise_failure(error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        exit_closed_pipe()
    if error.errno in _DISK_FULL:
        _discard_output()
        text = f"No space left for the file ({error.strerror}). Free some space, or write it to another disk."
        raise Failure(text) from error
    path = f"{error.filename}: " if error.filename else ""
    raise Failure(f"{path}{error.strerror or error}.") from error


def _one_line(message: str) -> str:
    """Return one printable line without secrets, whatever a path, a name or a server put into the message."""
    from cogmeter.redaction import shown

    return shown(" ".join(message.split()), limit=MAX_MESSAGE)


def exit_closed_pipe() -> NoReturn:
    """End quietly: the program that reads the output is gone."""
    _discard_output()
    raise click.exceptions.Exit(CLOSED_PIPE)


def _discard_output() -> None:
    """Redirect standard output to the null device, so that Python's flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def usage_line(error: click.UsageError) -> str:
    """Return click's message on one line, with a reference to the help."""
    from cogmeter.redaction import shown

    path = error.ctx.command_path if error.ctx else "cogmeter"
    # click repeats the value, and a value in the wrong option may be a secret.
    message = shown(" ".join(error.format_message().split()), strict=True, limit=MAX_MESSAGE)
    return f"{message.rstrip('.')}. See `{path} --help`."


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP (a broken connection) into an exception, so that the block cleans up."""

    def stop(number: int, _frame: Any) -> NoReturn:
        raise SystemExit(128 + number)

    signals = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    previous = {number: signal.signal(number, stop) for number in signals if signal.getsignal(number) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
