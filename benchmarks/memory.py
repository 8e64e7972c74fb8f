"""Measure the memory that the extension adds to a running bot, and the time of ``load_extension``.

Run ``python benchmarks/memory.py [--short]``. A ``commands.Bot`` is set up as ``bot.start`` would, without logging in.
Then, in one of two variants, ``cogmeter.cog`` is loaded by ``load_extension``, a thousand operations are recorded and
flushed, the alerts are checked and a summary is read. Each variant runs in processes of its own, in turn.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from timing import Goal, Spread, at_most, interleaved, missing, parser, row, sized

if TYPE_CHECKING:
    from discord.ext import commands

OPERATIONS = 1000
VARIANTS = ("plain", "loaded", "used")


async def use(bot: commands.Bot) -> None:
    """Run a typical first minute: operations, a flush, a check of the alerts, a summary."""
    import cogmeter

    for number in range(OPERATIONS):
        cogmeter.record(f"service-{number % 20}", "query", duration_ms=float(number), metadata={"number": number})
    cog = bot.get_cog("cogmeter")
    assert cog is not None
    monitor = cog.monitor  # type: ignore[attr-defined]  # the extension's own class, which is not imported here
    await monitor.flusher.flush()
    await monitor.alerting.check()
    await monitor.query.summary()


async def bot_in(variant: str) -> tuple[int, float]:
    """Return the resident bytes of this process, and how many seconds ``load_extension`` took."""
    import discord
    import psutil
    from discord.ext import commands

    bot = commands.Bot(command_prefix="!", intents=discord.Intents.default())
    async with bot:
        await asyncio.sleep(0.1)
        started = time.perf_counter()
        if variant != "plain":
            await bot.load_extension("cogmeter.cog")
        load_s = time.perf_counter() - started
        if variant == "used":
            await use(bot)
        await asyncio.sleep(0.5)
        gc.collect()
        if "matplotlib" in sys.modules:
            raise SystemExit("matplotlib has been imported into the bot's process")
        return psutil.Process().memory_info().rss, load_s


def in_a_process(variant: str, loads_s: list[float]) -> float:
    """Return the resident megabytes of a fresh process; append its loading time to ``loads_s``."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"PERFORMANCE_DATABASE_URL": f"sqlite:///{Path(folder) / 'bench.db'}"}
        command = [sys.executable, __file__, "--variant", variant]
        done = subprocess.run(
            command, env={**os.environ, **settings}, cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
    resident, load_s = done.stdout.split()
    if variant != "plain":
        loads_s.append(float(load_s))
    return int(resident) / 1e6


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--variant", choices=VARIANTS, help="the variant that a child process runs")
    given = options.parse_args()
    if given.variant:
        print(*asyncio.run(bot_in(given.variant)))
        return
    try:
        import psutil as _  # noqa: F401 - only whether it is there
    except ImportError as error:
        missing("memory", error)
        return
    loads_s: list[float] = []
    results = interleaved(
        {variant: lambda variant=variant: in_a_process(variant, loads_s) for variant in VARIANTS},
        sized(given, 11, 3, 1),
    )
    peer = f"discord.py bot {Spread.of(results['plain']).median:.0f} MB"
    for variant in VARIANTS[1:]:
        more = Spread.of(with_us - without for with_us, without in zip(results[variant], results["plain"], strict=True))
        row(
            f"memory added, extension {variant}",
            f"{more.median:.1f} MB",
            peer=peer,
            ratio=f"+{more:.1f} MB",
            goal=at_most(more.median, 45, " MB"),
        )
    load = Spread.of(taken * 1000 for taken in loads_s)
    row("load_extension", f"{load:.0f} ms", goal=at_most(load.median, 400, " ms"))
    row("matplotlib in the bot's process", "not imported", goal=Goal("never", met=True))


if __name__ == "__main__":
    main()
