"""Reads the stack of a blocked thread: file, line and function of each frame, and the frame that blocks.

Paths are shortened to importable ones; no machine path, local variable or frame object is kept.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cogmeter
import cogmeter_storage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import FrameType

MOST: Final = 30  # frames kept, the innermost

HOST, LIBRARY, STANDARD = range(3)  # code of the bot, of an installed package or cogmeter, of the standard library

_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_OURS = tuple(folder for package in (cogmeter, cogmeter_storage) for folder in package.__path__)
_INSTALLED: Final = ("site-packages", "dist-packages")


class StackLine(NamedTuple):
    """A frame of a stack. Its file is a path of the machine until ``shortened``."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.function}"

    @property
    def place(self) -> str:
        """Return ``cogs/music.py:88 search``."""
        return f"{self.file}:{self.line} {self.function}"


def depth_of(frame: FrameType | None) -> int:
    """Return the number of frames from this one outwards, including itself."""
    depth = 0
    while frame is not None:
        depth += 1
        frame = frame.f_back
    return depth


def stack_of(frame: FrameType | None, base: int) -> list[StackLine]:
    """Return the frames without the ``base`` outermost ones, innermost first, at most MOST."""
    inner = depth_of(frame) - base
    stack: list[StackLine] = []
    while frame is not None and len(stack) < min(inner, MOST):
        code = frame.f_code
        stack.append(StackLine(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name))
        frame = frame.f_back
    return stack


def owner_of(file: str) -> int:
    """Return HOST, LIBRARY or STANDARD: the owner of the code in a file."""
    if file.startswith("<") or (_within(file, _STANDARD) and not _installed(file)):
        return STANDARD
    return LIBRARY if _installed(file) or _within(file, _OURS) else HOST


def culprit_of(stack: Sequence[StackLine]) -> StackLine | None:
    """Return the innermost frame of the host's code, else of a library's, else of the standard library's."""
    for most in (HOST, LIBRARY, STANDARD):
        for frame in stack:
            if owner_of(frame.file) <= most:
                return frame
    return None


def shortened(frame: StackLine, roots: Iterable[str]) -> StackLine:
    """Return the frame with its file relative to the nearest of these folders, else the file's last two parts."""
    path = frame.file
    if path.startswith("<"):
        return frame
    nearest = max((root for root in roots if _within(path, (root,))), key=len, default="")
    if nearest:
        return frame._replace(file=Path(path).relative_to(nearest).as_posix())
    return frame._replace(file="/".join(Path(path).relative_to(Path(path).anchor).parts[-2:]))


def import_roots() -> list[str]:
    """Return the folders of imports and the working directory, but no root of a disk."""
    roots = {os.path.abspath(entry) for entry in (*sys.path, os.curdir)}  # noqa: PTH100 - resolve() would follow links
    return [root for root in roots if Path(root).parent != Path(root)]


def _within(file: str, folders: Iterable[str]) -> bool:
    return any(file.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders if folder)


def _installed(file: str) -> bool:
    return any(part in file for part in _INSTALLED)
