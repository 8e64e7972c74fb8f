"""Four bots as people write them, each with the one line that adds the monitor, and nothing else of it.

A bot in the pattern of public templates (cogs of hybrid commands, embeds, one error handler), a chat bot that streams
the answers of a language model, a plain client with a command tree, and a music bot on several shards.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

import cogmeter

logger = logging.getLogger("template_bot")


class General(commands.Cog, name="general"):
    def __init__(self, bot: TemplateBot) -> None:
        self.bot = bot

    @commands.hybrid_command(name="ping", description="Check if the bot is alive.")
    async def ping(self, context: commands.Context[TemplateBot]) -> None:
        embed = discord.Embed(title="🏓 Pong!", description=f"The bot latency is {round(self.bot.latency * 1000)}ms.")
        await context.send(embed=embed)

    @commands.hybrid_command(name="serverinfo", description="Get some useful information about the server.")
    @commands.guild_only()
    async def serverinfo(self, context: commands.Context[TemplateBot]) -> None:
        assert context.guild is not None
        embed = discord.Embed(title="**Server Name:**", description=context.guild.name)
        embed.add_field(name="Member Count", value=context.guild.member_count)
        await context.send(embed=embed)

    @commands.hybrid_command(name="8ball", description="Ask any question to the bot.")
    @app_commands.describe(question="The question you want to ask.")
    async def eight_ball(self, context: commands.Context[TemplateBot], *, question: str) -> None:
        embed = discord.Embed(title="**My Answer:**", description=random.choice(("Yes.", "No.", "Ask again later.")))
        embed.set_footer(text=f"The question was: {question}")
        await context.send(embed=embed)


class Choice(discord.ui.View):
    def __init__(self) -> None:
        super().__init__()
        self.value: str | None = None

    @discord.ui.button(label="Heads", style=discord.ButtonStyle.blurple)
    async def heads(self, interaction: discord.Interaction, _: discord.ui.Button[Any]) -> None:
        self.value = "heads"
        await interaction.response.send_message("You chose heads.", ephemeral=True)
        self.stop()


class Fun(commands.Cog, name="fun"):
    def __init__(self, bot: TemplateBot) -> None:
        self.bot = bot

    @commands.hybrid_command(name="coinflip", description="Make a coin flip, but give your bet before.")
    async def coinflip(self, context: commands.Context[TemplateBot]) -> None:
        await context.send("What is your bet?", view=Choice())


class Moderation(commands.Cog, name="moderation"):
    def __init__(self, bot: TemplateBot) -> None:
        self.bot = bot

    @commands.hybrid_group(name="warning", description="Manage warnings of a user on a server.")
    @commands.has_permissions(manage_messages=True)
    async def warning(self, context: commands.Context[TemplateBot]) -> None:
        if context.invoked_subcommand is None:
            await context.send("Please specify a subcommand: `add`, `list`.")

    @warning.command(name="add", description="Adds a warning to a user in the server.")
    async def warning_add(self, context: commands.Context[TemplateBot], user: discord.User, *, reason: str) -> None:
        await context.send(f"{user} was warned: {reason}")

    @warning.command(name="list", description="Shows the warnings of a user in the server.")
    async def warning_list(self, context: commands.Context[TemplateBot], user: discord.User) -> None:
        warnings: dict[str, list[str]] = {}
        await context.send("\n".join(warnings[str(user.id)]))  # nobody was warned: KeyError


class TemplateBot(commands.Bot):
    def __init__(self) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned_or("!"), intents=discord.Intents.all(), help_command=None
        )

    async def setup_hook(self) -> None:
        for cog in (General(self), Fun(self), Moderation(self)):
            await self.add_cog(cog)
            logger.info("Loaded extension '%s'", cog.qualified_name)
        await self.load_extension("cogmeter.cog")

    async def on_message(self, message: discord.Message, /) -> None:
        if message.author == self.user or message.author.bot:
            return
        await self.process_commands(message)

    async def on_command_completion(self, context: commands.Context[TemplateBot]) -> None:
        assert context.command is not None
        logger.info("Executed %s by %s", context.command.qualified_name, context.author)

    async def on_command_error(self, context: commands.Context[Any], error: commands.CommandError, /) -> None:
        if isinstance(error, commands.CommandOnCooldown):
            await context.send("**Please slow down**")
        elif isinstance(error, commands.MissingPermissions):
            await context.send("You are missing the permission(s) to execute this command!")
        else:
            await context.send("That did not work.")


class ChatBot(commands.Bot):
    """Answers each message that mentions it: it types, sends the first words, and edits them as more come."""

    def __init__(self) -> None:
        super().__init__(command_prefix="!", intents=discord.Intents.all(), help_command=None)

    async def setup_hook(self) -> None:
        await self.load_extension("cogmeter.cog")
        await self.tree.sync()

    async def on_message(self, message: discord.Message, /) -> None:
        if message.author.bot:
            return
        if not message.content.lower().startswith("bot,"):
            await self.process_commands(message)
            return
        text, answer = "", None
        async with message.channel.typing():
            async for words in think(message.content):
                text += words
                if answer is None:
                    answer = await message.reply(text, mention_author=False)
                else:
                    await answer.edit(content=text)


async def think(question: str) -> AsyncIterator[str]:
    """Stand in for the stream of a language model: the first words take seconds, and more for a longer question."""
    await asyncio.sleep(1.5 + 0.05 * len(question))
    for words in ("It depends", " on the weather,", " and on you."):
        yield words
        await asyncio.sleep(random.uniform(0.4, 0.9))


class Todo(discord.ui.View):
    @discord.ui.button(label="Done", style=discord.ButtonStyle.success)
    async def done(self, interaction: discord.Interaction, button: discord.ui.Button[Any]) -> None:
        button.disabled = True
        await interaction.response.edit_message(content="Done!", view=self)


class PlainClient(discord.Client):
    """A client without ``ext.commands``, in the pattern of discord.py's example of a command tree."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.default())
        self.tree = app_commands.CommandTree(self)
        cogmeter.attach(self, self.tree)

    async def setup_hook(self) -> None:
        for command in (hello, add, joined, Notes()):
            self.tree.add_command(command)
        await self.tree.sync()


