"""A bot of a sharded fleet that talks to a loopback Discord: ``fleet_bot.py ADDRESS SHARD SHARDS``."""

from __future__ import annotations

import sys
from pathlib import Path

import discord
import yarl
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

sys.path.append(str(Path(__file__).parents[1]))

from loopback.rest import API
from loopback.server import TOKEN


class Bot(commands.Bot):
    """Answers ``!ask``, and fails at ``!fail``."""

    async def setup_hook(self) -> None:
        await self.load_extension("cogmeter.cog")

    async def on_ready(self) -> None:
        print("ready", flush=True)


def main(address: str, shard: int, shards: int) -> None:
    Route.BASE = address + API
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(address.replace("http", "ws", 1) + "/")
    intents = discord.Intents.default()
    intents.message_content = True
    bot = Bot("!", intents=intents, shard_id=shard, shard_count=shards)

    @bot.command()
    async def ask(context: commands.Context[Bot]) -> None:
        await context.send("42")

    @bot.command()
    async def fail(_context: commands.Context[Bot]) -> None:
        raise RuntimeError("no answer")

    bot.run(TOKEN)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
