"""Command classes of the host's own: what they override of discord.py's, with or without ``super()``, hides nothing."""

from __future__ import annotations

import asyncio

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogmeter.watch.hook import MAX_CLASSES, HookState, Overrides
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter_storage import Outcome

SURFACES = (Arrivals, SlashCommands, PrefixCommands, Acknowledgement)


@pytest.fixture
def ends(recorded):
    """``await ends(count)``: operation, outcome and error of each command, once there are so many."""

    async def read(count=1):
        services = {"discord.commands", "discord.autocomplete"}
        async with asyncio.timeout(60):
            while sum(one.service in services for one in recorded()) < count:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        return [(one.operation, one.outcome, one.error) for one in recorded() if one.service in services]

    return read


async def callback(interaction: discord.Interaction):
    await interaction.response.send_message("done")


class Alone(app_commands.Command):
    """Runs its callback by itself."""

    async def _invoke_with_namespace(self, interaction, namespace):
        if interaction.user.name == "nobody":
            raise app_commands.CheckFailure("not you")
        try:
            return await self.callback(interaction)
        except OSError as error:
            raise app_commands.CommandInvokeError(self, error) from error


class Commits(app_commands.Command):
    """Does something after discord.py's own part."""

    async def _invoke_with_namespace(self, interaction, namespace):
        await super()._invoke_with_namespace(interaction, namespace)
        raise app_commands.CommandInvokeError(self, ConnectionError("commit"))


async def test_a_command_without_super_is_recorded_for_what_it_raises(discord_server, ready_bot, watching, ends):
    async def fails(interaction: discord.Interaction):
        raise OSError("no route")

    ready_bot.tree.add_command(Alone(name="well", description="x", callback=callback))
    ready_bot.tree.add_command(Alone(name="ill", description="x", callback=fails))
    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("well"))
        await ends(1)
        await discord_server.interact(discord_server.owner.slash("ill"))
        assert await ends(2) == [("well", Outcome.OK, None), ("ill", Outcome.ERROR, "OSError: no route")]
    assert Alone.__dict__["_invoke_with_namespace"].__qualname__ == "Alone._invoke_with_namespace"
    assert not hasattr(Alone.__dict__["_invoke_with_namespace"], "__wrapped__")


async def test_what_a_command_does_after_super_counts(discord_server, ready_bot, watching, ends):
    ready_bot.tree.add_command(Commits(name="order", description="x", callback=callback))
    async with watching(ready_bot, *SURFACES):
        await (await discord_server.interact(discord_server.owner.slash("order"))).answered()
        assert await ends() == [("order", Outcome.ERROR, "ConnectionError: commit")]


async def test_a_command_that_invokes_another_is_one_operation(discord_server, ready_bot, watching, ends):
    inner = app_commands.Command(name="inner", description="x", callback=callback)

    @ready_bot.tree.command()
    async def outer(interaction: discord.Interaction):
        """Invokes another, and fails."""
        await inner._invoke_with_namespace(interaction, interaction.namespace)
        raise OSError("no route")

    async with watching(ready_bot, *SURFACES):
        await (await discord_server.interact(discord_server.owner.slash("outer"))).answered()
        assert await ends() == [("outer", Outcome.ERROR, "OSError: no route")]


async def test_menus_and_autocompletes_of_a_class_of_their_own_are_recorded(discord_server, ready_bot, watching, ends):
    class Menu(app_commands.ContextMenu):
        async def _invoke(self, interaction, arg):
            raise app_commands.CommandInvokeError(self, OSError("menu"))

    class Completes(app_commands.Command):
        async def _invoke_autocomplete(self, interaction, name, namespace):
            await interaction.response.autocomplete([])
            raise OSError("autocomplete")

    async def look(interaction: discord.Interaction, member: discord.Member): ...

    async def find(interaction: discord.Interaction, word: str): ...

    ready_bot.tree.add_command(Menu(name="Look", callback=look))
    ready_bot.tree.add_command(Completes(name="find", description="x", callback=find))
    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.user_menu("Look", discord_server.world.member))
        await ends(1)
        await discord_server.interact(discord_server.owner.autocomplete("find", "word", "a"))
        assert await ends(2) == [
            ("Look", Outcome.ERROR, "OSError: menu"),
            ("find word", Outcome.ERROR, "OSError: autocomplete"),
        ]


