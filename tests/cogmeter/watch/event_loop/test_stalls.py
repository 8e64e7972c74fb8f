"""A blocked loop is noticed, timed, and put down to the line and the command that blocked it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
import time
import weakref
from pathlib import Path

import discord
import pytest
from discord import app_commands
from discord.ext import commands

from cogmeter.recording.operation import now_ns
from cogmeter.watch.event_loop.stalls import MOST_PLACES, OTHER_PLACES, StallWatch
from cogmeter.watch.event_loop.watchdog import BlockedLoop
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter_storage.model import Outcome

THREAD = "cogmeter-watchdog"


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def line_of(function: object, text: str) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(number for number, line in enumerate(lines) if text in line)


async def beats(count: int = 3) -> None:
    """The loop beats again and again: what was blocked is recorded."""
    await asyncio.sleep(0.06 * count)


async def test_a_command_that_blocks_before_its_first_await_is_named_with_its_line(
    discord_server, make_bot, watching, recorded
):
    @app_commands.command(description="Blocks")
    async def search(interaction: discord.Interaction) -> None:
        time.sleep(0.5)
        await interaction.response.send_message("found")

    bot = make_bot()
    bot.tree.add_command(search)
    async with discord_server.running(bot), watching(bot, Arrivals, StallWatch):
        await beats()
        await (await discord_server.interact(discord_server.owner.slash("search"))).answered()
        await beats()
        stalls = recorded("discord.stalls")
    line = line_of(search.callback, "time.sleep")
    named = [one for one in stalls if one.operation == f"cogmeter/watch/event_loop/test_stalls.py:{line} search"]
    assert len(named) == 1
    assert named[0].outcome is Outcome.OK
    assert named[0].duration_ms >= 450
    assert named[0].metadata["during"] == named[0].metadata["command"] == "search"
    stack = named[0].metadata["stack"]
    assert stack[0] == f"cogmeter/watch/event_loop/test_stalls.py:{line}:search"
    assert any(frame.startswith("discord/app_commands/commands.py:") for frame in stack)
    assert not any(frame.startswith(os.sep) or str(Path.cwd()) in frame for frame in stack)
    assert not any(frame.startswith("asyncio/") for frame in stack)


async def test_a_command_is_known_after_others_ran_in_between(discord_server, ready_bot, watching, recorded):
    @app_commands.command(description="Blocks late")
    async def late(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        await asyncio.sleep(0.05)
        time.sleep(0.3)
        await interaction.followup.send("done")

    @app_commands.command(description="Answers")
    async def other(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("x")

    for command in (late, other):
        ready_bot.tree.add_command(command)
    async with watching(ready_bot, Arrivals, StallWatch) as (_, surface):
        await beats()
        blocked = await discord_server.interact(discord_server.owner.slash("late"))
        await discord_server.interact(discord_server.owner.slash("other"))
        await blocked.answered()
        await beats()
        findings = surface.findings()
    (stall,) = [one for one in recorded("discord.stalls") if one.operation.endswith(" late")]
    assert stall.metadata["during"] == "late"
    assert (findings[0].well, findings[0].listed) == (True, True)  # it is past: the doctor judges the loop of now
    assert "during late" in findings[0].text
    assert "asyncio.to_thread" in findings[0].advice


async def test_a_listener_that_blocks_is_named(discord_server, ready_bot, watching, recorded):
    def work() -> None:
        time.sleep(0.25)

    async def on_message(message: discord.Message) -> None:
        work()

    ready_bot.add_listener(on_message)
    async with watching(ready_bot, StallWatch):
        await beats()
        await discord_server.say("hello")
        await asyncio.sleep(0.1)
        await beats()
    named = [one for one in recorded("discord.stalls") if one.operation.endswith(" work")]
    assert [one.metadata["during"] for one in named] == ["on_message"]


async def test_blocking_in_a_plain_callback_and_in_python_code_is_named(ready_bot, watching, recorded):
    def spin() -> None:
        until = time.perf_counter() + 0.25
        while time.perf_counter() < until:
            pass

    async with watching(ready_bot, StallWatch):
        await beats()
        asyncio.get_running_loop().call_soon(spin)
        await beats(6)
    named = [one for one in recorded("discord.stalls") if one.operation.endswith(" spin")]
    assert named
    assert named[0].metadata["during"] == ""


async def test_c_code_that_keeps_the_interpreter_is_named_by_its_caller_or_reported_without_a_stack(
    ready_bot, watching, recorded, monkeypatch
):
    def crunch() -> None:
        began = time.process_time()
        size = 10_000_000
        while time.process_time() - began < 0.4:
            began = time.process_time()
            sum(range(size))  # one call into C, which never lets another thread run
            size *= 2

    # A busy machine gives this process too little CPU time to prove by the usual share that it ran.
    monkeypatch.setattr("cogmeter.watch.event_loop.watchdog.BUSY", 0.01)
    async with watching(ready_bot, StallWatch):
        await beats()
        crunch()
        await beats()
    stall = max(recorded("discord.stalls"), key=lambda one: one.duration_ms)
    assert stall.operation == "(no stack: C code held the interpreter)" or stall.operation.endswith(" crunch")


async def test_a_loop_that_is_not_blocked_records_nothing_but_its_lag(ready_bot, watching, recorded):
    async with watching(ready_bot, StallWatch, stall_threshold=60_000) as surface:
        await asyncio.sleep(0.7)
        assert surface.watchdog.blocked_since_ns is None
        gauges = surface.sample()
        assert surface.sample() == {}
        assert surface.lag.buckets.sum() > 0
    assert recorded("discord.stalls") == []
    assert 0 <= gauges["loop.lag_p50_ms"] <= gauges["loop.lag_p99_ms"] <= gauges["loop.lag_max_ms"]


async def test_another_thread_can_ask_since_when_the_loop_is_blocked(ready_bot, watching):
    asked: list[int | None] = []

    async with watching(ready_bot, StallWatch) as surface:
        await beats()
        began_ns = now_ns()
        asker = threading.Thread(
            target=lambda: (time.sleep(0.4), asked.append(surface.watchdog.blocked_since_ns)), name="asker"
        )
        asker.start()
        time.sleep(0.6)
        asker.join()
        await beats()
        assert surface.watchdog.blocked_since_ns is None
    assert asked[0] is not None
    assert abs(asked[0] - began_ns) < 0.2e9


async def until(condition) -> None:
    """Wait for a condition: ``stop()`` does not wait longer than JOIN_S for a thread that gets no CPU time."""
    async with asyncio.timeout(60):
        while not condition():
            gc.collect()
            await asyncio.sleep(0.02)


async def test_removal_leaves_no_thread_and_no_timer(ready_bot, watching):
    await until(lambda: threads() == [])  # of the tests before
    for _ in range(20):
        async with watching(ready_bot, StallWatch) as surface:
            assert len(threads()) == 1
            assert threads()[0].daemon
        await until(lambda: threads() == [])
    watchdog = weakref.ref(surface.watchdog)
    del surface
    await until(lambda: watchdog() is None)


async def test_an_ended_thread_is_a_finding(ready_bot, watching):
    async with watching(ready_bot, StallWatch) as surface:
        assert surface.findings()[0].well
        surface.watchdog.stop()
        assert not surface.findings()[0].well


async def test_places_are_bounded(ready_bot, watching, recorded):
    async with watching(ready_bot, StallWatch, stall_threshold=60_000) as surface:
        for number in range(MOST_PLACES + 5):
            surface._stalled(BlockedLoop(0, 10**9, f"cogs/a.py:{number} run", (), None, ""))
    names = [one.operation for one in recorded("discord.stalls")]
    assert names.count(OTHER_PLACES) == 5
    assert len(set(names)) == MOST_PLACES + 1


@pytest.mark.parametrize("kind", [commands.Bot, commands.AutoShardedBot])
def test_a_loop_that_ends_without_removal_ends_the_thread(kind, context):
    async def main() -> StallWatch:
        surface = StallWatch(context(kind("!", intents=discord.Intents.none())))
        await surface.install()
        return surface

    surface = asyncio.run(main())
    until = time.perf_counter() + 5
    while surface.watchdog.alive and time.perf_counter() < until:
        time.sleep(0.02)
    assert not surface.watchdog.alive
    surface.watchdog.stop()
