"""Prefix commands: recorded once, from the message on; what is typed is never kept."""

from __future__ import annotations

import asyncio

import pytest
from discord.ext import commands

from cogmeter.watch.hook import Hook
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter_storage.model import Outcome


def add_commands(bot, recorder):
    @bot.group()
    async def group(ctx):
        """A group."""

    @group.command()
    async def inner(ctx, number: int = 0):
        with recorder.operation("knowledge-graph", "query"):
            await ctx.send(str(number))

    @bot.command()
    async def broken(ctx):
        raise KeyError("missing")

    @bot.command()
    @commands.cooldown(1, 3600)
    async def cooled(ctx):
        await ctx.send("cool")

    @bot.command()
    @commands.check(lambda _: False)
    async def forbidden(ctx):
        await ctx.send("never")

    @bot.command()
    async def cancelled(ctx):
        raise asyncio.CancelledError

    @bot.hybrid_command()
    async def both(ctx):
        """Works both ways."""
        raise ArithmeticError("hybrid")


@pytest.fixture
def said(discord_server, make_bot, watching, recorder):
    """``await said(*texts)``: a bot with the commands is sent these messages, one after the other."""

    async def say(*texts, prepare=lambda bot: None):
        bot = make_bot()
        add_commands(bot, recorder)
        prepare(bot)
        async with discord_server.running(bot), watching(bot, Arrivals, PrefixCommands) as installed:
            for text in texts:
                await discord_server.say(text)
                await discord_server.settled()
            return installed

    return say


def ends(recorded):
    return [(one.operation, one.outcome, one.error) for one in recorded("discord.commands")]


async def test_a_subcommand_is_named_in_full_and_what_it_records_knows_it(said, recorded):
    await said("!group inner 5")
    assert ends(recorded) == [("group inner", Outcome.OK, None)]
    (inner,) = recorded("knowledge-graph")
    assert inner.metadata["parent"] == inner.metadata["command"]


async def test_each_end_is_recorded_for_what_it_is(said, recorded):
    await said("!broken", "!cooled", "!cooled", "!forbidden", "!group inner five", "!both")
    kinds = [(name, outcome, (error or "").partition(":")[0]) for name, outcome, error in ends(recorded)]
    assert kinds == [
        ("broken", Outcome.ERROR, "KeyError"),
        ("cooled", Outcome.OK, ""),
        ("cooled", Outcome.USER, "CommandOnCooldown"),
        ("forbidden", Outcome.USER, "CheckFailure"),
        ("group inner", Outcome.USER, "BadArgument"),
        ("both", Outcome.ERROR, "ArithmeticError"),
    ]


async def test_a_cancelled_command_is_neither_fine_nor_failed(said, recorded):
    await said("!cancelled")
    assert [one[:2] for one in ends(recorded)] == [("cancelled", Outcome.CANCELLED)]


async def test_an_unknown_command_is_the_users_and_what_was_typed_is_not_kept(said, recorded):
    await said("!my-secret-password")
    assert ends(recorded) == [("(unknown)", Outcome.USER, None)]


async def test_a_message_that_is_no_command_is_no_operation(said, recorded):
    await said("hello", "! ", "")
    assert ends(recorded) == []


async def test_handlers_run_as_without_us(said, recorded):
    handled = []

    def prepare(bot):
        @bot.get_command("broken").error
        async def of_the_command(ctx, error):
            handled.append("command")

        @bot.event
        async def on_command_error(ctx, error):
            handled.append("bot")

    await said("!broken", prepare=prepare)
    assert handled == ["command", "bot"]
    assert len(ends(recorded)) == 1


async def test_public_events_replace_a_hook_that_fails(said, recorded, monkeypatch):
    install = Hook.install

    def fail(hook):
        if hook.name == "prefix commands":
            hook._expects = ["something", "else"]
        return install(hook)

    monkeypatch.setattr(Hook, "install", fail)
    await said("!group inner", "!broken", "!nothing")
    assert [one[:2] for one in ends(recorded)] == [
        ("group inner", Outcome.OK),
        ("broken", Outcome.ERROR),
        ("(unknown)", Outcome.USER),
    ]
