"""Slash commands, menus and autocomplete: recorded once, from their arrival, for what they are."""

from __future__ import annotations

import asyncio
import time

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogmeter.watch.hook import HookState
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import REFUSED, UNSEEN, SlashCommands
from cogmeter_storage.model import Outcome

SURFACES = (Arrivals, SlashCommands, PrefixCommands)


def add_commands(bot, recorder):  # noqa: C901 - one of each
    """Commands that end in every way."""
    tree = bot.tree
    group = app_commands.Group(name="group", description="x")
    inner = app_commands.Group(name="inner", description="x", parent=group)
    tree.add_command(group)

    @inner.command()
    async def deep(interaction: discord.Interaction):
        """Works."""
        with recorder.operation("knowledge-graph", "query"), recorder.operation("web", "fetch"):
            await interaction.response.send_message("deep")

    @tree.command()
    async def broken(interaction: discord.Interaction):
        """Fails."""
        raise KeyError("missing")

    @tree.command()
    async def blocking(interaction: discord.Interaction):
        """Blocks."""
        time.sleep(0.3)

    @tree.command()
    async def cancelled(interaction: discord.Interaction):
        """Is cancelled."""
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    @tree.command()
    @app_commands.check(lambda _: False)
    async def forbidden(interaction: discord.Interaction):
        """Is not allowed."""

    @tree.command()
    async def picky(interaction: discord.Interaction, number: app_commands.Range[int, 1, 5]):
        """Takes a number."""

    @picky.autocomplete("number")
    async def numbers(interaction: discord.Interaction, current: str):
        if current == "x":
            raise ValueError("no number")
        return [app_commands.Choice(name="5", value=5)]

    @tree.context_menu(name="Who is this")
    async def who(interaction: discord.Interaction, member: discord.Member):
        raise LookupError("nobody")

    @bot.hybrid_command()
    async def both(ctx: commands.Context, fails: bool = False):
        """Works both ways."""
        if fails:
            raise ArithmeticError("hybrid")
        await ctx.send("both")


@pytest.fixture
def used(discord_server, make_bot, watching, recorder, recorded):
    """``await used(*payloads)``: a bot with the commands is sent these interactions, each after the one before it."""

    async def use(*makers, prepare=lambda bot: None, surfaces=SURFACES):
        bot = make_bot()
        add_commands(bot, recorder)
        prepare(bot)
        async with discord_server.running(bot):
            await bot.tree.sync()
            async with watching(bot, *surfaces) as installed:
                for make in makers:
                    await discord_server.interact(make(discord_server.owner))
                    await discord_server.settled()
                return installed

    return use


def slash(name, **options):
    return lambda owner: owner.slash(name, options)


async def test_a_command_in_groups_is_named_in_full_and_what_it_records_knows_it(used, recorded):
    await used(slash("group inner deep"))
    (command,) = recorded("discord.commands")
    assert (command.operation, command.outcome) == ("group inner deep", Outcome.OK)
    (outer,) = recorded("knowledge-graph")
    (inner,) = recorded("web")
    assert outer.metadata == {"command": "group inner deep", "parent": "group inner deep"}
    assert inner.metadata == {"command": "group inner deep", "parent": "knowledge-graph/query"}


@pytest.mark.parametrize(
    ("name", "outcome", "error"),
    [
        ("broken", Outcome.ERROR, "KeyError: 'missing'"),
        ("cancelled", Outcome.CANCELLED, "CancelledError"),
        ("forbidden", Outcome.USER, "CheckFailure: The check functions for command 'forbidden' failed."),
    ],
)
async def test_a_command_that_fails_is_recorded_for_what_it_is(used, recorded, name, outcome, error):
    await used(slash(name))
    (command,) = recorded("discord.commands")
    assert (command.operation, command.outcome, command.error) == (name, outcome, error)


async def test_blocking_before_the_first_await_is_in_the_duration(used, recorded):
    await used(slash("blocking"))
    (command,) = recorded("discord.commands")
    assert command.duration_ms >= 300


async def test_a_context_menu_is_recorded_with_its_failure(used, recorded, discord_server):
    await used(lambda owner: owner.user_menu("Who is this", discord_server.world.member))
    (command,) = recorded("discord.commands")
    assert (command.operation, command.outcome, command.error) == (
        "Who is this",
        Outcome.ERROR,
        "LookupError: nobody",
    )


