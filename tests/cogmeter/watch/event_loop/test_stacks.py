"""Stacks are named by file, line and function, the host's innermost line first, without a path of the machine."""

from __future__ import annotations

import asyncio
import json
import sys
import sysconfig
from pathlib import Path

import discord
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cogmeter.recording.recorder
from cogmeter.recording.frames import HOST, LIBRARY, STANDARD, import_roots, outer_frames, owner_of
from cogmeter.watch.event_loop.stacks import MOST, StackLine, culprit_of, shortened, stack_of

HOSTS = StackLine("/srv/bot/cogs/music.py", 88, "search")
OURS = StackLine(str(cogmeter.recording.recorder.__file__), 5, "add")
INSTALLED = StackLine("/srv/bot/.venv/lib/python3.11/site-packages/discord/http.py", 600, "request")
PYTHONS = StackLine(str(json.__file__), 3, "dumps")


def test_whose_code_a_file_is():
    assert [owner_of(frame.file) for frame in (HOSTS, OURS, INSTALLED, PYTHONS)] == [HOST, LIBRARY, LIBRARY, STANDARD]
    assert owner_of("<frozen importlib._bootstrap>") == STANDARD
    assert owner_of(str(discord.__file__)) == LIBRARY
    assert owner_of(str(Path(sysconfig.get_path("stdlib")) / "asyncio" / "tasks.py")) == STANDARD


@pytest.mark.parametrize(
    ("stack", "culprit"),
    [
        ([PYTHONS, INSTALLED, HOSTS, OURS, INSTALLED], HOSTS),
        ([PYTHONS, OURS, INSTALLED], OURS),
        ([PYTHONS], PYTHONS),
        ([], None),
    ],
)
def test_the_culprit_is_the_innermost_line_of_the_host(stack, culprit):
    assert culprit_of(stack) == culprit


def test_a_path_is_shortened_to_the_nearest_folder_of_imports():
    assert shortened(HOSTS, ["/srv", "/srv/bot", "/other"]).place == "cogs/music.py:88 search"
    assert str(shortened(HOSTS, ["/elsewhere"])) == "cogs/music.py:88:search"
    assert shortened(StackLine("<string>", 1, "f"), ["/srv"]).file == "<string>"
    assert shortened(PYTHONS, import_roots()).file == "json/__init__.py"
    assert shortened(StackLine(asyncio.__file__, 1, "f"), import_roots()).file == "asyncio/__init__.py"


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8))
def test_no_path_stays_absolute(parts):
    path = "/" + "/".join(parts) + ".py"
    assert not shortened(StackLine(path, 1, "f"), import_roots()).file.startswith("/")


def test_a_stack_has_the_innermost_frames_above_the_base():
    def deep(left: int) -> list[StackLine]:
        return deep(left - 1) if left else stack_of(outer_frames(sys._getframe()), base)

    base = len(outer_frames(sys._getframe()))
    assert [frame.function for frame in deep(3)] == ["deep"] * 4
    assert len(deep(100)) == MOST
    assert stack_of(outer_frames(sys._getframe()), base) == []
    assert stack_of([], base) == []
