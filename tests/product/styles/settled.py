"""Waits until a bot has received, handled and recorded what was sent to it."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import discord
from loopback import Loopback

SERVICES = ("discord.commands", "discord.autocomplete", "discord.components", "discord.acknowledgement")
WAIT_S = 30.0
AFTER_S = 0.3  # for records that must not come


async def quiet(server: Loopback, bot: discord.Client) -> None:
    """Wait until every event of the gateway has arrived, and every listener has ended."""
    async with asyncio.timeout(WAIT_S):
        while behind(server, bot) or any(task.get_name().startswith("discord.py: ") for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)


def behind(server: Loopback, bot: discord.Client) -> bool:
    if isinstance(bot, discord.AutoShardedClient):
        sockets = [shard._parent.ws for shard in bot.shards.values()]
    else:
        sockets = [bot.ws]
    received = sorted(socket.sequence or 0 for socket in sockets)
    return received != sorted(session.sequence for session in server.gateway._sessions.values())


async def recorded(monitor: Any, count: int) -> None:
    """Wait until this many interactions, prefix commands and first responses are stored, and a little longer."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + WAIT_S
    while await stored(monitor) < count and loop.time() < until_s:  # the test shows what is missing
        await asyncio.sleep(0.05)
    await asyncio.sleep(AFTER_S)


async def stored(monitor: Any) -> int:
    await monitor.flusher.flush()
    marks = ",".join("?" * len(SERVICES))
    connection = sqlite3.connect("data/performance.db")
    (found,) = connection.execute(f"SELECT count(*) FROM operations WHERE service IN ({marks})", SERVICES).fetchone()
    connection.close()
    return found
