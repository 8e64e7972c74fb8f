"""A bot that records without end, for tests that kill it: ``python recording_bot.py EPOCH SPEED FIRST PACE [FILE]``.

Its wall clock runs SPEED times as fast since EPOCH (seconds), so that minutes end, and hours are folded, while it is
being killed. Before each operation, PACE seconds apart, it says ``<number> <operations that are committed>``. SIGTERM
stops it. With FILE, the host reads that database and the files next to it, as a command that uploads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import discord
from discord.ext import commands

import cogmeter
import cogmeter.monitor.clock_watch
import cogmeter.monitor.jobs

_real_ns = time.time_ns


READ_EVERY = 50


async def main(first: int, pace_s: float, database: Path | None) -> None:
    with contextlib.suppress(NotImplementedError):
        task = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        await bot.load_extension("cogmeter.cog")
        flusher = bot.get_cog("cogmeter").monitor.flusher
        trackers = [cogmeter.track("crash", f"operation-{number}") for number in range(3)]
        for number in itertools.count(first):
            os.write(1, b"%d %d\n" % (number, flusher.written))
            with trackers[number % 3]() as op:
                op.annotate(number=number)
            if database is not None and number % READ_EVERY == 0:
                read(database)
            await asyncio.sleep(pace_s)


def read(database: Path) -> None:
    """Read the three files. The index could disappear on the way only if something were wrong."""
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).read_bytes()


def hurry(epoch_s: float, speed: int) -> None:
    """Let the wall clock run faster, and fold more often."""
    epoch_ns = int(epoch_s * 1e9)
    time.time_ns = lambda: epoch_ns + (_real_ns() - epoch_ns) * speed
    cogmeter.monitor.clock_watch.STEP_NS = 10**18  # a clock that runs fast all the time makes no step
    cogmeter.monitor.jobs.FOLD_INTERVAL_S = 1.0  # a busy machine takes longer than a fraction of it


if __name__ == "__main__":
    os.environ["PERFORMANCE_WATCH_STALLS"] = "false"  # a stall of a busy machine is an operation, and counted as one
    hurry(float(sys.argv[1]), int(sys.argv[2]))
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main(int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]) if sys.argv[5:] else None))
