"""Shared fixtures: the loopback Discord, importable by tests as `loopback`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# Appended, never put first: the folders here bear the names of the real packages, and those must win.
sys.path.append(str(Path(__file__).parent))

from loopback import Loopback


@pytest.fixture
async def discord_server() -> AsyncIterator[Loopback]:
    """A Discord on 127.0.0.1 that discord.py is pointed at for the time of one test."""
    async with Loopback() as server:
        yield server
