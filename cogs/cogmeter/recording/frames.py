"""Frames of stacks: the owner and the short path of their code, the calling line, and those of other threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import re
import sys
import sysconfig
from itertools import accumulate, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import cogmeter
import cogmeter_storage
from cogmeter_storage.errors import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType, FrameType

HOST, LIBRARY, STANDARD = range(3)  # code of the bot, of an installed package or cogmeter, of the standard library
NOTEBOOK: Final = "<notebook>"  # the file of every cell: the names of cells differ from run to run

CALLED_FROM: Final = "called_from"  # the metadata entry with the line that sent a failed request

_STANDARD = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})
_OURS = tuple(folder for package in (cogmeter, cogmeter_storage) for folder in package.__path__)
_INSIDE: Final = "<locals>."
_CELL: Final = re.compile(r"<ipython-input-.*>|.*[\\/]ipykernel_\d+[\\/]\d+\.py")
# Files of other machines, too: the code of a frozen or compiled package names those of the machine that built it.
_INSTALLED: Final = re.compile(r".*[\\/](?:site|dist)-packages[\\/](.+)")
_PYTHON: Final = re.compile(
    r".*[\\/](?:lib(?:32|64)?[\\/]python\d[\d.t]*|python\d\d+[\\/]lib|python\d\d+\.zip)[\\/](.+)", re.IGNORECASE
)
# The frames below a task or a callback: their callers only started the event loop. By id, because the hash of a code
# object takes as long as all the rest of ``calling_instruction``.
_LOOP: Final = frozenset(
    id(function.__code__)
    for function in (asyncio.Handle._run, asyncio.Runner.run, asyncio.BaseEventLoop.run_until_complete)  # noqa: SLF001 - no public name
)
_EXTENSIONS: Final = (".pyx", ".pxd", ".pxi")  # sources of compiled modules
_DEEPEST: Final = 10_000  # frames of one stack


class FrameLike(Protocol):
    """A stored frame, or one of the API."""

    @property
    def file(self) -> str: ...  # noqa: D102 - as in Frame
    @property
    def function(self) -> str: ...  # noqa: D102
    @property
    def line(self) -> int: ...  # noqa: D102
    @property
    def own(self) -> bool: ...  # noqa: D102


def owner_of(file: str) -> int:
    """Return HOST, LIBRARY or STANDARD: the owner of the code in a file."""
    if _CELL.fullmatch(file):
        return HOST
    if _INSTALLED.fullmatch(file):
        return LIBRARY
    if file.startswith("<") or _within(file, _STANDARD) or _PYTHON.fullmatch(file) or _frozen_standard(file):
        return STANDARD
    return LIBRARY if _within(file, _OURS) or file.endswith(_EXTENSIONS) else HOST


def short_path(file: str, roots: Iterable[str]) -> str:
    """Return a file's path relative to the nearest of these folders, else its last two parts."""
    if _CELL.fullmatch(file):
        return NOTEBOOK
    if file.startswith("<"):
        return file
    nearest = max((root for root in roots if _within(file, (root,))), key=len, default="")
    known = _INSTALLED.fullmatch(file) or _PYTHON.fullmatch(file)
    if nearest:
        short = file[len(nearest.rstrip(os.sep)) :]
    elif known:
        short = known[1]
    elif file.startswith(("/", "\\")) or file[1:2] == ":":
        short = "/".join(re.split(r"[\\/]+", file)[-2:])
    else:
        short = os.path.normpath(file)
    return short.replace("\\", "/").lstrip("/")


def import_roots() -> list[str]:
    """Return the folders of imports and the working directory, but no root of a disk."""
    working = _working_directory()
    roots = {os.path.normpath(os.path.join(working, entry)) for entry in (*map(str, sys.path), "") if working or entry}  # noqa: PTH118 - resolve() would follow links
    return [root for root in roots if _is_root(root)]


@functools.lru_cache(maxsize=4_096)
def place_of(file: str) -> tuple[str, bool]:
    """Return the short path of a code object's file, and whether the host owns its code. Computed once for each file.

    The path is relative to the working directory, or ``package/module.py`` of an installed package.
    """
    own, working = owner_of(file) == HOST, _working_directory()
    near = own and _is_root(working) and _within(file, (working,))
    return short_path(file, [working] if near else import_roots()), own


def frame_text(frame: FrameLike) -> str:
    """Return a frame as text: ``bot/cogs/ask.py:42 in Ask.ask``."""
    return f"{frame.file}:{frame.line} in {short_name(frame.function)}"


def thread_frames(thread: int) -> list[FrameType]:
    """Return the frames of a thread, innermost first; empty if it has ended. Do not keep them: they keep variables."""
    with _undisturbed():
        return outer_frames(sys._current_frames().get(thread))  # noqa: SLF001 - the documented way


def all_thread_frames() -> dict[int, list[FrameType]]:
    """Return the frames of each thread by its identifier, as ``thread_frames`` does."""
    with _undisturbed():
        return {thread: outer_frames(frame) for thread, frame in sys._current_frames().items()}  # noqa: SLF001 - see above


def outer_frames(frame: FrameType | None) -> list[FrameType]:
    """Return a frame and those that called it, innermost first."""
    if frame is None:
        return []
    frames: list[Any] = []
    # In C, where no other thread takes its turn between two steps: it would change the stack.
    with contextlib.suppress(AttributeError):  # the end: None has no caller
        frames.extend(accumulate(repeat("f_back", _DEEPEST), getattr, initial=frame))
    if frames[-1] is None:
        frames.pop()
    return frames


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the garbage collector from starting.

    Reading another thread's stack makes objects of its frames. A collection that starts then runs callbacks and
    finalizers, and in them other threads: CPython 3.11 crashes if the frame ends before its object is made.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def calling_instruction(depth: int) -> tuple[CodeType, int] | None:
    """Return the innermost call of the host that led to the running code, within its task, callback or thread.

    The number is that of the instruction: finding its line, see ``line_text``, takes longer than all the rest.
    ``depth`` is the number of frames above this one that are known not to be the host's.

    Call it before the first ``await``: an exception that is thrown into an awaited object which is no coroutine itself
    arrives without the frames that await it.
    """
    frame: FrameType | None = sys._getframe(depth).f_back  # noqa: SLF001 - inspect.stack() would read source files
    while frame is not None:
        code = frame.f_code
        if place_of(code.co_filename)[1]:
            return code, frame.f_lasti
        if id(code) in _LOOP:
            return None
        frame = frame.f_back
    return None


def line_text(code: CodeType, instruction: int) -> str:
    """Return the line of an instruction as ``frame_text`` does."""
    file, own = place_of(code.co_filename)
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    line = next(lines, None) or code.co_firstlineno
    return frame_text(Frame(file, code.co_qualname, line, own))


def short_name(qualified_name: str) -> str:
    """Return a qualified name without the enclosing functions: ``Music.play``."""
    return qualified_name.rpartition(_INSIDE)[2] or qualified_name


def _within(file: str, folders: Iterable[str]) -> bool:
    file = os.path.normcase(file)
    return any(file.startswith(os.path.normcase(folder).rstrip(os.sep) + os.sep) for folder in folders if folder)


def _is_root(folder: str) -> bool:
    return folder not in {"", "."} and Path(folder).parent != Path(folder)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is needed
    except OSError:  # it was deleted
        return ""


def _frozen_standard(file: str) -> bool:
    """Return whether a program that PyInstaller built names a module of the standard library by this relative path."""
    first = re.split(r"[\\/]", file)[0].removesuffix(".py")
    return bool(getattr(sys, "frozen", False)) and first in sys.stdlib_module_names
