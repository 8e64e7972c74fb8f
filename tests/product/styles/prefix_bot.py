"""An old bot of prefix commands: a context of its own, one handler for all errors, cooldowns, checks, hybrids."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands
from loopback import Loopback

SHARDS = 1


class Context(commands.Context["Veteran"]):
    """Answers look the same everywhere, and none pings."""

    async def send(self, content: str | None = None, **options: Any) -> discord.Message:
        options.setdefault("allowed_mentions", discord.AllowedMentions.none())
        return await super().send(None if content is None else f"» {content}", **options)

    async def reply(self, content: str | None = None, **options: Any) -> discord.Message:
        return await self.send(content, **options)

    async def tick(self, *, well: bool) -> None:
        await self.send("done" if well else "failed")


class Veteran(commands.Bot):
    def __init__(self) -> None:
        super().__init__(
            command_prefix=self.prefixes, intents=discord.Intents.all(), case_insensitive=True, strip_after_prefix=True
        )
        self.counted: dict[str, int] = {}
        self.blocked: set[int] = set()
        self.add_check(self.not_blocked)
        self.before_invoke(self.note_use)

    def prefixes(self, bot: commands.Bot, message: discord.Message) -> list[str]:
        return ["!", "?"]

    async def setup_hook(self) -> None:
        for cog in (Tools(), Tags(), Admin()):
            await self.add_cog(cog)
        await self.load_extension("cogmeter.cog")
        await self.tree.sync()

    async def get_context(self, origin: Any, /, *, cls: Any = Context) -> Any:
        return await super().get_context(origin, cls=cls)

    async def process_commands(self, message: discord.Message, /) -> None:
        if message.author.bot:
            return
        context = await self.get_context(message)
        if context.command is None and context.invoked_with:
            self.count("unknown")
        await self.invoke(context)

    async def on_message(self, message: discord.Message, /) -> None:
        self.count("messages")
        if message.author.bot:
            return
        if message.content == "hello bot":
            await message.channel.send("hello")
        await self.process_commands(message)

    async def not_blocked(self, context: Context) -> bool:
        return context.author.id not in self.blocked

    async def note_use(self, context: Context) -> None:
        self.count("used")

    def count(self, what: str) -> None:
        self.counted[what] = self.counted.get(what, 0) + 1

    async def on_command_completion(self, context: Context) -> None:
        self.count("completed")

    async def on_command_error(self, context: Context, error: commands.CommandError, /) -> None:
        self.count("errors")
        if isinstance(error, commands.CommandNotFound):
            return
        if isinstance(error, commands.CommandOnCooldown):
            await context.reply("too soon")
        elif isinstance(error, commands.UserInputError):
            await context.send_help(context.command)
        elif isinstance(error, commands.CheckFailure | commands.DisabledCommand):
            await context.reply("you may not")
        else:
            await context.reply("something went wrong")
            raise error  # for the log

    async def on_error(self, event: str, *args: object) -> None:
        self.count(f"on_error {event}")


class Colour(commands.Converter[int]):
    async def convert(self, ctx: Context, argument: str) -> int:
        try:
            return {"red": 0xFF0000, "blue": 0x0000FF}[argument]
        except KeyError:
            raise commands.BadArgument(f"{argument} is no colour") from None


class Tools(commands.Cog):
    @commands.command(aliases=["p"])
    async def ping(self, ctx: Context) -> None:
        await ctx.reply("pong")

    @commands.command()
    async def add(self, ctx: Context, *numbers: int) -> None:
        await ctx.send(str(sum(numbers)))

    @commands.command()
    async def divide(self, ctx: Context, a: int, b: int) -> None:
        await ctx.send(str(a / b))

    @divide.error
    async def on_divide(self, ctx: Context, error: commands.CommandError) -> None:
        if isinstance(error, commands.CommandInvokeError):
            await ctx.send("not by nothing")

    @commands.command()
    @commands.cooldown(1, 600, commands.BucketType.user)
    async def work(self, ctx: Context) -> None:
        await ctx.send("worked")

    @commands.command()
    async def paint(self, ctx: Context, colour: Colour) -> None:
        await ctx.send(f"{colour:06x}")

    @commands.command()
    async def twice(self, ctx: Context) -> None:
        """Uses another command as a function, and through its checks."""
        await ctx.invoke(ctx.bot.get_command("ping"))

    @commands.command()
    async def ask(self, ctx: Context) -> None:
        await ctx.send("sure?")
        answer = await ctx.bot.wait_for("message", check=lambda message: message.author == ctx.author, timeout=10)
        await ctx.tick(well=answer.content == "yes")

    @commands.hybrid_command()
    @commands.cooldown(2, 600)
    async def greet(self, ctx: Context, name: str = "you") -> None:
        """Greets."""
        async with ctx.typing():
            await asyncio.sleep(0)
        await ctx.send(f"hello {name}")

    @commands.hybrid_command()
    async def crash(self, ctx: Context) -> None:
        """Fails."""
        raise OSError("no disk")

    @commands.command(enabled=False)
    async def old(self, ctx: Context) -> None:
        await ctx.send("never")


class Tags(commands.Cog):
    def __init__(self) -> None:
        self.tags: dict[str, str] = {}

    async def cog_command_error(self, ctx: Context, error: Exception) -> None:
        ctx.bot.count("tags cog")

    @commands.hybrid_group(fallback="get")
    async def tag(self, ctx: Context, name: str) -> None:
        """Shows a tag."""
        await ctx.send(self.tags[name])

    @tag.command()
    async def create(self, ctx: Context, name: str, *, content: str) -> None:
        """Makes a tag."""
        self.tags[name] = content
        await ctx.tick(well=True)

    @tag.autocomplete("name")
    async def names(self, interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=name, value=name) for name in self.tags]


class Admin(commands.Cog):
    async def cog_check(self, ctx: Context) -> bool:
        if ctx.author.id != ctx.guild.owner_id:
            raise commands.NotOwner("not yours")
        return True

    @commands.group(invoke_without_command=True)
    async def block(self, ctx: Context, member: discord.Member) -> None:
        ctx.bot.blocked.add(member.id)
        await ctx.tick(well=True)

    @block.command(name="none")
    async def none(self, ctx: Context) -> None:
        ctx.bot.blocked.clear()
        await ctx.tick(well=True)

    @commands.command()
    @commands.max_concurrency(1)
    async def rebuild(self, ctx: Context) -> None:
        await ctx.send("begun")
        await ctx.bot.wait_for("message", check=lambda message: message.content == "go on", timeout=10)
        await ctx.send("ended")


def make_bot() -> commands.Bot:
    return Veteran()


async def use(server: Loopback, bot: commands.Bot) -> None:
    """Each thing a member says, and the slash commands of the hybrids."""
    member = server.world.member
    bot_messages = "POST /channels/{channel_id}/messages"
    answered = 0

    async def say(text: str, *, answers: int = 1, author: dict | None = None) -> None:
        nonlocal answered
        await server.say(text, author=author)
        answered += answers
        await server.requested(bot_messages, count=answered)

    for text in (
        "!ping",
        "? PING",
        "!p",
        "!add 1 2 3",
        "!add one",
        "!divide 4 2",
        "!divide 4 0",
        "!work",
        "!work",
        "!paint red",
        "!paint mauve",
        "!twice",
        "!ask",
        "yes",
        "!greet",
        "!crash",
        "!old",
        "!tag create a some text",
        "!tag a",
        "!help ping",
        "hello bot",
    ):
        await say(text)
    await say("!tag b")
    await say("!nothing", answers=0)
    await say("just talk", answers=0)
    await say("!block none", author=member)
    await say(f"!block {member['id']}")
    await say("!ping", author=member)
    await say("!block none")
    await say("!rebuild")
    await say("!rebuild")
    await say("go on")
    owner = server.owner
    await (await server.interact(owner.slash("greet", {"name": "all"}))).answered()
    await (await server.interact(owner.slash("greet"))).answered()
    await (await server.interact(owner.slash("crash"))).answered()
    await (await server.interact(owner.slash("tag get", {"name": "a"}))).answered()
    await (await server.interact(owner.autocomplete("tag get", "name", "a"))).acknowledged()
