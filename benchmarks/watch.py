"""Measure the CPU time per gateway event, interaction and logged error: without and with cogmeter.

Three bots run in one process on the loopback Discord, in turn, round by round, so that they see the same state of the
machine. Events are passed to the connection's parsers, where the gateway's own would arrive. What cogmeter writes is
flushed inside its own rounds, and counts. Answers to interactions use the loopback: the test server's work is included
in all three. Messages are accepted without a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import discord
import psutil
from discord.ext import commands
from timing import Spread, at_most, difference, interleaved, missing, parser, row, sized

from cogmeter import Recorder
from cogmeter.recording import running
from cogmeter.settings import Settings
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.logged_errors import LoggedErrors
from cogmeter.watch.surface import WatchContext

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

VARIANTS = ("bare", "cogmeter", "argus")
GROWTH_EVENTS = 200_000
STACK = 20  # frames of a logged exception
QUESTION = "are you there"  # the message that the listener answers


async def drained() -> None:
    """Wait until every task that an event started has ended."""
    for _ in range(4):
        await asyncio.sleep(0)


def make_bot() -> commands.Bot:
    intents = discord.Intents.default()
    intents.message_content = True
    bot = commands.Bot("!", intents=intents)

    @bot.listen()
    async def on_message(message):
        if message.content == QUESTION:
            await message.channel.send("yes")

    @bot.tree.command()
    async def quiet(interaction: discord.Interaction):
        """Do nothing, and send no answer."""

    @bot.tree.command()
    async def loud(interaction: discord.Interaction):
        """Send an answer."""
        await interaction.response.send_message("yes")

    return bot


async def fit_out(bot: commands.Bot, variant: str) -> None:
    if variant == "cogmeter":
        await bot.load_extension("cogmeter.cog")
    elif variant == "argus":
        from argus import Argus

        Argus(bot, port=0)


def accept_at_once(bot: commands.Bot, message) -> None:
    """Let Discord accept every message of the bot at once: a request over the loopback costs a hundred times a hook."""
    http = bot.http
    original = http.request

    async def request(route, *, files=None, form=None, **kwargs):
        if route.path == "/channels/{channel_id}/messages":
            return message
        return await original(route, files=files, form=form, **kwargs)

    http.request = request


class Feeder:
    """A source of events for one bot's parsers, each with its own id; waits for the work that they start."""

    def __init__(self, bot: commands.Bot, server) -> None:
        self._bot = bot
        self._parsers = bot._connection.parsers
        self._server = server
        self._message = server.world.message_create("hello")
        self._question = server.world.message_create(QUESTION)
        self._quiet = server.owner.slash("quiet")
        self._number = int(self._message["id"]) + (1 << 22)

    def _fresh(self, payload):
        self._number += 1 << 12
        return {**payload, "id": str(self._number)}

    async def _settle(self) -> None:
        cog = self._bot.get_cog("cogmeter")
        if cog is not None:
            await cog.monitor.flusher.flush()

    async def messages(self, count: int, *, answered: bool = False) -> tuple[float, float]:
        """Return CPU microseconds per message with one listener: until it is handled, and until it is stored."""
        message = self._question if answered else self._message
        parse, batch = self._parsers["MESSAGE_CREATE"], [self._fresh(message) for _ in range(count)]
        began = time.process_time()
        for payload in batch:
            parse(payload)
            await drained()
        handled = time.process_time() - began
        await self._settle()
        return handled / count * 1e6, (time.process_time() - began) / count * 1e6

    async def replies(self, count: int, *, known: bool = True) -> float:
        """Return CPU microseconds per answered message, until it is stored; not known: as a run of a listener."""
        cog = self._bot.get_cog("cogmeter")
        context = None if cog is None else cog.monitor.watcher.surfaces[0].context
        replies = None if context is None else context.replies
        if context is not None and not known:
            context.replies = None
        try:
            _, stored = await self.messages(count, answered=True)
        finally:
            if context is not None:
                context.replies = replies
        return stored

    async def interactions(self, count: int) -> float:
        """Return CPU microseconds per interaction without an answer, until it is stored."""
        parse = self._parsers["INTERACTION_CREATE"]
        batch = [self._fresh(copy.deepcopy(self._quiet)) for _ in range(count)]
        began = time.process_time()
        for payload in batch:
            parse(payload)
            await drained()
            await drained()
        await self._settle()
        return (time.process_time() - began) / count * 1e6

    async def answered(self, count: int) -> float:
        """Return CPU microseconds per interaction that is answered over the loopback, the server's work included."""
        parse, batch = self._parsers["INTERACTION_CREATE"], [self._server.owner.slash("loud") for _ in range(count)]
        began = time.process_time()
        for payload in batch:
            exchange = self._server.exchanges.open(payload)
            parse(payload)
            await exchange.acknowledged()
        await self._settle()
        return (time.process_time() - began) / count * 1e6


