"""Runs the demo: history, bot, simulated Discord, page, live traffic; and takes all of it away again."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import discord

from cogmeter_bot.bot import ExampleBot
from cogmeter_bot.demo.background_loops import DemoLoops
from cogmeter_bot.demo.environment import alerts_to, demo_surroundings
from cogmeter_bot.demo.fake_gateway import beat
from cogmeter_bot.demo.gauges import bring_gauges
from cogmeter_bot.demo.history import backfill, make_history
from cogmeter_bot.demo.past_alerts import bring_alerts, past_alerts
from cogmeter_bot.demo.past_traces import bring_traces
from cogmeter_bot.demo.traffic import Traffic
from cogmeter_bot.errors import CannotRunError
from cogmeter_bot.replies import ANSWER
from cogmeter_bot.stopping import run_until_stopped
from cogmeter_storage import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from cogmeter_bot.demo.options import DemoOptions

EXTRA: Final = ("simcord", "markdown_it", "linkify_it", "regex")
GREETING: Final = """Nothing here is real: neither this Discord, nor the traffic, nor the incidents. \
The bot, the monitor, the database, the charts and the alerts are.

Type `/`, choose a command and press Send:
- `/perf summary`: how all services are doing
- `/perf stats`: one service, with its slowest operations and latest errors
- `/perf alerts`, `/perf thresholds view`, `/perf report`: what was told, from which limits on, and how well that served
- `/mood`, `/remember`, `/ask`, `/relate`, `/connect`, `/look`: work that is recorded, as in any bot

Within a minute something breaks, and an alert comes into this channel: press its buttons. The same figures are on the \
dashboard: {dashboard}"""


class DemoBot(ExampleBot):
    """The same bot; it loads its parts when the simulated guild is there, not before it goes online."""

    async def setup_hook(self) -> None:
        """Wait: the settings need the guild's channel, and the simulated clock has to be put right first."""


def show(plan: DemoOptions, say: Callable[[str], object]) -> None:
    """Run the demo until Ctrl+C or SIGTERM; ``say`` gets the lines for the terminal.

    Raises:
        CannotRunError: the extra is missing, the port is taken, the database exists already, or a setting is wrong.
    """
    if any(importlib.util.find_spec(name) is None for name in EXTRA):
        raise CannotRunError('The demo needs the simulated Discord: pip install "cogmeter[demo]"')
    database = plan.database.resolve() if plan.database else None
    if database is not None and database.exists():
        raise CannotRunError(
            f"{database} exists already; the demo writes made-up operations: give --database a new file"
        )
    _free_port(plan.port, "--port")
    dashboard_port = _free_port(plan.dashboard_port, "--dashboard-port")
    _log_to_terminal()
    with tempfile.TemporaryDirectory(prefix="cogmeter-demo-", ignore_cleanup_errors=True) as folder:
        url = f"sqlite:///{database or Path(folder) / 'performance.db'}"
        with demo_surroundings(Path(folder), url, dashboard_port):
            asyncio.run(run_until_stopped(_show(plan, url, say)))


def _free_port(port: int, option: str) -> int:
    """The port, or a free one for 0; says at once what would only be known when it is served, seconds later."""
    try:
        with socket.create_server(("127.0.0.1", port)) as server:
            free: int = server.getsockname()[1]
            return free
    except OSError as error:
        raise CannotRunError(
            f"Port {port} cannot be used ({os.strerror(error.errno or 0)}); choose another with {option}"
        ) from error


async def _show(plan: DemoOptions, url: str, say: Callable[[str], object]) -> None:
    from cogmeter_bot.demo.world import World

    if plan.history_days:
        say(f"Making up {plan.history_days:g} days of history ...")
        await _bring_history(plan, url)
    bot, traffic = DemoBot(), Traffic(plan.seed)
    async with World(bot) as world:
        alerts_to(world.channel.id)
        beat(bot)
        await bot.load_parts()
        await bot.add_cog(DemoLoops())
        dashboard = _dashboard(bot)
        await _greet(bot, world.channel.id, dashboard)
        traffic.start()
        try:
            async with world.page(plan.port) as address:
                say(f"\nThe demo is ready: {address}\nIts dashboard:     {dashboard}")
                say("\nEverything in it is simulated. Ctrl+C ends it.")
                await asyncio.Event().wait()
        finally:
            await traffic.stop()


async def _bring_history(plan: DemoOptions, url: str) -> None:
    until_us = time.time_ns() // 1000
    history = make_history(until_us, plan.history_days, plan.seed)
    store = await open_store(url)
    try:
        await backfill(store, history, until_us=until_us)
        await bring_alerts(store, past_alerts(history, until_us), until_us=until_us, days=plan.history_days)
        await bring_gauges(store, until_us=until_us, days=plan.history_days, seed=plan.seed)
        await bring_traces(store, until_us=until_us, days=plan.history_days, seed=plan.seed)
    finally:
        await store.close()


def _dashboard(bot: ExampleBot) -> str:
    """The dashboard's address.

    Raises:
        CannotRunError: it is not served.
    """
    monitor = bot.get_cog("cogmeter")
    addresses: list[str] = monitor.servers.addresses  # type: ignore[union-attr]  # the cog of the extension just loaded
    if not addresses:
        raise CannotRunError("The dashboard's port was taken meanwhile; start the demo again")
    return addresses[0]


async def _greet(bot: ExampleBot, channel_id: int, dashboard: str) -> None:
    """Give the bot its name, and the first word in the channel."""
    if bot.user is not None:
        await bot.user.edit(username="cogmeter")
    channel = bot.get_partial_messageable(channel_id)
    await channel.send(
        embed=discord.Embed(
            title="This is a simulation", description=GREETING.format(dashboard=dashboard), colour=ANSWER
        )
    )


def _log_to_terminal() -> None:
    """The monitor's lines, and the warnings of all parts but discord.py: it has no real Discord to warn about."""
    discord.utils.setup_logging(level=logging.WARNING, root=True)
    logging.getLogger("discord").setLevel(logging.ERROR)
    # The simulator stands in for one of the parts that are watched; the doctor says so to who asks.
    logging.getLogger("cogmeter.watch").setLevel(logging.ERROR)
