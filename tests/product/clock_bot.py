"""A bot whose clock is set while it runs, by libfaketime: ``python clock_bot.py OFFSET...``, each in seconds.

After each setting it records operations, waits until the jobs have run again and all is stored, and prints a line of
JSON: what a summary then counts, and what the monitor says of its clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

import discord
from discord.ext import commands

import cogmeter
from cogmeter.monitor.monitor import Monitor

PATIENCE_S = 60
RECORDED = 20


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.05)


def set_clock(offset: str) -> None:
    file = Path(os.environ["FAKETIME_TIMESTAMP_FILE"])
    whole = file.with_suffix(".new")  # the library may read it at any moment
    whole.write_text(f"{int(offset):+d}\n")
    whole.replace(file)


async def counted(monitor: Monitor, service: str) -> int:
    """How many operations a summary counts; those that a correction moved forward are in it after a minute at most."""
    async with asyncio.timeout(PATIENCE_S + 30):
        while service not in (stats := (await monitor.dashboard()).service_stats):
            await asyncio.sleep(0.5)
    return int(stats[service].total_operations)


async def main(offsets: list[str]) -> None:
    async with commands.Bot(command_prefix="!", intents=discord.Intents.none()) as bot:
        await bot.load_extension("cogmeter.cog")
        monitor = bot.get_cog("cogmeter").monitor
        for count, offset in enumerate(["", *offsets]):
            watch = monitor.clock_watch
            if offset:
                set_clock(offset)
                await until(lambda: watch.back + watch.forward >= count)  # noqa: B023 - awaited at once
            for _ in range(RECORDED):
                cogmeter.record(f"search-{count}", "lookup", duration_ms=5)
            checks, samples, written = monitor.alerting.engine.checks, monitor.sampled_ns, monitor.flusher.written
            await until(lambda: monitor.alerting.engine.checks >= checks + 1)  # noqa: B023 - awaited at once
            await until(lambda: monitor.sampled_ns > samples)  # noqa: B023 - awaited at once
            await until(lambda: monitor.flusher.written >= written + RECORDED)  # noqa: B023 - awaited at once
            seen = await counted(monitor, f"search-{count}")
            print(json.dumps({"seen": seen, "doubt": watch.doubt(), "back": watch.back, "forward": watch.forward}))


# libfaketime makes every clock_nanosleep() with an absolute time fail, and time.sleep() is one.
time.sleep = lambda seconds: select.select([], [], [], seconds)
asyncio.run(main(sys.argv[1:]))
