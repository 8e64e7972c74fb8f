"""Find out whether a chart process can be started, without starting anything: a host is not always a plain interpreter.

A frozen or embedded bot names its own program as ``sys.executable``; started again, it would be a second bot.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

ADVICE: Final = "Answers come without charts. Run the bot by a Python interpreter (`python bot.py`) to get them"

_PYTHON = re.compile(r"(python|pypy|graalpy)w?[\d.]*[tdmu]*(-(dbg|intel64|arm64|\d+))?(\.exe)?", re.IGNORECASE)


def obstacle() -> str:
    """Return why no chart process can be started from this program, empty if nothing speaks against it."""
    frozen = _frozen_by()
    if frozen:
        return f"Charts need a Python interpreter, and this bot is a program made by {frozen}."
    executable = sys.executable
    if not executable:
        return "Charts need a Python interpreter, and sys.executable names none."
    reason = _reason_against(executable)
    return f"Charts need a Python interpreter, and sys.executable={executable} {reason}." if reason else ""


def _frozen_by() -> str:
    """Return what made a program of the bot and its interpreter, empty if it is none."""
    if hasattr(sys, "_MEIPASS"):
        return "PyInstaller"
    if getattr(sys, "oxidized", False):
        return "PyOxidizer"
    # Nuitka sets no sys.frozen, and names a Python that need not exist as sys.executable.
    if "__compiled__" in globals() or hasattr(sys.modules.get("__main__"), "__compiled__"):
        return "Nuitka"
    frozen = getattr(sys, "frozen", False)
    return "a freezing tool (sys.frozen is set)" if frozen else ""


def _reason_against(executable: str) -> str:
    try:
        if not Path(executable).is_absolute():
            return "is no absolute path"
        path = Path(os.path.realpath(executable))  # of a virtual environment, the Python that it leads to
        if not path.is_file():
            return "does not exist"
        if not _PYTHON.fullmatch(path.name):
            return "is no Python: its interpreter is embedded"
        with path.open("rb") as file:
            script = file.read(2) == b"#!"
    except (OSError, ValueError) as error:  # ValueError of a NUL
        return f"cannot be looked at: {type(error).__name__}"
    return "is a script, which may start the bot again" if script else ""
