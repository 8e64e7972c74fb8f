"""Errors whose text is shown to the user: one line that names what is wrong and the next step."""

from __future__ import annotations

from typing import ClassVar, Final

FAILED: Final = 1  # exit codes of the command line; docs/cli.md lists all of them
WRONG_USAGE: Final = 2
NO_DATA: Final = 3


class UserInputError(Exception):
    """The input of an example command cannot be used."""


class CannotRunError(Exception):
    """The program cannot do what was requested."""

    exit_code: ClassVar[int] = FAILED


class OutputFileError(CannotRunError):
    """A file cannot be written under this name."""

    exit_code = WRONG_USAGE


class ImportFileError(CannotRunError):
    """A file cannot be imported."""

    exit_code = WRONG_USAGE


class SourceError(CannotRunError):
    """A source cannot answer."""


class RequestError(SourceError):
    """The request is wrong: an unknown service, a wrong token, an unreadable time."""

    exit_code = WRONG_USAGE


class NoDataError(SourceError):
    """The database or the API is missing, or nothing has been recorded yet."""

    exit_code = NO_DATA


class NotLiveError(NoDataError):
    """Only a running bot knows this, and the source is a database."""