@app_commands.command(description="Says hello!")
async def hello(interaction: discord.Interaction) -> None:
    await interaction.response.send_message(f"Hi, {interaction.user.mention}")


@app_commands.command(description="Adds two numbers together.")
async def add(interaction: discord.Interaction, first: int, second: int) -> None:
    await interaction.response.send_message(f"{first} + {second} = {first + second}")


@app_commands.context_menu(name="Show Join Date")
async def joined(interaction: discord.Interaction, member: discord.Member) -> None:
    await interaction.response.send_message(f"{member} joined at {discord.utils.format_dt(member.joined_at)}")


class Notes(app_commands.Group, name="note", description="Keeps notes."):
    @app_commands.command(name="write", description="Writes a note.")
    async def write(self, interaction: discord.Interaction, text: str) -> None:
        await interaction.response.send_message(f"To do: {text}", view=Todo())

    @app_commands.command(name="find", description="Finds a note.")
    async def find(self, interaction: discord.Interaction, text: str) -> None:
        await interaction.response.defer()
        await asyncio.sleep(0.8)  # a slow search
        await interaction.followup.send(f"Found: {text}")


class Player(discord.ui.View):
    @discord.ui.button(label="Skip")
    async def skip(self, interaction: discord.Interaction, _: discord.ui.Button[Any]) -> None:
        await interaction.response.edit_message(content="Skipped.")


class Music(commands.Cog):
    def __init__(self) -> None:
        self.queues: dict[int, list[str]] = {}

    @commands.hybrid_command(description="Plays a song.")
    async def play(self, context: commands.Context[ShardedBot], *, song: str) -> None:
        async with context.typing():
            await asyncio.sleep(0.6)  # the search for the song
        self.queues.setdefault(context.guild.id, []).append(song)
        await context.send(f"Playing {song}", view=Player())

    @commands.hybrid_command(description="Shows what comes next.")
    async def queue(self, context: commands.Context[ShardedBot]) -> None:
        await context.send("\n".join(self.queues.get(context.guild.id, ["Nothing."])[-5:]))

    @app_commands.command(description="Shows the words of a song.")
    async def lyrics(self, interaction: discord.Interaction, song: str) -> None:
        raise LookupError(f"no words of {song}")


class ShardedBot(commands.AutoShardedBot):
    """A music bot on as many shards as Discord recommends."""

    def __init__(self) -> None:
        super().__init__(command_prefix="!", intents=discord.Intents.all(), help_command=None)

    async def setup_hook(self) -> None:
        await self.add_cog(Music())
        await self.load_extension("cogmeter.cog")
        await self.tree.sync()
