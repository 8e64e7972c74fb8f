"""Arrivals: stamped before any of the host's code, once for each interaction and message, and taken out again."""

from __future__ import annotations

import asyncio
import time

import discord
import pytest
from discord.ext import commands

from cogmeter.recording import tracing
from cogmeter.recording.operation import now_ns
from cogmeter.watch.hook import Hook, HookState
from cogmeter.watch.interactions.arrivals import Arrivals, message_arrived_ns


async def until(found, count=1):
    async with asyncio.timeout(60):
        while len(found) < count:
            await asyncio.sleep(0.005)


async def test_an_interaction_has_arrived_before_any_code_of_the_host(discord_server, make_bot, watching):
    bot = make_bot()
    seen = []

    @bot.listen()
    async def on_socket_event_type(kind):
        if kind == "INTERACTION_CREATE":
            time.sleep(0.05)

    @bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Asks."""
        seen.append((tracing.current(), now_ns()))

    async with discord_server.running(bot), watching(bot, Arrivals):
        await discord_server.interact(discord_server.owner.slash("ask"))
        await until(seen)
    scope, at_ns = seen[0]
    assert scope.trace.label == scope.name == "ask"
    assert at_ns - scope.trace.start_ns >= 50_000_000


async def test_listeners_and_tasks_of_an_interaction_belong_to_it_and_the_next_event_does_not(
    ready_bot, watching, discord_server
):
    seen = []

    @ready_bot.listen()
    async def on_interaction(interaction):
        await asyncio.sleep(0)
        seen.append(("interaction", tracing.current().trace.id == interaction.id))

    @ready_bot.listen()
    async def on_message(message):
        seen.append(("message", tracing.current()))

    async with watching(ready_bot, Arrivals):
        for _ in range(2):
            await discord_server.interact(discord_server.owner.slash("ask"))
        await discord_server.say("hello")
        await until(seen, 3)
    assert sorted(seen, key=str) == [("interaction", True), ("interaction", True), ("message", None)]


async def test_each_message_has_its_own_arrival_and_a_task_of_an_earlier_one_has_none(
    ready_bot, watching, discord_server
):
    arrived = {}
    later = asyncio.Queue()

    async def work():
        arrived["by the worker"] = message_arrived_ns((await later.get()).id)

    @ready_bot.event
    async def on_message(message):
        arrived[message.content] = message_arrived_ns(message.id)
        if message.content == "first":
            ready_bot.worker = asyncio.create_task(work())
        else:
            later.put_nowait(message)
            await ready_bot.worker

    async with watching(ready_bot, Arrivals):
        before = now_ns()
        await discord_server.say("first")
        await discord_server.say("second")
        await until(arrived, 3)
    assert before < arrived["first"] < arrived["second"] < now_ns()
    assert arrived["by the worker"] is None


def test_outside_of_a_message_none_has_arrived():
    assert message_arrived_ns(1) is None


async def test_without_its_hook_the_public_event_is_the_arrival(
    discord_server, make_bot, watching, monkeypatch, caplog
):
    def changed(hook, original):
        raise ValueError("not as expected")

    monkeypatch.setattr(Hook, "_check", changed)
    bot = make_bot()
    async with discord_server.running(bot), watching(bot, Arrivals) as surface:
        assert {hook.state for hook in surface.hooks} == {HookState.FAILED}
        await discord_server.interact(discord_server.owner.slash("ask"))
        await until(surface.context.tracker)
    assert [finding.well for finding in surface.findings()] == [False, False, False]
    assert "Cannot watch interaction arrivals" in caplog.text


@pytest.mark.parametrize("event", ["INTERACTION_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE"])
async def test_a_fault_of_ours_loses_no_event(make_bot, watching, event, caplog):
    bot = make_bot()
    got = []
    data = [] if event == "MESSAGE_UPDATE" else {}

    def parse(data):
        got.append(data)

    bot._connection.parsers[event] = parse
    async with bot, watching(bot, Arrivals) as surface:
        bot._connection.parsers[event](data)
        assert sum(hook.faults for hook in surface.hooks) == 1
    assert got == [data]


async def test_an_exception_of_discord_py_propagates_and_leaves_no_trace_open(make_bot, watching):
    bot = make_bot()

    def fails(data):
        assert tracing.current() is not None
        raise LookupError("theirs")

    bot._connection.parsers["INTERACTION_CREATE"] = fails
    async with bot, watching(bot, Arrivals):
        with pytest.raises(LookupError, match="theirs"):
            bot._connection.parsers["INTERACTION_CREATE"]({"id": "1", "type": 2, "data": {"name": "ask"}})
        assert tracing.current() is None


async def test_removal_puts_the_parsers_back_unless_another_has_wrapped_them(make_bot, watching):
    bot = make_bot()
    parsers = bot._connection.parsers
    before = dict(parsers)
    async with bot:
        for _ in range(100):
            async with watching(bot, Arrivals):
                assert bot._connection.parsers is parsers
        assert parsers == before
        got = []
        async with watching(bot, Arrivals) as surface:
            ours = parsers["MESSAGE_CREATE"]
            theirs = parsers["MESSAGE_CREATE"] = lambda data: got.append(data) or ours(data)
        assert parsers["MESSAGE_CREATE"] is theirs
        assert [hook.state for hook in surface.hooks] == [HookState.OFF, HookState.BURIED, HookState.OFF]


def test_it_is_wanted_by_all_that_counts_from_the_arrival_or_stores_errors(context):
    kinds = ("commands", "components", "acknowledgement", "listeners", "tasks", "logged_errors", "unhandled_errors")
    names = [f"watch_{kind}" for kind in kinds]

    def wanted(**settings):
        off = dict.fromkeys(names, False)
        bot = commands.Bot("!", intents=discord.Intents.none())
        return Arrivals.wanted(context(bot, **off | settings).settings)

    assert not wanted()
    for name in names:
        assert wanted(**{name: True})
