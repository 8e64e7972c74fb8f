"""Reads the stack of a blocked thread: file, line and function of each frame, and the frame that blocks.

Paths are shortened to importable ones; no machine path, local variable or frame object is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from cogmeter.recording.frames import HOST, LIBRARY, STANDARD, owner_of, short_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import FrameType

MOST: Final = 30  # frames kept, the innermost


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


def stack_of(frames: Sequence[FrameType], base: int) -> list[StackLine]:
    """Return the lines of frames without the ``base`` outermost ones, innermost first, at most MOST."""
    inner = frames[: max(min(len(frames) - base, MOST), 0)]
    return [
        StackLine(frame.f_code.co_filename, frame.f_lineno or frame.f_code.co_firstlineno, frame.f_code.co_name)
        for frame in inner
    ]


def culprit_of(stack: Sequence[StackLine]) -> StackLine | None:
    """Return the innermost frame of the host's code, else of a library's, else of the standard library's."""
    for most in (HOST, LIBRARY, STANDARD):
        for frame in stack:
            if owner_of(frame.file) <= most:
                return frame
    return None


def shortened(frame: StackLine, roots: Iterable[str]) -> StackLine:
    """Return the frame with its file relative to the nearest of these folders, else the file's last two parts."""
    return frame._replace(file=short_path(frame.file, roots))
