"""Surfaces installed on bots of the loopback Discord, and the operations that they recorded."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import discord
import pytest
from discord.ext import commands
from loopback import Loopback

from cogmeter.recording.buffer import Buffer
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.surface import Surface, WatchContext
from cogmeter_storage import Outcome


class Recorded(NamedTuple):
    """One operation, as it lies in the recorder's buffer."""

    service: str
    operation: str
    outcome: Outcome
    duration_ms: float
    error: str | None
    metadata: Mapping[str, Any]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(Buffer(10_000))


@pytest.fixture
def recorded(recorder: Recorder) -> Callable[..., list[Recorded]]:
    """``recorded(service=None)``: what has been recorded so far, in order; it stays in the buffer."""

    def read(service: str | None = None) -> list[Recorded]:
        atoms = iter(list(recorder.buffer.rows))
        found = []
        for series, _, duration_ns, outcome, extra in zip(atoms, atoms, atoms, atoms, atoms, strict=True):
            error, metadata = extra or (None, None)
            name = recorder.names[series]
            found.append(Recorded(*name, Outcome(outcome or 0), duration_ns / 1e6, error, metadata or {}))
        return [one for one in found if service in (None, one.service)]

    return read


class Counted(NamedTuple):
    """One error, as the flusher would store it."""

    kind: str
    type: str
    message: str
    service: str
    operation: str


@pytest.fixture
def errors(recorder: Recorder) -> Callable[[], list[Counted]]:
    """``errors()``: the errors that were counted since the last call, one entry for each."""

    def read() -> list[Counted]:
        return [
            Counted(str(batch.kind), batch.type, batch.message, service, operation)
            for batch in recorder.errors.take()
            for (service, operation, _), count in batch.counts.items()
            for _ in range(count)
        ]

    return read


@pytest.fixture
def context(recorder: Recorder) -> Callable[[commands.Bot], WatchContext]:
    """``context(bot)``: the context of the bot's surfaces, with the default settings."""

    def make(bot: commands.Bot, **settings: Any) -> WatchContext:
        return WatchContext(
            bot, Settings(_env_file=None, **settings), recorder, InteractionTracker(recorder, slow_ms=1000)
        )

    return make


@pytest.fixture
def watching(context: Callable[..., WatchContext]) -> Callable[..., Any]:
    """``async with watching(bot, Surface) as surface``: that surface (or several) is installed during the block."""

    @contextlib.asynccontextmanager
    async def watch(bot: commands.Bot, *kinds: type[Surface], **settings: Any) -> AsyncIterator[Any]:
        at = context(bot, **settings)
        surfaces = [kind(at) for kind in kinds]
        for surface in surfaces:
            await surface.install()
        try:
            yield surfaces[0] if len(surfaces) == 1 else surfaces
        finally:
            for surface in reversed(surfaces):
                await surface.remove()

    return watch


@pytest.fixture(params=[commands.Bot, commands.AutoShardedBot])
def make_bot(request: pytest.FixtureRequest) -> Callable[..., commands.Bot]:
    """``make_bot()``: a bot without commands, a Bot and (another test) an AutoShardedBot."""

    def make(**options: Any) -> commands.Bot:
        return request.param(command_prefix="!", intents=discord.Intents.all(), help_command=None, **options)

    return make


@pytest.fixture
async def ready_bot(discord_server: Loopback) -> AsyncIterator[commands.Bot]:
    """A connected ``Bot``, for what is the same on both kinds."""
    bot = commands.Bot(command_prefix="!", intents=discord.Intents.all(), help_command=None)
    async with discord_server.running(bot):
        yield bot