async def test_a_hybrid_is_counted_once_whether_it_works_or_fails(used, recorded):
    await used(slash("both"), slash("both", fails=True))
    assert [(one.operation, one.outcome, one.error) for one in recorded("discord.commands")] == [
        ("both", Outcome.OK, None),
        ("both", Outcome.ERROR, "ArithmeticError: hybrid"),
    ]


async def test_autocomplete_is_an_operation_of_its_own(used, recorded):
    await used(
        lambda owner: owner.autocomplete("picky", "number", "1"),
        lambda owner: owner.autocomplete("picky", "number", "x"),
    )
    ended = [(one.operation, one.outcome) for one in recorded("discord.autocomplete")]
    # The one that fails does not wait for Discord's answer, so that either may end first.
    assert sorted(ended) == [("picky number", Outcome.OK), ("picky number", Outcome.ERROR)]
    assert recorded("discord.commands") == []


async def test_handlers_of_every_level_run_once_and_take_nothing_from_the_record(used, recorded):
    handled = []

    def prepare(bot):
        @bot.tree.get_command("broken").error
        async def of_the_command(interaction, error):
            handled.append("command")

        @bot.tree.error
        async def of_the_tree(interaction, error):
            handled.append("tree")

    await used(slash("broken"), prepare=prepare)
    assert handled == ["command", "tree"]
    assert [one.outcome for one in recorded("discord.commands")] == [Outcome.ERROR]


async def test_what_the_trees_own_check_refuses_is_the_users(used, recorded):
    def prepare(bot):
        async def refuse(interaction):
            return False

        bot.tree.interaction_check = refuse

    await used(slash("broken"), prepare=prepare)
    (command,) = recorded("discord.commands")
    assert (command.operation, command.outcome, command.error) == ("broken", Outcome.USER, REFUSED)


async def test_a_command_that_the_code_does_not_have_is_the_bots_fault(used, recorded):
    await used(slash("gone"))
    (command,) = recorded("discord.commands")
    assert (command.operation, command.outcome) == ("gone", Outcome.ERROR)
    assert command.error.startswith("CommandNotFound")


async def test_a_failed_command_keeps_its_tree_of_operations_and_a_quick_one_does_not(used):
    arrivals, *_ = await used(slash("group inner deep"), slash("broken"))
    (trace,) = arrivals.context.tracker.traces
    assert (trace.operation, trace.outcome, trace.spans) == ("broken", Outcome.ERROR, ())


async def test_public_events_replace_each_hook_that_fails(used, recorded, monkeypatch):
    prepare = SlashCommands.prepare

    def worse(surface):
        prepare(surface)
        for hook in surface.hooks:
            if hook.name == "slash commands":
                hook._expects = ["something", "else"]

    monkeypatch.setattr(SlashCommands, "prepare", worse)
    _, surface, _ = await used(slash("group inner deep"), slash("broken"))
    assert [hook.name for hook in surface.hooks if hook.state is HookState.FAILED] == ["slash commands"]
    assert [(one.operation, one.outcome, one.error) for one in recorded("discord.commands")] == [
        ("group inner deep", Outcome.OK, None),
        ("broken", Outcome.ERROR, UNSEEN),
    ]


async def test_every_hook_is_taken_out_exactly(used):
    before = {
        (owner, name): vars(owner).get(name)
        for owner, name in (
            (app_commands.Command, "_invoke_with_namespace"),
            (commands.hybrid.HybridAppCommand, "_invoke_with_namespace"),
            (app_commands.ContextMenu, "_invoke"),
            (app_commands.Command, "_invoke_autocomplete"),
            (commands.Command, "dispatch_error"),
        )
    }
    _, surface, _ = await used(slash("broken"))
    assert {(owner, name): vars(owner).get(name) for owner, name in before} == before
    assert "_call" not in vars(surface.context.bot.tree)


async def test_our_own_commands_are_not_the_hosts(used, recorded):
    def prepare(bot):
        bot.tree.get_command("broken").callback.__module__ = "cogmeter.cog.summary"

    await used(slash("broken"), prepare=prepare)
    assert recorded("discord.commands") == []
