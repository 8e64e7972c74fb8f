"""A sharded bot: cogmeter records the latency and the reconnects of every shard of one process."""

import os

import discord
from discord.ext import commands


class ShardedBot(commands.AutoShardedBot):
    async def setup_hook(self) -> None:
        await self.load_extension("cogmeter.cog")
        await self.tree.sync()


def make_bot(shard_count: int = 2) -> ShardedBot:
    # One process monitors one bot. Give each process of a larger bot its own PERFORMANCE_DATABASE_URL.
    return ShardedBot("!", intents=discord.Intents.default(), shard_count=shard_count)


if __name__ == "__main__":
    make_bot(int(os.environ.get("SHARDS", "2"))).run(os.environ["DISCORD_TOKEN"])
