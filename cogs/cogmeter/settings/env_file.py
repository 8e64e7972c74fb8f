"""Reads ``.env``, for the monitor and for the command line."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from cogmeter.settings.text_file import TextFileError, read_text

ENV_FILE: Final = ".env"
MOST_BYTES: Final = 256 * 1024
MOST_BLANKS: Final = 1_000  # in a row; the parser's time grows with the square of their number

_BLANKS = re.compile(rf"[^\S\n]{{{MOST_BLANKS + 1}}}")


class SettingsError(ValueError):
    """Invalid settings. The text has one line for each: its name, its value, and the fix."""


def read_env_file(path: str | Path | None = ENV_FILE) -> dict[str, str | None]:
    """Return the names and values of a file; nothing if there is no file, or a virtual environment of that name.

    Raises:
        SettingsError: the file cannot be read, or is not valid text; one line.
    """
    if path is None or _is_virtual_environment(Path(path)):
        return {}
    try:
        text = read_text(Path(path), MOST_BYTES)
    except FileNotFoundError:
        return {}
    except TextFileError as error:
        raise SettingsError(str(error)) from None
    if blanks := _BLANKS.search(text):
        line = text.count("\n", 0, blanks.start()) + 1
        raise SettingsError(f"{path} line {line} has more than {MOST_BLANKS:,} blanks in a row. Remove them.")
    # Replacing ${NAME} takes time that grows with the square of the number of names.
    return dotenv_values(stream=io.StringIO(text, newline=None), interpolate="${" in text)


def _is_virtual_environment(path: Path) -> bool:
    """Return whether the path is a virtual environment of Python, which some keep in a folder ``.env``."""
    try:
        return (path / "pyvenv.cfg").is_file()
    except OSError:
        return False