async def test_a_tree_that_answers_first_is_acknowledged_once_and_recorded_once(
    discord_server, watching, ends, recorded
):
    class Tree(app_commands.CommandTree):
        async def _call(self, interaction):
            await interaction.response.defer()
            await super()._call(interaction)

    bot = commands.Bot("!", intents=discord.Intents.all(), tree_cls=Tree)

    @bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Answers late."""
        await interaction.followup.send("done")

    async with discord_server.running(bot), watching(bot, *SURFACES) as surfaces:
        await (await discord_server.interact(discord_server.owner.slash("ask"))).answered()
        assert await ends() == [("ask", Outcome.OK, None)]
        assert [one.outcome for one in recorded("discord.acknowledgement")] == [Outcome.OK]
        assert len(surfaces[0].context.tracker) == 0


class Silent(commands.Command):
    """Handles its errors by itself."""

    async def dispatch_error(self, ctx, error):
        await ctx.send("sorry")


class SilentGroup(commands.Group):
    async def dispatch_error(self, ctx, error):
        await super().dispatch_error(ctx, error)
        await ctx.send("sorry")


@pytest.mark.parametrize("text", ["fails", "group", "group fails"])
async def test_a_prefix_command_that_dispatches_its_errors_by_itself_fails_all_the_same(
    discord_server, ready_bot, watching, ends, text
):
    @ready_bot.command(cls=Silent)
    async def fails(ctx):
        raise OSError("no route")

    @ready_bot.group(cls=SilentGroup, invoke_without_command=True)
    async def group(ctx):
        raise OSError("no route")

    @group.command(name="fails", cls=Silent)
    async def inner(ctx):
        raise OSError("no route")

    @ready_bot.event
    async def on_command_error(ctx, error): ...

    async with watching(ready_bot, *SURFACES):
        await discord_server.say(f"!{text}")
        assert await ends() == [(text, Outcome.ERROR, "OSError: no route")]


@pytest.mark.parametrize("later", [False, True])
async def test_a_hybrid_that_dispatches_its_errors_by_itself_fails_as_a_slash_command_too(
    discord_server, ready_bot, watching, ends, later
):
    class SilentHybrid(commands.HybridCommand):
        async def dispatch_error(self, ctx, error):
            await ctx.send("sorry")

    async def both(ctx: commands.Context):
        """Fails."""
        raise OSError("no route")

    def add():
        ready_bot.add_command(SilentHybrid(both))

    if not later:
        add()
    async with watching(ready_bot, *SURFACES) as surfaces:
        if later:
            add()
            surfaces[2].sample()
        await discord_server.interact(discord_server.owner.slash("both"))
        assert await ends() == [("both", Outcome.ERROR, "OSError: no route")]
        assert all(hook.state is HookState.ON for hook in surfaces[2].hooks)
    assert not hasattr(vars(SilentHybrid)["dispatch_error"], "__wrapped__")


class Handles(commands.Bot):
    """Handles what its commands raise without discord.py, and tries once more what is worth it."""

    async def invoke(self, ctx):
        try:
            await ctx.command.invoke(ctx)
        except commands.CommandError as error:
            if isinstance(getattr(error, "original", None), ConnectionError):
                await ctx.command.invoke(ctx)


async def test_a_bot_that_handles_the_errors_of_its_commands_in_invoke_has_them_recorded(
    discord_server, watching, ends
):
    bot = Handles(command_prefix="!", intents=discord.Intents.all())
    attempts = []

    @bot.command()
    async def fails(ctx):
        raise OSError("no route")

    @bot.command()
    async def counts(ctx, number: int):
        await ctx.send(str(number))

    @bot.command()
    async def recovers(ctx):
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("try again")

    @bot.group()
    async def group(ctx):
        pass

    @group.command()
    async def inner(ctx):
        raise LookupError("nothing")

    async with discord_server.running(bot), watching(bot, Arrivals, PrefixCommands):
        expected = [
            ("fails", Outcome.ERROR, "OSError: no route"),
            ("counts", Outcome.USER, 'BadArgument: Converting to "int" failed for parameter "number".'),
            ("recovers", Outcome.OK, None),
            ("group inner", Outcome.ERROR, "LookupError: nothing"),
        ]
        for number, text in enumerate(("!fails", "!counts many", "!recovers", "!group inner"), 1):
            await discord_server.say(text)
            assert (await ends(number))[-1] == expected[number - 1]


async def by_reinvoking(ctx, other):
    ctx.command, ctx.args = other, [ctx]
    await ctx.reinvoke()


async def by_invoking(ctx, other):
    await other.invoke(ctx)


@pytest.mark.parametrize(("run", "slash"), [(by_reinvoking, False), (by_reinvoking, True), (by_invoking, False)])
@pytest.mark.parametrize("caught", [True, False])
async def test_a_command_that_runs_another_in_its_context_is_named_and_judged_for_itself(
    discord_server, ready_bot, watching, ends, run, slash, caught
):
    @ready_bot.hybrid_command(description="Fails")
    async def other(ctx):
        raise OSError("no route")

    @ready_bot.hybrid_command(description="Runs the other one")
    async def outer(ctx):
        try:
            await run(ctx, other)
        except (commands.CommandInvokeError, OSError):
            if not caught:
                raise
        await ctx.send("done")

    @ready_bot.event
    async def on_command_error(ctx, error):
        pass

    async with watching(ready_bot, Arrivals, SlashCommands, PrefixCommands):
        if slash:
            await discord_server.interact(discord_server.owner.slash("outer"))
        else:
            await discord_server.say("!outer")
        how = (Outcome.OK, None) if caught else (Outcome.ERROR, "OSError: no route")
        assert await ends(1) == [("outer", *how)]


def test_classes_that_a_host_makes_on_the_fly_are_followed_up_to_a_number():
    hooks = []
    overrides = Overrides(hooks, lambda original, hook: original, [(commands.Command, "dispatch_error")])

    async def nothing(ctx): ...

    for number in range(MAX_CLASSES + 5):
        kind = type(f"Silent{number}", (commands.Command,), {"dispatch_error": Silent.dispatch_error})
        overrides.see(kind(nothing))
        overrides.see(kind(nothing))
    assert len(hooks) == MAX_CLASSES
