"""Shared fixtures: the loopback Discord (importable by tests as `loopback`), and a headless browser (`browser`)."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# Appended, never put first: the folders here bear the names of the real packages, and those must win.
sys.path.append(str(Path(__file__).parent))

from browser import Page, chromium, found
from loopback import Loopback

# A timing is never asserted in a test: machines are busy with others.
hypothesis.settings.register_profile(
    "cogmeter", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("cogmeter")


@pytest.fixture
async def discord_server() -> AsyncIterator[Loopback]:
    """A Discord on 127.0.0.1 that discord.py is pointed at for the time of one test."""
    async with Loopback() as server:
        yield server


@pytest.fixture
def needed() -> Callable[[object, str], None]:
    """Skip a test, with the reason, when a program is missing; with COGMETER_TEST_ALL=1 fail it."""

    def need(is_there: object, what: str) -> None:
        if not is_there:
            report = pytest.fail if os.environ.get("COGMETER_TEST_ALL") == "1" else pytest.skip
            report(f"{what} is not on this machine")

    return need


@pytest.fixture
def browser(needed, tmp_path) -> Iterator[Page]:
    """A tab of a headless Chromium that remembers nothing from before."""
    program = found()
    needed(program, "Chromium")
    with chromium(program, tmp_path / "chromium") as page:
        yield page
