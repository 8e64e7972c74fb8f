"""Reads the stack of a thread that blocks: file, line and function of each frame, and which of them is the host's.

Paths are shortened to what an import would need; no path of the machine, no local variable and no frame is kept.
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

HOST, LIBRARY, STANDARD = range(3)  # whose code it is: the bot's, an installed package's or ours, Python's own

_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_OURS = tuple(folder for package in (cogmeter, cogmeter_storage) for folder in package.__path__)
_INSTALLED: Final = ("site-packages", "dist-packages")


class Frame(NamedTuple):
    """One frame of a stack. Until ``Paths.shortened`` its file is the machine's path."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.function}"

    @property
    def place(self) -> str:
        """``cogs/music.py:88 search``."""
        return f"{self.file}:{self.line} {self.function}"


def depth_of(frame: FrameType | None) -> int:
    """How many frames there are from this one outwards, itself included."""
    depth = 0
    while frame is not None:
        depth += 1
        frame = frame.f_back
    return depth


def stack_of(frame: FrameType | None, base: int) -> list[Frame]:
    """The frames inside of the ``base`` outermost ones, innermost first, at most MOST of them."""
    inner = depth_of(frame) - base
    stack: list[Frame] = []
    while frame is not None and len(stack) < min(inner, MOST):
        code = frame.f_code
        stack.append(Frame(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name))
        frame = frame.f_back
    return stack


def owner_of(file: str) -> int:
    """Whose code the file is: HOST, LIBRARY or STANDARD."""
    if file.startswith("<") or (_within(file, _STANDARD) and not _installed(file)):
        return STANDARD
    return LIBRARY if _installed(file) or _within(file, _OURS) else HOST


def culprit_of(stack: Sequence[Frame]) -> Frame | None:
    """The innermost frame of the host's code; without any, the innermost that is not Python's own, or of all."""
    for most in (HOST, LIBRARY, STANDARD):
        for frame in stack:
            if owner_of(frame.file) <= most:
                return frame
    return None


def shortened(frame: Frame, roots: Iterable[str]) -> Frame:
    """The frame with its file as seen from the nearest of these folders, or its last two parts."""
    path = frame.file
    if path.startswith("<"):
        return frame
    nearest = max((root for root in roots if _within(path, (root,))), key=len, default="")
    if nearest:
        return frame._replace(file=Path(path).relative_to(nearest).as_posix())
    return frame._replace(file="/".join(Path(path).relative_to(Path(path).anchor).parts[-2:]))


def import_roots() -> list[str]:
    """The folders that modules are imported from, and the working directory; never a whole disk."""
    roots = {os.path.abspath(entry) for entry in (*sys.path, os.curdir)}  # noqa: PTH100 - resolve() would follow links
    return [root for root in roots if Path(root).parent != Path(root)]


def _within(file: str, folders: Iterable[str]) -> bool:
    return any(file.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders if folder)


def _installed(file: str) -> bool:
    return any(part in file for part in _INSTALLED)
