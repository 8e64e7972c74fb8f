"""Slash commands, context menus and modals: on `discord.Client` with a tree of its own, and on a `Bot`."""

from __future__ import annotations

import datetime as dt
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands
from loopback import Loopback, Option

from example_bots.example import COMMANDS, COMPONENTS, SENT, Example, custom_id


class TreeClient(discord.Client):
    """What most bots on a plain client begin with."""

    def __init__(self, guild: discord.Object) -> None:
        super().__init__(intents=discord.Intents.default())
        self.tree = app_commands.CommandTree(self)
        self.guild = guild

    async def setup_hook(self) -> None:
        self.tree.copy_global_to(guild=self.guild)
        await self.tree.sync(guild=self.guild)


def of_guild(server: Loopback) -> discord.Object:
    return discord.Object(int(server.world.guild["id"]))


def basic(server: Loopback) -> discord.Client:
    client = TreeClient(of_guild(server))

    @client.tree.command()
    async def hello(interaction: discord.Interaction) -> None:
        """Says hello."""
        await interaction.response.send_message(f"Hi, {interaction.user.mention}")

    @client.tree.command()
    @app_commands.describe(first="The first value", second="The value to add to it")
    async def add(interaction: discord.Interaction, first: int, second: int) -> None:
        """Adds two numbers."""
        await interaction.response.send_message(f"{first} + {second} = {first + second}")

    @client.tree.command()
    @app_commands.rename(text_to_send="text")
    async def send(interaction: discord.Interaction, text_to_send: str) -> None:
        """Sends the text."""
        await interaction.response.send_message(text_to_send)

    @client.tree.command()
    async def divide(interaction: discord.Interaction, number: int) -> None:
        """Fails for zero."""
        await interaction.response.send_message(str(10 // number))

    @client.tree.command()
    async def joined(interaction: discord.Interaction, member: discord.Member | None = None) -> None:
        """Says when a member joined."""
        member = member or interaction.user
        await interaction.response.send_message(f"{member} joined {discord.utils.format_dt(member.joined_at)}")

    @client.tree.context_menu(name="Show join date")
    async def show(interaction: discord.Interaction, member: discord.Member) -> None:
        await interaction.response.send_message(f"{member} joined {discord.utils.format_dt(member.joined_at)}")

    @client.tree.context_menu(name="Report to moderators")
    async def report(interaction: discord.Interaction, message: discord.Message) -> None:
        await interaction.response.send_message(f"Thanks for the report of {message.author.mention}", ephemeral=True)
        log = interaction.guild.get_channel(int(server.world.channel["id"]))
        embed = discord.Embed(title="Reported message", description=message.content, timestamp=message.created_at)
        embed.set_author(name=message.author.display_name, icon_url=message.author.display_avatar.url)
        view = discord.ui.View()
        view.add_item(discord.ui.Button(label="Go to message", url=message.jump_url))
        await log.send(embed=embed, view=view)

    return client


async def use_basic(server: Loopback, client: Any) -> None:
    owner, member = server.owner, server.world.member
    for payload in (
        owner.slash("hello"),
        owner.slash("add", {"first": 2, "second": 3}),
        owner.slash("send", {"text": "something"}),
        server.member.slash("joined"),
        owner.slash("joined", {"member": Option(6, member["id"])}, resolved=owner.resolve_user(member)),
        owner.user_menu("Show join date", member),
    ):
        await (await server.interact(payload)).answered()
    await server.interact(owner.slash("divide", {"number": 0}))
    message = await server.say("buy my things", author=member)
    await (await server.interact(owner.message_menu("Report to moderators", message))).answered()
    await server.requested(SENT)


class Point(app_commands.Transformer):
    async def transform(self, interaction: discord.Interaction, value: str) -> tuple[int, int]:
        left, _, right = value.partition(",")
        return int(left), int(right)


def transformers(server: Loopback) -> discord.Client:
    class MyBot(commands.Bot):
        async def setup_hook(self) -> None:
            self.tree.copy_global_to(guild=of_guild(server))
            await self.tree.sync(guild=of_guild(server))

    bot = MyBot("?", intents=discord.Intents.default())

    @bot.tree.command()
    async def age(interaction: discord.Interaction, years: app_commands.Range[int, 0, 99]) -> None:
        """Tell the bot your age."""
        await interaction.response.send_message(f"{interaction.user} is {years}.")

    @bot.tree.command()
    async def graph(interaction: discord.Interaction, point: app_commands.Transform[tuple[int, int], Point]) -> None:
        """Shows a point."""
        await interaction.response.send_message(f"at {point}")

    @bot.tree.command()
    async def where(interaction: discord.Interaction, channel: discord.TextChannel) -> None:
        """Shows a channel."""
        await interaction.response.send_message(channel.mention)

    return bot


async def use_transformers(server: Loopback, client: Any) -> None:
    owner, channel = server.owner, server.world.channel
    resolved = {"channels": {channel["id"]: channel | {"permissions": "0"}}}
    await (await server.interact(owner.slash("age", {"years": 30}))).answered()
    await (await server.interact(owner.slash("graph", {"point": "3,4"}))).answered()
    await server.interact(owner.slash("graph", {"point": "north"}))
    payload = owner.slash("where", {"channel": Option(7, channel["id"])}, resolved=resolved)
    await (await server.interact(payload)).answered()


def feedback(server: Loopback) -> discord.Client:
    class Feedback(discord.ui.Modal, title="Feedback"):
        name = discord.ui.TextInput(label="Name", placeholder="Your name")
        feedback = discord.ui.TextInput(
            label="What do you think?", style=discord.TextStyle.long, required=False, max_length=300
        )

        async def on_submit(self, interaction: discord.Interaction) -> None:
            if self.feedback.value == "fail":
                raise ValueError("no feedback")
            await interaction.response.send_message(f"Thank you, {self.name.value}!", ephemeral=True)

        async def on_error(self, interaction: discord.Interaction, error: Exception) -> None:
            await interaction.response.send_message("Something went wrong.", ephemeral=True)

    client = TreeClient(of_guild(server))

    @client.tree.command(guild=of_guild(server), description="Give feedback")
    async def feedback(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Feedback())

    return client


async def give_feedback(server: Loopback, client: Any) -> None:
    for text in ("good", "fail"):
        shown = (await (await server.interact(server.owner.slash("feedback"))).acknowledged())["data"]
        name, opinion = (custom_id(shown["components"], label) for label in ("Name", "What do you think?"))
        fields = {name: "Ada", opinion: text}
        await (await server.interact(server.owner.modal(shown["custom_id"], fields))).answered()


def labels(server: Loopback) -> discord.Client:
    class Timeout(discord.ui.Modal, title="Time out"):
        duration = discord.ui.Label(
            text="Duration",
            component=discord.ui.Select(
                options=[discord.SelectOption(label=f"{minutes} min", value=str(60 * minutes)) for minutes in (1, 60)]
            ),
        )
        reason = discord.ui.Label(text="Reason", component=discord.ui.TextInput(max_length=256))

        def __init__(self, member: discord.Member) -> None:
            self.member = member
            super().__init__()

        async def on_submit(self, interaction: discord.Interaction) -> None:
            seconds = int(self.duration.component.values[0])
            reason = self.reason.component.value
            await self.member.timeout(discord.utils.utcnow() + dt.timedelta(seconds=seconds), reason=reason)
            await interaction.response.send_message(f"{self.member.mention}: {seconds} s, {reason}", ephemeral=True)

    client = TreeClient(of_guild(server))

    @client.tree.command(description="Time out a member")
    async def timeout(interaction: discord.Interaction, member: discord.Member) -> None:
        await interaction.response.send_modal(Timeout(member))

    return client


async def time_out(server: Loopback, client: Any) -> None:
    owner, member = server.owner, server.world.member
    payload = owner.slash("timeout", {"member": Option(6, member["id"])}, resolved=owner.resolve_user(member))
    shown = (await (await server.interact(payload)).acknowledged())["data"]
    fields = {
        custom_id(shown["components"], "Duration"): ["60"],
        custom_id(shown["components"], "Reason"): "too loud",
    }
    await (await server.interact(owner.modal(shown["custom_id"], fields, labels=True))).answered()


def reports(server: Loopback) -> discord.Client:
    class Report(discord.ui.Modal, title="Your report"):
        topic = discord.ui.Label(
            text="Topic",
            component=discord.ui.Select(options=[discord.SelectOption(label=name) for name in ("Bug", "Other")]),
        )
        description = discord.ui.Label(
            text="Description", component=discord.ui.TextInput(style=discord.TextStyle.paragraph, max_length=2000)
        )
        images = discord.ui.Label(text="Images", component=discord.ui.FileUpload(max_values=3, required=False))
        footer = discord.ui.TextDisplay("Please follow the rules.")

        def to_view(self, interaction: discord.Interaction) -> discord.ui.LayoutView:
            view = discord.ui.LayoutView()
            container = discord.ui.Container()
            view.add_item(container)
            container.add_item(discord.ui.TextDisplay(f"## {self.topic.component.values[0]}"))
            container.add_item(discord.ui.TextDisplay(f">>> {self.description.component.value}"))
            container.add_item(discord.ui.TextDisplay(f"-# by {interaction.user}"))
            return view

        async def on_submit(self, interaction: discord.Interaction) -> None:
            channel = interaction.client.get_partial_messageable(int(server.world.channel["id"]))
            await channel.send(view=self.to_view(interaction))
            await interaction.response.send_message("Thank you for your report!", ephemeral=True)

    client = TreeClient(of_guild(server))

    @client.tree.command(description="Report something")
    async def report(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Report())

    return client


async def report(server: Loopback, client: Any) -> None:
    shown = (await (await server.interact(server.owner.slash("report"))).acknowledged())["data"]
    fields = {
        custom_id(shown["components"], "Topic"): ["Bug"],
        custom_id(shown["components"], "Description"): "it does not answer",
    }
    await (await server.interact(server.owner.modal(shown["custom_id"], fields, labels=True))).answered()


def used(*names: str, presses: tuple[str, ...] = ()) -> frozenset[tuple[str, str]]:
    return frozenset([*((COMMANDS, name) for name in names), *((COMPONENTS, name) for name in presses)])


EXAMPLES = {
    "app_commands/basic": Example(
        basic,
        use_basic,
        used("hello", "add", "send", "divide", "joined", "Show join date", "Report to moderators"),
    ),
    "app_commands/transformers": Example(transformers, use_transformers, used("age", "graph", "where")),
    "modals/basic": Example(feedback, give_feedback, used("feedback", presses=("Feedback",))),
    "modals/label": Example(labels, time_out, used("timeout", presses=("Timeout",))),
    "modals/report": Example(reports, report, used("report", presses=("Report",))),
}
