"""Reads the git commit of the bot from ``.git`` without running git."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from cogmeter.settings.text_file import read_start

MOST_BYTES: Final = 16 * 1024  # of a file that holds one line
MOST_PACKED: Final = 8 * 1024 * 1024  # of packed-refs, which has a line for each branch and tag
DEEPEST: Final = 5  # nested references
SHORT: Final = 7  # characters, as git itself shortens

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_NAME = re.compile(r"refs/[^\x00-\x20\\]+")


def revision(start: Path | None = None) -> str | None:
    """Return the short commit of the repository around ``start`` (the working directory); None without one.

    It reads files, so call it in a thread. It never raises.
    """
    try:
        git = _git_folder((Path.cwd() if start is None else start).resolve())
        commit = None if git is None else _commit(git)
    except (OSError, ValueError, RuntimeError):  # not there, no file, not allowed, no path at all, links in a circle
        return None
    return None if commit is None else commit[:SHORT]


def _git_folder(start: Path) -> Path | None:
    """Return the folder ``.git``, or the target of the file ``.git`` in a worktree or submodule."""
    for folder in (start, *start.parents):
        git = folder / ".git"
        if git.is_dir():
            return git
        if git.is_file():
            key, _, place = _line(git).partition(":")
            return (folder / place.strip()).resolve() if key == "gitdir" else None
    return None


def _commit(git: Path) -> str | None:
    """Return the commit of HEAD; None on a branch without commits."""
    common = git / "commondir"  # of a worktree: its branches are in the main repository
    folders = (git, (git / _line(common)).resolve()) if common.is_file() else (git,)
    text = _line(git / "HEAD")
    for _ in range(DEEPEST):
        if _COMMIT.fullmatch(text):
            return text
        name = text.removeprefix("ref:").strip()
        if not _NAME.fullmatch(name) or ".." in name:  # it must not lead to another file
            return None
        text = _reference(folders, name) or ""
    return None


def _reference(folders: tuple[Path, ...], name: str) -> str | None:
    """Return a reference's commit: its own file has priority over the packed references."""
    for folder in folders:
        path = folder / name
        if path.is_file():
            return _line(path)
    return _packed(folders[-1] / "packed-refs", name)


def _packed(path: Path, name: str) -> str | None:
    if not path.is_file():
        return None
    for line in read_start(path, MOST_PACKED).decode("utf-8", "replace").splitlines():
        commit, _, reference = line.partition(" ")
        if reference == name:
            return commit
    return None


def _line(path: Path) -> str:
    """Return the first line of a small file."""
    return read_start(path, MOST_BYTES).decode("utf-8", "replace").partition("\n")[0].strip()
