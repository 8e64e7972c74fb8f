"""A bot whose owner loads, reloads and unloads plugins by commands; it runs on uvloop where that is installed."""

from __future__ import annotations

import discord
from discord.ext import commands
from loopback import Loopback
from settled import quiet

SHARDS = 1


class Plugins(commands.Cog):
    @commands.group()
    @commands.is_owner()
    async def plugins(self, ctx: commands.Context) -> None:
        pass

    @plugins.command()
    async def load(self, ctx: commands.Context, name: str) -> None:
        await ctx.bot.load_extension(f"plugins.{name}")
        await ctx.send("loaded")

    @plugins.command()
    async def reload(self, ctx: commands.Context, name: str) -> None:
        await ctx.bot.reload_extension(f"plugins.{name}")
        await ctx.send("reloaded")

    @plugins.command()
    async def unload(self, ctx: commands.Context, name: str) -> None:
        await ctx.bot.unload_extension(f"plugins.{name}")
        await ctx.send("unloaded")

    @plugins.command()
    async def sync(self, ctx: commands.Context) -> None:
        await ctx.bot.tree.sync()
        await ctx.send("synced")


class PluginBot(commands.Bot):
    def __init__(self) -> None:
        super().__init__(command_prefix="!", intents=discord.Intents.all(), help_command=None)
        self.counted: dict[str, int] = {}

    def count(self, what: str) -> None:
        self.counted[what] = self.counted.get(what, 0) + 1

    async def setup_hook(self) -> None:
        await self.add_cog(Plugins())
        await self.load_extension("cogmeter.cog")

    async def on_command_error(self, ctx: commands.Context, error: commands.CommandError, /) -> None:
        self.count("errors")
        await ctx.send(f"failed: {type(error).__name__}")

    async def on_error(self, event: str, *arguments: object) -> None:
        self.count(f"on_error {event}")


def make_bot() -> commands.Bot:
    return PluginBot()


async def use(server: Loopback, bot: commands.Bot) -> None:
    """Load both plugins and use them, reload them and the monitor and use them, unload them and try to use them."""
    bot.owner_id = int(server.world.owner["id"])
    owner, answered = server.owner, 0

    async def say(text: str, *, answers: int = 1) -> None:
        nonlocal answered
        await server.say(text)
        answered += answers
        await server.requested("POST /channels/{channel_id}/messages", count=answered)

    async def use_plugins() -> None:
        shown = await (await server.interact(owner.slash("weather"))).answered()
        await (await server.interact(owner.button(shown, "weather:refresh"))).acknowledged()
        await (await server.interact(owner.slash("temperature"))).answered()
        await (await server.interact(owner.slash("round"))).answered()
        for text in ("!temperature", "!play"):
            await say(text)
        await say("cheat", answers=0)

    for text in ("load weather", "load games", "load faulty", "sync"):
        await say(f"!plugins {text}")
    await use_plugins()
    for text in ("reload weather", "reload games"):
        await say(f"!plugins {text}")
    await use_plugins()
    await quiet(server, bot)
    await bot.reload_extension("cogmeter.cog")
    await use_plugins()
    gone = await (await server.interact(owner.slash("weather"))).answered()
    for text in ("unload weather", "unload games"):
        await say(f"!plugins {text}")
    await say("!play")
    await server.interact(owner.button(gone, "weather:refresh"))
    await server.interact(owner.slash("round"))
    await say("!plugins load weather")
    await (await server.interact(owner.button(gone, "weather:refresh"))).acknowledged()
    await say("cheat", answers=0)