async def measured(rounds: int, count: int, growth: int) -> dict[str, dict[str, list[float]]]:  # noqa: C901 - top to bottom
    """Return the figures by variant and name, one of each round."""
    from loopback import Loopback

    async with Loopback(keep=100) as server, contextlib.AsyncExitStack() as running:
        feeders = {}
        for variant in VARIANTS:
            bot = make_bot()
            accept_at_once(bot, server.world.message_create("yes", author=server.world.bot))
            try:
                if variant == "argus":  # it has no extension to load: it must be there before the login
                    await fit_out(bot, variant)
            except ImportError as error:
                missing("argus-dpy", error)
                continue
            await running.enter_async_context(server.running(bot))
            if variant == "cogmeter":
                await fit_out(bot, variant)
                running.push_async_callback(bot.unload_extension, "cogmeter.cog")
            await bot.tree.sync()
            feeders[variant] = Feeder(bot, server)
        names = ("message", "kept", "replied", "not known", "interaction", "answered")
        figures = {variant: {name: [] for name in names} for variant in feeders}
        for number in range(-1, rounds):
            for variant, feeder in random.sample(sorted(feeders.items()), len(feeders)):
                handled, kept = await feeder.messages(count)
                seen = {
                    "message": handled,
                    "kept": kept,
                    **await both(feeder, count // 2),
                    "interaction": await feeder.interactions(count // 2),
                    "answered": await feeder.answered(count // 100),
                }
                if number >= 0:  # the first round warms up
                    for name, value in seen.items():
                        figures[variant][name].append(value)
        if growth:
            before = psutil.Process().memory_info().rss
            for _ in range(growth // 1_000):
                await feeders["cogmeter"].messages(1_000)
            figures["cogmeter"]["growth_mb"] = [(psutil.Process().memory_info().rss - before) / 1e6]
        return figures


async def both(feeder: Feeder, count: int) -> dict[str, float]:
    """Measure answered messages as replies, and as runs of a listener, in random order."""
    cases = [("replied", True), ("not known", False)]
    return {name: await feeder.replies(count, known=known) for name, known in random.sample(cases, len(cases))}


def raised(depth: int) -> None:
    """Raise an exception below this many frames."""
    if depth > 1:
        raised(depth - 1)
    raise OSError("no route")


async def logged(rounds: int, count: int) -> dict[str, list[float]]:
    """Return microseconds per logged error by case, with one handler that writes to nowhere, as a log file's does."""
    logger, recorder = logging.getLogger("benchmark"), Recorder()
    logger.propagate = False
    context = WatchContext(make_bot(), Settings(), recorder, InteractionTracker(recorder, slow_ms=1_000))

    def plain() -> None:
        for number in range(count):
            logger.error("order %d failed", number)

    def with_stack() -> None:
        for number in range(count // 10):
            try:
                raised(STACK)
            except OSError:
                logger.exception("order %d failed", number)

    def timed(work: Callable[[], None], calls: int, *, hooked: bool) -> float:
        surface = LoggedErrors(context)
        surface.prepare()
        if hooked:
            surface.hooks[0].install()
        token = running.enter(recorder.running.begin("discord.listeners", "on_message"))
        began = time.process_time()
        work()
        took_us = (time.process_time() - began) / calls * 1e6
        running.leave(token)
        surface.hooks[0].remove()
        recorder.errors.take()
        return took_us

    with Path(os.devnull).open("w") as nowhere:
        logger.addHandler(logging.StreamHandler(nowhere))
        return interleaved(
            {
                "bare": lambda: timed(plain, count, hooked=False),
                "hooked": lambda: timed(plain, count, hooked=True),
                "bare with a stack": lambda: timed(with_stack, count // 10, hooked=False),
                "hooked with a stack": lambda: timed(with_stack, count // 10, hooked=True),
            },
            rounds,
        )


def main() -> None:
    options = parser(__doc__).parse_args()
    logging.disable(logging.WARNING)
    os.environ["PERFORMANCE_LOG_LEVEL"] = "error"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        rounds, growth = sized(options, 30, 6, 1), sized(options, GROWTH_EVENTS, 0, 0)
        report_logged(asyncio.run(logged(sized(options, 30, 10, 1), sized(options, 5_000, 2_000, 100))))
        report(asyncio.run(measured(rounds, sized(options, 3_000, 2_000, 200), growth)))


def report_logged(figures: dict[str, list[float]]) -> None:
    for suffix, words, limit in (("", "", 5.0), (" with a stack", f" with a stack of {STACK} frames", None)):
        bare = figures[f"bare{suffix}"]
        more = difference(figures[f"hooked{suffix}"], bare)
        goal = at_most(more.median, limit, " us") if limit else None
        row(f"watch: us more per logged error{words}", f"{more:.1f}, bare {Spread.of(bare).median:.1f}", goal=goal)


def report(figures) -> None:
    for name, words, limit in (
        ("message", "us more per dispatched message", 6.0),
        ("kept", "us more per dispatched message, storing included", 6.0),
        ("replied", "us more per answered message, its request and storing included", None),
        ("interaction", "us more per interaction, storing included", 40.0),
        ("answered", "us more per answered interaction, loopback included", None),
    ):
        bare = figures["bare"][name]
        more = difference(figures["cogmeter"][name], bare)
        peer = f"argus-dpy {difference(figures['argus'][name], bare):.1f}" if "argus" in figures else ""
        goal = at_most(more.median, limit, " us") if limit else None
        row(f"watch: {words}", f"{more:.1f}, bare {Spread.of(bare).median:.0f}", peer=peer, goal=goal)
    more = difference(figures["cogmeter"]["replied"], figures["cogmeter"]["not known"])
    goal = at_most(more.median, 10.0, " us")
    row("watch: us more per answered message than for a run of a listener", f"{more:.1f}", goal=goal)
    for grown in figures["cogmeter"].get("growth_mb", []):
        row(f"watch: MB more after {GROWTH_EVENTS:,} events", f"{grown:.1f}", goal=at_most(grown, 10, " MB"))


if __name__ == "__main__":
    main()
