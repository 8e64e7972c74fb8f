"""A bot in the pattern of public templates: cogs of hybrid commands, embeds, and one error handler."""

from __future__ import annotations

import logging
import random
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

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
