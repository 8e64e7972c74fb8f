"""`commands.Bot` with prefix commands: converters, a context of its own, secret channels, a longer start."""

from __future__ import annotations

import logging
import random
import typing
from typing import Any

import aiohttp
import discord
from discord.ext import commands
from loopback import Loopback

from example_bots.example import COMMANDS, SENT, Example


def intents() -> discord.Intents:
    chosen = discord.Intents.default()
    chosen.members = True
    chosen.message_content = True
    return chosen


def basic_bot(_server: Loopback) -> commands.Bot:  # noqa: C901 - one function for each command
    bot = commands.Bot(command_prefix="?", description="Shows what commands can do.", intents=intents())

    @bot.event
    async def on_ready() -> None:
        assert bot.user is not None

    @bot.command()
    async def add(ctx: commands.Context, left: int, right: int) -> None:
        """Adds two numbers."""
        await ctx.send(str(left + right))

    @bot.command()
    async def roll(ctx: commands.Context, dice: str) -> None:
        """Rolls dice, such as 2d6."""
        try:
            rolls, limit = map(int, dice.split("d"))
        except ValueError:
            await ctx.send("The format is NdN!")
            return
        await ctx.send(", ".join(str(random.randint(1, limit)) for _ in range(rolls)))

    @bot.command(description="For when you cannot decide")
    async def choose(ctx: commands.Context, *choices: str) -> None:
        """Chooses one."""
        await ctx.send(random.choice(choices))

    @bot.command()
    async def repeat(ctx: commands.Context, times: int, content: str = "repeating...") -> None:
        """Repeats a message."""
        for _ in range(times):
            await ctx.send(content)

    @bot.command()
    async def joined(ctx: commands.Context, member: discord.Member) -> None:
        """Says when a member joined."""
        await ctx.send(f"{member.name} joined {discord.utils.format_dt(member.joined_at)}")

    @bot.group()
    async def cool(ctx: commands.Context) -> None:
        """Says whether somebody is cool."""
        if ctx.invoked_subcommand is None:
            await ctx.send(f"No, {ctx.subcommand_passed} is not cool")

    @cool.command(name="bot")
    async def _bot(ctx: commands.Context) -> None:
        """Is the bot cool?"""
        await ctx.send("Yes, the bot is cool.")

    return bot


async def use_basic_bot(server: Loopback, bot: Any) -> None:
    said = ("?add 2 3", "?roll 2d6", "?roll many", "?choose tea coffee", "?repeat 2 again", "?cool ada", "?cool bot")
    for text in (*said, f"?joined {server.world.member['id']}", "?help", "?help cool", "?add two 3", "?nothing"):
        await server.say(text)
        await server.settled()


class ChannelOrMember(commands.Converter):
    async def convert(self, ctx: commands.Context, argument: str) -> Any:
        try:
            return await commands.MemberConverter().convert(ctx, argument)
        except commands.MemberNotFound:
            pass
        try:
            return await commands.TextChannelConverter().convert(ctx, argument)
        except commands.ChannelNotFound:
            raise commands.BadArgument(f"No member and no channel is called {argument}") from None


def converters(_server: Loopback) -> commands.Bot:
    bot = commands.Bot("!", intents=intents())

    @bot.command()
    async def userinfo(ctx: commands.Context, user: discord.User) -> None:
        await ctx.send(f"Found {user} with the id {user.id}")

    @userinfo.error
    async def userinfo_error(ctx: commands.Context, error: commands.CommandError) -> None:
        if isinstance(error, commands.BadArgument):
            await ctx.send("No such user.")

    @bot.command()
    async def notify(ctx: commands.Context, target: ChannelOrMember) -> None:
        await target.send(f"Hello, {getattr(target, 'name', '')}")

    @bot.command()
    async def ignore(ctx: commands.Context, target: typing.Union[discord.Member, discord.TextChannel]) -> None:  # noqa: UP007 - as the example has it
        kind = "member" if isinstance(target, discord.Member) else "channel"
        await ctx.send(f"ignoring the {kind} {target.name}")

    @bot.command()
    async def multiply(ctx: commands.Context, number: int, maybe: bool) -> None:
        await ctx.send(str(number * 5) if maybe else str(number))

    return bot


async def use_converters(server: Loopback, bot: Any) -> None:
    member, channel = server.world.member["id"], server.world.channel["id"]
    for text in (
        f"!userinfo {member}",
        "!userinfo nobody",
        f"!notify {channel}",
        f"!notify {member}",
        "!notify elsewhere",
        f"!ignore {member}",
        "!ignore general",
        "!multiply 4 yes",
        "!multiply 4 perhaps",
    ):
        await server.say(text)
        await server.settled()


