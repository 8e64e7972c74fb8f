"""Runs the demo: history, bot, simulated Discord, page and live traffic; removes everything at the end."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import importlib.util
import logging
import os
import socket
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import discord
from discord.ext import commands, tasks

import cogmeter
from cogmeter.settings import load_settings
from cogmeter_bot.bot import ExampleBot, run_until_stopped
from cogmeter_bot.demo.environment import demo_environment, post_alerts_to
from cogmeter_bot.demo.errors import past_errors
from cogmeter_bot.demo.gauges import simulate_heartbeats, store_gauges
from cogmeter_bot.demo.history import make_history, store_history
from cogmeter_bot.demo.past import past_alerts, store_alerts, store_commands
from cogmeter_bot.demo.profiles import LIVE_GUILDS
from cogmeter_bot.demo.traffic import Traffic
from cogmeter_bot.errors import CannotRunError
from cogmeter_bot.replies import REPLY_COLOUR
from cogmeter_storage import open_store
from cogmeter_storage.usage import GUILD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from cogmeter.monitor.monitor import Monitor
    from cogmeter_bot.demo.world import World

INDEX_S: Final = 45.0  # shorter than the threshold of the rule "hung"
ARCHIVE_S: Final = 0.18
EXTRA: Final = ("simcord", "markdown_it", "linkify_it", "regex")
GREETING: Final = """This Discord, the traffic and the incidents are simulated. The bot, the monitor, the database, \
the charts and the alerts are real.

Type `/`, choose a command and press Send:
- `/perf summary`: the state of all services
- `/perf stats`: one service, with its slowest operations and latest errors
- `/perf slow`: the slowest commands, why they are slow, and what to do
- `/perf errors`, `/perf running`: errors with file and line, and what runs now
- `/perf alerts`, `/perf thresholds view`, `/perf report`: past alerts, their thresholds, and a review of both
- `/mood`, `/remember`, `/ask`, `/relate`, `/connect`, `/look`: commands of the bot, recorded as in any bot

Within a minute an incident starts and an alert appears in this channel. Try its buttons. The dashboard shows the same \
data: {dashboard}"""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of a demo. Port 0 selects a free one; without ``database`` it is a temporary file."""

    port: int = 0  # of the simulated Discord
    dashboard_port: int = 0
    history_days: float = 7.0
    seed: int = 1
    database: Path | None = None


class DemoBot(ExampleBot):
    """The example bot; it loads its extensions after the simulated guild exists."""

    async def setup_hook(self) -> None:
        """Do nothing: the settings need the guild's channel, and the simulated clock must be set first."""


class Chores(commands.Cog, name="chores"):
    """Four background loops. One runs for long."""

    async def cog_load(self) -> None:
        """Start the loops in an empty context; the simulator suspends tasks that it knows until its clock advances."""
        for loop in self._loops():
            contextvars.Context().run(loop.start)

    async def cog_unload(self) -> None:
        """Stop the loops."""
        for loop in self._loops():
            loop.cancel()

    def _loops(self) -> Iterable[tasks.Loop[Any]]:
        return (self.refresh_feeds, self.trim_memory, self.index_messages, self.write_digest)

    @tasks.loop(seconds=20)
    async def refresh_feeds(self) -> None:
        """Wait as for the response of a server."""
        await asyncio.sleep(0.12)

    @tasks.loop(seconds=45)
    async def trim_memory(self) -> None:
        """Wait as for a database."""
        await asyncio.sleep(0.03)

    @tasks.loop(seconds=INDEX_S + 1)
    async def index_messages(self) -> None:
        """Run for long: it is listed as running now, with this line."""
        with cogmeter.operation("knowledge-graph", "index"):
            await asyncio.sleep(INDEX_S)

    @tasks.loop(minutes=5)
    async def write_digest(self) -> None:
        """Read a file in a thread, so that the event loop is not blocked."""
        await asyncio.to_thread(read_archive)


def read_archive() -> None:
    """Wait as for a slow disk."""
    time.sleep(ARCHIVE_S)


def run_demo(options: DemoOptions, echo: Callable[[str], object]) -> None:
    """Run the demo until Ctrl+C or SIGTERM; ``echo`` prints a line on the terminal.

    Raises:
        CannotRunError: the extra is missing, a port is in use, the database already exists, or a setting is wrong.
    """
    if any(importlib.util.find_spec(name) is None for name in EXTRA):
        raise CannotRunError('The demo needs the simulated Discord: pip install "cogmeter[demo]"')
    database = options.database.resolve() if options.database else None
    if database is not None and database.exists():
        raise CannotRunError(
            f"{database} already exists. The demo writes simulated operations: use a new file for --database."
        )
    _free_port(options.port, "--port")
    dashboard_port = _free_port(options.dashboard_port, "--dashboard-port")
    _log_to_terminal()
    with tempfile.TemporaryDirectory(prefix="cogmeter-demo-", ignore_cleanup_errors=True) as folder:
        url = f"sqlite:///{database or Path(folder) / 'performance.db'}"
        with demo_environment(Path(folder), url, dashboard_port):
            asyncio.run(run_until_stopped(_run(options, url, echo)))


