"""Each finished command and press counts its user, guild, place and language once; cogmeter's own count nothing."""

from __future__ import annotations

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogmeter.watch.gateway import Gateway
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.people import who_of
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.interactions.tracker import InteractionTracker
from cogmeter.watch.registered_commands import command_names
from cogmeter_storage import Outcome

USER, GUILD = "80351110224678912", "197038439483310086"


@pytest.fixture
def seen(recorder):
    """``seen()``: what was counted since the last call: (operation, user, guild, context, locale), and other counts."""
    recorder.usage.begin(bytes(16))

    def read():
        taken = recorder.usage.take()
        if taken is None:
            return [], []
        rows = [tuple(taken.rows[at : at + 5]) for at in range(0, len(taken.rows), 5)]
        return [(recorder.names[row[0]][1], *row[1:]) for row in rows], taken.counted

    return read


def arrival(**others):
    data = {"id": "1", "type": 2, "data": {"name": "ask"}, "user": {"id": USER}, "channel_id": "5", "locale": "de"}
    return data | others


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"guild_id": GUILD, "context": 0, "authorizing_integration_owners": {"0": GUILD}}, "guild"),
        ({"guild_id": GUILD, "context": 0, "authorizing_integration_owners": {"0": GUILD, "1": USER}}, "guild"),
        ({"guild_id": GUILD, "context": 0, "authorizing_integration_owners": {"1": USER}}, "user_install"),
        ({"context": 2, "authorizing_integration_owners": {"1": USER}}, "user_install"),
        ({"context": 1, "authorizing_integration_owners": {"0": "0"}}, "dm"),
        ({"context": 1, "authorizing_integration_owners": {"1": USER}}, "dm"),
        ({"guild_id": GUILD}, "guild"),
        ({}, "dm"),
    ],
)
def test_the_place_of_an_interaction_is_a_guild_a_dm_or_a_users_app(others, expected):
    who = who_of(arrival(**others))
    assert (who.context, who.locale) == (expected, "de")


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_operation_counts_however_it_ends(recorder, seen, outcome):
    tracker = InteractionTracker(recorder, slow_ms=1000)
    tracker.finish(tracker.arrive(arrival(guild_id=GUILD)), "discord.commands", "ask", outcome=outcome)
    assert seen() == ([("ask", USER, GUILD, "guild", "de")], [])


def test_autocomplete_and_commands_of_cogmeter_count_nothing(recorder, seen):
    tracker = InteractionTracker(recorder, slow_ms=1000)
    tracker.finish(tracker.arrive(arrival(type=4)), "discord.autocomplete", "ask")
    own = tracker.arrive(arrival(id="2"))
    tracker.disown(own)
    tracker.finish(own, "discord.commands", "perf")
    assert seen() == ([], [])


async def test_slash_commands_presses_and_prefix_commands_count_once_each(
    discord_server, ready_bot, watching, recorder, seen
):
    class Shop(discord.ui.View):
        @discord.ui.button(label="Buy", custom_id="buy")
        async def buy(self, interaction, button):
            await interaction.response.send_message("sold")

    @ready_bot.tree.command(description="x")
    async def ask(interaction: discord.Interaction):
        await interaction.response.send_message("answer", view=Shop())

    @ready_bot.command()
    async def tell(ctx):
        raise KeyError("failed")

    owner = discord_server.owner
    async with watching(ready_bot, Arrivals, SlashCommands, PrefixCommands, Components):
        panel = await (await discord_server.interact(owner.slash("ask"))).answered()
        await discord_server.settled()
        await discord_server.interact(owner.button(panel, "buy"))
        await discord_server.say("!tell")
        await discord_server.settled()
        found, others = seen()
    assert sorted(one[0].rpartition(".")[2] for one in found) == ["ask", "buy", "tell"]
    slash, press, prefix = (next(one for one in found if one[0].endswith(name)) for name in ("ask", "buy", "tell"))
    assert slash[1:] == press[1:]
    assert int(slash[2]) == prefix[2] == ready_bot.guilds[0].id
    assert (slash[3:], prefix[3:]) == (("guild", "en-US"), ("guild", ""))
    assert others == []


async def test_joined_and_left_guilds_are_counted_and_not_named(discord_server, ready_bot, watching, recorder, seen):
    guild = ready_bot.guilds[0]
    async with watching(ready_bot, Gateway):
        for event in ("guild_join", "guild_remove", "guild_join"):
            ready_bot.dispatch(event, guild)
        await discord_server.settled()
    assert sorted(seen()[1]) == [("joined", ""), ("joined", ""), ("left", "")]


async def test_the_registered_commands_have_the_names_of_their_operations():
    bot = commands.Bot("!", intents=discord.Intents.none(), help_command=None)

    @bot.hybrid_group()
    async def shop(ctx):
        """Has subcommands only."""

    @shop.command()
    async def buy(ctx):
        """A hybrid subcommand."""

    @bot.command(hidden=True)
    async def secret(ctx):
        """Is not listed."""

    @bot.command()
    async def tell(ctx):
        """By prefix."""

    @bot.group()
    async def outer(ctx):
        """Has subcommands only."""

    @bot.group(invoke_without_command=True)
    async def both(ctx):
        """Works alone, too."""

    @bot.tree.command(guild=discord.Object(5), description="x")
    async def local(interaction: discord.Interaction):
        """In one guild."""

    @bot.tree.context_menu(name="Report")
    async def report(interaction: discord.Interaction, member: discord.Member):
        """A menu."""

    group = app_commands.Group(name="set", description="x")
    bot.tree.add_command(group)

    @group.command(description="x")
    async def language(interaction: discord.Interaction):
        """A subcommand."""

    assert command_names(bot) == {"shop buy", "tell", "both", "local", "Report", "set language"}
    client = discord.Client(intents=discord.Intents.none())
    assert command_names(client) == set()
    app_commands.CommandTree(client).command(name="alone", description="x")(language.callback)  # no attribute has it
    assert command_names(client) == {"alone"}
    await bot.close()
