"""What watching costs a bot: CPU per gateway event and per interaction, without us, with us, and with argus-dpy.

Each variant runs in a process of its own on the loopback Discord, the three in turn, again and again. Events are put
into the connection's parsers, where the gateway's own would arrive, so that the test server's work is not counted; the
answers of interactions do go over the loopback, and there the differences are small against the whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import discord
import psutil
from discord.ext import commands
from timing import Spread, at_most, missing, row

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

VARIANTS = ("bare", "cogmeter", "argus")
GROWTH_EVENTS = 200_000
ROUNDS = 12


async def drained() -> None:
    """Until every task that an event has started is done."""
    for _ in range(4):
        await asyncio.sleep(0)


def make_bot() -> commands.Bot:
    intents = discord.Intents.default()
    intents.message_content = True
    bot = commands.Bot("!", intents=intents)

    @bot.listen()
    async def on_message(message):  # noqa: ARG001 - it is there to be called
        return

    @bot.tree.command()
    async def quiet(interaction: discord.Interaction):
        """Do nothing, and do not answer."""

    @bot.tree.command()
    async def loud(interaction: discord.Interaction):
        """Answer."""
        await interaction.response.send_message("yes")

    return bot


async def fit_out(bot: commands.Bot, variant: str) -> None:
    if variant == "cogmeter":
        await bot.load_extension("cogmeter.cog")
    elif variant == "argus":
        from argus import Argus

        Argus(bot, port=0)


class Feeder:
    """Puts events into the parsers, each with an id of its own."""

    def __init__(self, bot: commands.Bot, server) -> None:
        self._parsers = bot._connection.parsers
        self._server = server
        self._message = server.world.message_create("hello")
        self._quiet = server.owner.slash("quiet")
        self._number = int(self._message["id"]) + (1 << 22)

    def _fresh(self, payload):
        self._number += 1 << 12
        return {**payload, "id": str(self._number)}

    async def messages(self, count: int) -> float:
        """CPU microseconds for each message."""
        parse, batch = self._parsers["MESSAGE_CREATE"], [self._fresh(self._message) for _ in range(count)]
        began = time.process_time()
        for payload in batch:
            parse(payload)
            await drained()
        return (time.process_time() - began) / count * 1e6

    async def interactions(self, count: int) -> float:
        """CPU microseconds for each interaction that is not answered."""
        parse = self._parsers["INTERACTION_CREATE"]
        batch = [self._fresh(copy.deepcopy(self._quiet)) for _ in range(count)]
        began = time.process_time()
        for payload in batch:
            parse(payload)
            await drained()
            await drained()
        return (time.process_time() - began) / count * 1e6

    async def answered(self, count: int) -> float:
        """CPU microseconds for each interaction that is answered over the loopback, the server's work included."""
        began = time.process_time()
        for _ in range(count):
            exchange = await self._server.interact(self._server.owner.slash("loud"))
            await exchange.acknowledged()
        return (time.process_time() - began) / count * 1e6


async def child(variant: str, count: int, growth: int) -> None:
    from loopback import Loopback

    figures: dict[str, list[float]] = {"message": [], "interaction": [], "answered": []}
    async with Loopback(keep=100) as server:
        bot = make_bot()
        if variant == "argus":  # it has no extension to load: it must be there before the login
            await fit_out(bot, variant)
        async with server.running(bot):
            if variant == "cogmeter":
                await fit_out(bot, variant)
            await bot.tree.sync()
            feeder = Feeder(bot, server)
            await feeder.messages(200)
            await feeder.interactions(100)
            for _ in range(3):
                figures["message"].append(await feeder.messages(count))
                figures["interaction"].append(await feeder.interactions(count // 4))
                figures["answered"].append(await feeder.answered(count // 40))
            began, began_s = time.process_time(), time.perf_counter()
            await asyncio.sleep(3)
            figures["idle_percent"] = [(time.process_time() - began) / (time.perf_counter() - began_s) * 100]
            if growth:
                before = psutil.Process().memory_info().rss
                await feeder.messages(growth)
                await asyncio.sleep(2)
                figures["growth_mb"] = [(psutil.Process().memory_info().rss - before) / 1e6]
            for name in list(bot.extensions):
                await bot.unload_extension(name)
    print("RESULT " + json.dumps(figures), flush=True)


def measure(variant: str, count: int, growth: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        answer = subprocess.run(
            [
                sys.executable,
                "-W",
                "ignore",
                __file__,
                "--child",
                variant,
                "--count",
                str(count),
                "--growth",
                str(growth),
            ],
            capture_output=True,
            text=True,
            timeout=600,
            cwd=folder,
            check=False,
            env={**os.environ, "PERFORMANCE_LOG_LEVEL": "error", "PYTHONPATH": str(Path(__file__).parent)},
        )
    for line in answer.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise RuntimeError(f"{variant} gave no result:\n{answer.stderr[-2000:]}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--child", choices=VARIANTS)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--growth", type=int, default=0)
    options = parser.parse_args()
    if options.child:
        logging.disable(logging.WARNING)
        asyncio.run(child(options.child, options.count, options.growth))
        return
    variants = list(VARIANTS)
    with contextlib.suppress(ImportError):
        import argus  # noqa: F401 - is it there?
    if "argus" not in sys.modules:
        missing("argus-dpy", ImportError("argus"))
        variants.remove("argus")
    seen: dict[str, list[dict[str, list[float]]]] = {variant: [] for variant in variants}
    for number in range(2 if options.short else ROUNDS):
        for variant in variants:
            growth = GROWTH_EVENTS if variant == "cogmeter" and number == 0 and not options.short else 0
            seen[variant].append(measure(variant, 600 if options.short else options.count, growth))
    report(seen)


def best(run: dict[str, list[float]], name: str) -> float:
    return statistics.median(run[name])


def extra(seen, variant: str, name: str) -> list[float]:
    """What a variant costs above the bare bot of the same turn."""
    return [best(mine, name) - best(bare, name) for mine, bare in zip(seen[variant], seen["bare"], strict=True)]


def report(seen) -> None:
    for name, words, limit in (
        ("message", "us more per dispatched message", 6.0),
        ("interaction", "us more per interaction", 40.0),
        ("answered", "us more per answered interaction, loopback included", None),
    ):
        ours = Spread.of(extra(seen, "cogmeter", name))
        bare = Spread.of(best(run, name) for run in seen["bare"])
        goal = at_most(ours.median, limit, " us") if limit else None
        peer = ""
        if "argus" in seen:
            theirs = Spread.of(extra(seen, "argus", name))
            peer = f"argus-dpy {theirs:.1f}"
        row(f"watch: {words}", f"{ours:.1f}, bare {bare.median:.0f}", peer=peer, goal=goal)
    idle = Spread.of(extra(seen, "cogmeter", "idle_percent"))
    row("watch: % of a core more while idle, all of cogmeter", f"{idle:.2f}")
    for run in seen["cogmeter"]:
        if "growth_mb" in run:
            grown = run["growth_mb"][0]
            row(f"watch: MB more after {GROWTH_EVENTS:,} events", f"{grown:.1f}", goal=at_most(grown, 10, " MB"))


if __name__ == "__main__":
    main()