def _free_port(port: int, option: str) -> int:
    """Return the port, or a free one for 0; fail before the history is generated if the port is in use."""
    try:
        with socket.create_server(("127.0.0.1", port)) as server:
            free_port: int = server.getsockname()[1]
            return free_port
    except OSError as error:
        raise CannotRunError(
            f"Port {port} cannot be used ({os.strerror(error.errno or 0)}). Use another with {option}."
        ) from error


async def _run(options: DemoOptions, url: str, echo: Callable[[str], object]) -> None:
    async with running_demo(options, url, echo) as (_, address, dashboard):
        echo(f"\nSimulated Discord: {address}\nDashboard:         {dashboard}\n\nPress Ctrl+C to stop.")
        await asyncio.Event().wait()


@asynccontextmanager
async def running_demo(
    options: DemoOptions, url: str, echo: Callable[[str], object]
) -> AsyncIterator[tuple[World, str, str]]:
    """Run the demo, and provide its simulated Discord, the address of its page, and that of the dashboard.

    Use it inside ``demo_environment``.
    """
    from cogmeter_bot.demo.world import World

    if options.history_days:
        echo(f"Generating {options.history_days:g} days of history ...")
        await _store_past(options, url)
    bot = DemoBot()
    # Before the monitor watches the event loop: a start that blocks it is no fault of the bot.
    importlib.import_module("cogmeter.web.server.app")
    async with World(bot) as world, world.page(options.port) as address:
        post_alerts_to(world.channel.id)
        simulate_heartbeats(bot)
        await bot.add_cog(Chores())  # before the monitor: it is no change of a running bot
        await bot.load_all_extensions()
        dashboard = _dashboard_url(bot)
        await _greet(bot, world.channel.id, dashboard)
        monitor = bot.get_cog("cogmeter").monitor  # type: ignore[union-attr]  # the cog of the extension just loaded
        traffic = Traffic(
            options.seed,
            store_errors=monitor.store.errors.add,
            count_user=partial(_count_user, monitor),
            add_trace=monitor.flusher.traces.append,
        )
        traffic.start()
        try:
            yield world, address, dashboard
        finally:
            await traffic.stop()


async def _store_past(options: DemoOptions, url: str) -> None:
    until_us = time.time_ns() // 1000
    history = make_history(until_us, options.history_days, options.seed)
    store = await open_store(url)
    try:
        await store_history(store, history, until_us=until_us)
        alerts = await past_alerts(store, load_settings(), until_us=until_us)
        await store_alerts(store, alerts, until_us=until_us, days=options.history_days)
        await store_commands(store, until_us=until_us, days=options.history_days)
        await store.errors.add(past_errors(history, until_us, options.history_days, options.seed))
        await store_gauges(store, history, until_us=until_us, days=options.history_days, seed=options.seed)
    finally:
        await store.close()


def _count_user(monitor: Monitor, service: str, operation: str, user: int) -> None:
    """Count a user of the simulated traffic, in one of the servers of the present."""
    recorder = monitor.recorder
    recorder.usage.seen(recorder.series(service, operation), 1_000 + user, 100 + user % LIVE_GUILDS, GUILD, "en-US")


def _dashboard_url(bot: ExampleBot) -> str:
    """Return the address of the dashboard.

    Raises:
        CannotRunError: it is not served.
    """
    monitor = bot.get_cog("cogmeter")
    addresses: list[str] = monitor.servers.addresses  # type: ignore[union-attr]  # the cog of the extension just loaded
    if not addresses:
        raise CannotRunError("Another program took the dashboard's port. Start the demo again.")
    return addresses[0]


async def _greet(bot: ExampleBot, channel_id: int, dashboard: str) -> None:
    """Set the bot's name and post the greeting."""
    if bot.user is not None:
        await bot.user.edit(username="cogmeter")
    channel = bot.get_partial_messageable(channel_id)
    await channel.send(
        embed=discord.Embed(
            title="This is a simulation", description=GREETING.format(dashboard=dashboard), colour=REPLY_COLOUR
        )
    )


def _log_to_terminal() -> None:
    """Log warnings, and of discord.py, which has no real Discord here, only errors."""
    discord.utils.setup_logging(level=logging.WARNING, root=True)
    logging.getLogger("discord").setLevel(logging.ERROR)
