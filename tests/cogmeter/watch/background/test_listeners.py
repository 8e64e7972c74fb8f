"""Listeners: each run is recorded, its exceptions still reach the host's handlers."""

from __future__ import annotations

import asyncio
import functools
import sys

import discord
import pytest
from discord.ext import commands

from cogmeter.watch.background.listeners import Listeners
from cogmeter_storage import Outcome


class Greeter(commands.Cog):
    def __init__(self):
        self.heard = asyncio.Event()

    @commands.Cog.listener()
    async def on_message(self, message):
        await asyncio.sleep(0.02)
        self.heard.set()

    @commands.Cog.listener("on_message")
    async def fails(self, message):
        raise RuntimeError("no greeting")


async def settled(recorded, count):
    async with asyncio.timeout(60):
        while len(recorded()) < count:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.01)
    return {one.operation: one for one in recorded()}


async def test_listeners_of_cogs_and_of_the_bot_are_recorded_with_their_outcome(
    discord_server, make_bot, watching, recorded
):
    bot = make_bot()
    async with discord_server.running(bot), watching(bot, Listeners):
        await bot.add_cog(Greeter())

        @bot.event
        async def on_message(message):
            raise discord.DiscordServerError(Answer(), "down")

        await discord_server.say("hello")
        found = await settled(recorded, 3)
    assert {name: one.outcome for name, one in found.items()} == {
        "on_message Greeter.on_message": Outcome.OK,
        "on_message Greeter.fails": Outcome.ERROR,
        "on_message": Outcome.UPSTREAM,
    }
    assert {one.service for one in found.values()} == {"discord.listeners"}
    assert found["on_message Greeter.on_message"].duration_ms >= 19
    assert found["on_message Greeter.fails"].error == "RuntimeError: no greeting"


class Answer:
    """The part of an aiohttp response that discord.py's exceptions read."""

    status, reason = 503, "Service Unavailable"


async def test_the_hosts_own_error_handler_still_gets_the_exception(discord_server, make_bot, watching):
    bot = make_bot()
    caught = asyncio.Queue()

    @bot.event
    async def on_error(event, *args):
        caught.put_nowait((event, args[0].content, sys.exc_info()[1]))

    async with discord_server.running(bot), watching(bot, Listeners):
        await bot.add_cog(Greeter())
        await discord_server.say("hello")
        event, content, error = await asyncio.wait_for(caught.get(), 5)
    assert (event, content, str(error)) == ("on_message", "hello", "no greeting")


async def test_prefix_dispatch_and_our_own_listeners_are_not_the_hosts(discord_server, make_bot, watching, recorded):
    bot = make_bot()
    ran = asyncio.Event()

    async def ours(message):
        ran.set()

    ours.__module__ = "cogmeter.watch.gateway"
    bot.add_listener(ours, "on_message")
    async with discord_server.running(bot), watching(bot, Listeners):
        await discord_server.say("hello")
        await asyncio.wait_for(ran.wait(), 60)
        await discord_server.settled()
    assert recorded() == []


async def test_a_cancelled_listener_counts_as_cancelled(discord_server, make_bot, watching, recorded):
    bot = make_bot()
    tasks = []

    async def on_message(message):
        tasks.append(asyncio.current_task())
        await asyncio.sleep(60)

    bot.add_listener(on_message)
    async with discord_server.running(bot), watching(bot, Listeners):
        await discord_server.say("hello")
        async with asyncio.timeout(60):
            while not tasks:
                await asyncio.sleep(0.005)
        tasks[0].cancel()
        found = await settled(recorded, 1)
    assert found["on_message"].outcome is Outcome.CANCELLED


async def test_partials_and_callable_objects_have_names_and_odd_names_are_fitted(make_bot, watching, recorded):
    bot = make_bot()

    async def on_poke(who, times):
        pass

    async def named(times):
        pass

    named.__qualname__ = "line\nbreak " + "x" * 200

    async with bot, watching(bot, Listeners):
        bot.add_listener(functools.partial(on_poke, "me"), "on_poke")
        bot.add_listener(named, "on_poke")
        for times in range(2):
            bot.dispatch("poke", times)
        await settled(recorded, 4)
    names = [one.operation for one in recorded()]
    assert names[0] == names[2] == "on_poke"
    assert names[1] == names[3] == f"on_poke line?break {'x' * 200}"[:99] + "…"


async def test_removal_leaves_the_bot_as_it_was_and_another_ones_wrapper_in_place(make_bot, watching, recorded):
    bot = make_bot()

    async def on_poke():
        pass

    bot.add_listener(on_poke)
    async with bot:
        async with watching(bot, Listeners):
            assert "_schedule_event" in vars(bot)
        assert "_schedule_event" not in vars(bot)
        seen = []
        async with watching(bot, Listeners):
            below = bot._schedule_event

            def theirs(coro, event_name, *args, **kwargs):
                seen.append(event_name)
                return below(coro, event_name, *args, **kwargs)

            bot._schedule_event = theirs
        assert bot._schedule_event is theirs
        bot.dispatch("poke")
        await asyncio.sleep(0.01)
    assert seen == ["on_poke"]
    assert recorded() == []


async def test_a_changed_discord_py_is_reported_and_not_patched(make_bot, watching):
    bot = make_bot()

    def other(event):
        raise AssertionError

    bot._schedule_event = other
    async with watching(bot, Listeners) as surface:
        assert bot._schedule_event is other
        (finding,) = surface.findings()
    assert not finding.well
    assert "it takes (event)" in finding.text


@pytest.mark.parametrize("broken", ["series", "names"])
async def test_a_fault_of_ours_loses_no_event(make_bot, watching, recorder, broken, monkeypatch, caplog):
    bot = make_bot()
    ran = asyncio.Event()

    async def on_poke():
        ran.set()

    bot.add_listener(on_poke)
    monkeypatch.setattr(recorder, broken, None)
    async with bot, watching(bot, Listeners) as surface:
        bot.dispatch("poke")
        await asyncio.wait_for(ran.wait(), 60)
        assert surface.hooks[0].faults == 1
    assert "The hook on listeners failed" in caplog.text
