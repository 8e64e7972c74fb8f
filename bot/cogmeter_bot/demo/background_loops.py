"""What the demo's bot does by itself: background loops that work, and one that blocks the event loop a little."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any, Final

from discord.ext import commands, tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_S: Final = 0.18  # shown as a stall, and far below what raises an alert


class DemoLoops(commands.Cog, name="chores"):
    """Three loops; the digest is made on the event loop, which is the mistake that the stalls show."""

    async def cog_load(self) -> None:
        """Start them in an empty context: what the simulator knows of, it would hold up until its clock moves."""
        for loop in self._loops():
            contextvars.Context().run(loop.start)

    async def cog_unload(self) -> None:
        """End them."""
        for loop in self._loops():
            loop.cancel()

    def _loops(self) -> Iterable[tasks.Loop[Any]]:
        return (self.refresh_feeds, self.trim_memory, self.write_digest)

    @tasks.loop(seconds=20)
    async def refresh_feeds(self) -> None:
        """Wait, as for a server that answers."""
        await asyncio.sleep(0.12)

    @tasks.loop(seconds=45)
    async def trim_memory(self) -> None:
        """Wait, as for a database."""
        await asyncio.sleep(0.03)

    @tasks.loop(minutes=5)
    async def write_digest(self) -> None:
        """Block the event loop."""
        read_archive()


def read_archive() -> None:
    """Wait in a way that lets nothing else run; a real bot would call it by asyncio.to_thread."""
    time.sleep(BLOCK_S)