class MyContext(commands.Context):
    async def tick(self, value: bool) -> None:
        await self.message.add_reaction("✅" if value else "❌")


def custom_context(_server: Loopback) -> commands.Bot:
    class MyBot(commands.Bot):
        async def get_context(self, message: Any, *, cls: Any = MyContext) -> Any:
            return await super().get_context(message, cls=cls)

    bot = MyBot(command_prefix="!", intents=intents())

    @bot.command()
    async def guess(ctx: MyContext, number: int) -> None:
        """Guesses a number from 1 to 6."""
        await ctx.tick(number == random.randint(1, 6))

    return bot


async def use_custom_context(server: Loopback, bot: Any) -> None:
    for text in ("!guess 3", "!guess 4", "!guess x"):
        await server.say(text)
        await server.settled()


def secret(_server: Loopback) -> commands.Bot:
    bot = commands.Bot(command_prefix=commands.when_mentioned_or("!"), intents=intents())

    @bot.group(hidden=True)
    async def secret(ctx: commands.Context) -> None:
        """What is this?"""
        if ctx.invoked_subcommand is None:
            await ctx.send("Shh!", delete_after=0.01)

    def overwrites(ctx: commands.Context, *members: discord.Member) -> dict[Any, discord.PermissionOverwrite]:
        hidden = {member: discord.PermissionOverwrite(view_channel=True) for member in members}
        hidden[ctx.guild.default_role] = discord.PermissionOverwrite(view_channel=False)
        hidden[ctx.guild.me] = discord.PermissionOverwrite(view_channel=True)
        return hidden

    @secret.command()
    @commands.guild_only()
    async def text(ctx: commands.Context, name: str, *members: discord.Member) -> None:
        """Makes a channel for a few."""
        channel = await ctx.guild.create_text_channel(
            name, overwrites=overwrites(ctx, *members), topic="secret", reason="very secret"
        )
        await ctx.send(f"made {channel.name}")

    return bot


async def use_secret(server: Loopback, bot: Any) -> None:
    await server.say("!secret")
    await server.requested("DELETE /channels/{channel_id}/messages/{message_id}")
    await server.say(f"<@{server.world.bot['id']}> secret text den {server.world.member['id']}")
    await server.requested("POST /guilds/{guild_id}/channels")
    await server.requested(SENT, count=2)


def advanced_startup(server: Loopback) -> commands.Bot:
    class CustomBot(commands.Bot):
        def __init__(self, *args: Any, testing_guild_id: int, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.testing_guild_id = testing_guild_id
            self.log = logging.getLogger("example")

        async def setup_hook(self) -> None:
            self.session = aiohttp.ClientSession()
            await self.add_cog(Greetings(self))
            guild = discord.Object(self.testing_guild_id)
            self.tree.copy_global_to(guild=guild)
            await self.tree.sync(guild=guild)

        async def close(self) -> None:
            await self.session.close()
            await super().close()

    class Greetings(commands.Cog):
        def __init__(self, bot: CustomBot) -> None:
            self.bot = bot

        @commands.hybrid_command()
        async def status(self, ctx: commands.Context) -> None:
            """Looks at a page."""
            async with self.bot.session.get(f"{server.url}/cdn/attachments/1/2/none") as page:
                await ctx.send(f"the page says {page.status}")

    return CustomBot(commands.when_mentioned_or("!"), intents=intents(), testing_guild_id=int(server.world.guild["id"]))


async def use_advanced_startup(server: Loopback, bot: Any) -> None:
    await server.say("!status")
    await server.requested(SENT)
    await (await server.interact(server.owner.slash("status"))).answered()


def used(*names: str) -> frozenset[tuple[str, str]]:
    return frozenset((COMMANDS, name) for name in names)


EXAMPLES = {
    "basic_bot": Example(
        basic_bot,
        use_basic_bot,
        used("add", "roll", "choose", "repeat", "joined", "cool", "cool bot", "help", "(unknown)"),
    ),
    "converters": Example(converters, use_converters, used("userinfo", "notify", "ignore", "multiply")),
    "custom_context": Example(custom_context, use_custom_context, used("guess")),
    "secret": Example(secret, use_secret, used("secret", "secret text")),
    "advanced_startup": Example(advanced_startup, use_advanced_startup, used("status")),
}
