"""What a bot runs now is known while it runs, with its line, and is recorded once however it ends."""

from __future__ import annotations

import asyncio
from datetime import UTC

import discord
import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from discord import ui
from discord.ext import tasks

from cogmeter.recording.running import running_operation
from cogmeter.recording.waiting import RunningReader
from cogmeter.settings import Settings
from cogmeter.watch.background.jobs import Jobs
from cogmeter.watch.background.listeners import Listeners
from cogmeter.watch.background.loops import BackgroundLoops
from cogmeter.watch.interactions import tracker as tracker_module
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.interactions.tracker import NEVER_FINISHED
from cogmeter.watch.watcher import Watcher
from cogmeter_storage import Outcome

SURFACES = (Arrivals, SlashCommands, PrefixCommands, Components, Listeners, BackgroundLoops, Jobs)


@pytest.fixture
def running(recorder):
    """``await running(count)``: what runs, as soon as it is so many operations, as (service, operation, line)."""

    async def read(count):
        async with asyncio.timeout(5):
            while True:
                reader = await RunningReader.read(recorder)
                if len(reader) == count:
                    return sorted((one.service, one.operation, one.line) for one in await reader.page(100))
                await asyncio.sleep(0.01)

    return read


@pytest.fixture
def over():
    return asyncio.Event()


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def places(function, found):
    """Whether the line of each is in this function."""
    return {line.partition(",")[0].endswith(f" in {function}") for _, _, line in found} == {True}


async def test_a_slash_command_runs_from_its_arrival_to_its_end(
    discord_server, ready_bot, watching, recorder, running, recorded, over
):
    seen = []

    @ready_bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Wait."""
        seen.append(running_operation())
        await over.wait()

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("ask"))
        found = await running(1)
        over.set()
        await running(0)
    assert [one[:2] for one in found] == [("discord.commands", "ask")]
    assert places("ask", found)
    assert found[0][2].endswith(" in Event.wait")
    assert (seen[0].operation, seen[0].ended) == ("ask", True)
    assert [one.outcome for one in recorded("discord.commands")] == [Outcome.OK]


async def test_a_prefix_command_a_listener_and_an_operation_inside_run_at_once(
    discord_server, ready_bot, watching, recorder, running, over
):
    @ready_bot.command()
    async def ask(ctx):
        with recorder.operation("llm", "chat"):
            await over.wait()

    @ready_bot.listen()
    async def on_message(message):
        assert running_operation().operation.startswith("on_message")
        await over.wait()

    async with watching(ready_bot, *SURFACES):
        await discord_server.say("!ask")
        found = await running(3)
        over.set()
        await running(0)
    listener = on_message.__qualname__.rpartition("<locals>.")[2]
    assert [one[:2] for one in found] == [
        ("discord.commands", "ask"),
        ("discord.listeners", listener),
        ("llm", "chat"),
    ]
    assert {line.partition(" in ")[2].partition(",")[0] for _, _, line in found} == {"ask", "on_message"}


async def test_a_press_runs_by_the_name_of_its_view(discord_server, ready_bot, watching, recorder, running, over):
    class Confirm(ui.View):
        @ui.button(label="Yes", custom_id="confirm:yes")
        async def yes(self, interaction, button):
            assert running_operation().operation == "Confirm.yes"
            await over.wait()

    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
    async with watching(ready_bot, *SURFACES):
        sent = await channel.send("panel", view=Confirm())
        message = discord_server.world.messages[str(channel.id)][str(sent.id)]
        await discord_server.interact(discord_server.owner.button(message, "confirm:yes"))
        found = await running(1)
        over.set()
        await running(0)
    assert [one[:2] for one in found] == [("discord.components", "Confirm.yes")]
    assert places("Confirm.yes", found)


async def test_an_iteration_of_a_loop_and_a_run_of_a_job_run_with_their_lines(
    ready_bot, watching, running, recorded, over
):
    @tasks.loop(hours=1)
    async def poll():
        await over.wait()

    async def digest():
        assert running_operation().operation == "digest"
        await over.wait()

    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.start()
    try:
        async with watching(ready_bot, *SURFACES):
            poll.start()
            scheduler.add_job(digest)
            found = await running(2)
            over.set()
            await running(0)
            await until(lambda: len(recorded("discord.tasks")) == 2)
    finally:
        poll.cancel()
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)
    assert [one[:2] for one in found] == [("discord.tasks", "digest"), ("discord.tasks", "poll")]
    assert [line.partition(" in ")[2].partition(",")[0] for _, _, line in found] == ["digest", "poll"]


async def test_errors_that_were_logged_inside_are_counted_in_the_metadata(
    discord_server, ready_bot, watching, running, recorded
):
    """Whatever counts them adds to the running operation."""

    def log():
        running_operation().logged_errors += 2

    @ready_bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Log."""
        log()

    @ready_bot.command()
    async def tell(ctx):
        log()

    @ready_bot.listen()
    async def on_message(message):
        log()

    @tasks.loop(hours=1)
    async def poll():
        log()

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("ask"))
        await discord_server.say("!tell")
        poll.start()
        await until(lambda: len(recorded()) == 4)
        poll.cancel()
    assert [one.metadata.get("logged_errors") for one in recorded()] == [2] * 4


async def test_cogmeters_own_commands_do_not_run_in_the_list(discord_server, ready_bot, watching, recorder, over):
    async def callback(interaction: discord.Interaction):
        """Wait."""
        await over.wait()

    callback.__module__ = "cogmeter.cog.running"
    ready_bot.tree.add_command(discord.app_commands.Command(name="perf", description="x", callback=callback))
    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("perf"))
        await asyncio.sleep(0.05)
        assert len(await RunningReader.read(recorder)) == 0
        over.set()


async def test_a_cancelled_command_runs_no_longer(discord_server, ready_bot, watching, running, recorder):
    seen = []

    @ready_bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Wait."""
        seen.append(asyncio.current_task())
        await asyncio.sleep(60)

    async with watching(ready_bot, *SURFACES):
        await discord_server.interact(discord_server.owner.slash("ask"))
        await running(1)
        seen[0].cancel()
        await running(0)
    assert len(recorder.running) == 0


async def test_a_command_that_waits_for_a_view_or_a_message_waits_for_a_user(
    discord_server, ready_bot, recorder, running
):
    view = ui.View()

    @ready_bot.tree.command()
    async def confirm(interaction: discord.Interaction):
        """Wait for a press."""
        await view.wait()

    @ready_bot.tree.command()
    async def quiz(interaction: discord.Interaction):
        """Wait for a message."""
        await ready_bot.wait_for("message", timeout=60)

    @ready_bot.tree.command()
    async def slow(interaction: discord.Interaction):
        """Wait for nobody."""
        await asyncio.sleep(60)

    watcher = Watcher(ready_bot, Settings(_env_file=None, watch_stalls=False), recorder)
    await watcher.install()
    try:
        for name in ("confirm", "quiz", "slow"):
            await discord_server.interact(discord_server.owner.slash(name))
        await running(3)
        reader = await RunningReader.read(recorder, watcher.user_waits())
        found = {one.operation: one.for_user for one in await reader.page(10)}
    finally:
        await watcher.remove()
    assert found == {"confirm": True, "quiz": True, "slow": False}


async def test_a_command_that_never_ends_is_recorded_when_its_token_expires(
    discord_server, ready_bot, watching, running, recorded, over, monkeypatch
):
    @ready_bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Wait."""
        await over.wait()

    async with watching(ready_bot, *SURFACES) as surfaces:
        await discord_server.interact(discord_server.owner.slash("ask"))
        await running(1)
        surfaces[0].sample()
        assert recorded() == []
        monkeypatch.setattr(tracker_module, "LIFE_NS", 0)
        surfaces[0].sample()
        assert await running(0) == []
        over.set()
        await asyncio.sleep(0.05)
    assert [(one.operation, one.outcome, one.error) for one in recorded("discord.commands")] == [
        ("ask", Outcome.ERROR, NEVER_FINISHED)
    ]


async def test_commands_that_run_at_an_unload_are_recorded_once(
    discord_server, ready_bot, recorder, running, recorded, over
):
    @ready_bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Wait."""
        await over.wait()

    @ready_bot.command()
    async def tell(ctx):
        await over.wait()

    watcher = Watcher(ready_bot, Settings(_env_file=None, watch_stalls=False, watch_listeners=False), recorder)
    await watcher.install()
    await discord_server.interact(discord_server.owner.slash("ask"))
    await discord_server.say("!tell")
    await running(2)
    await watcher.remove()
    assert await running(0) == []
    over.set()
    await asyncio.sleep(0.1)
    found = sorted((one.operation, one.outcome, one.error) for one in recorded("discord.commands"))
    assert found == [("ask", Outcome.ERROR, NEVER_FINISHED), ("tell", Outcome.ERROR, NEVER_FINISHED)]


async def test_the_command_that_unloads_the_monitor_succeeds(discord_server, ready_bot, recorder, recorded):
    @ready_bot.command()
    async def reload(ctx):
        await watcher.remove()

    watcher = Watcher(ready_bot, Settings(_env_file=None, watch_stalls=False, watch_listeners=False), recorder)
    await watcher.install()
    await discord_server.say("!reload")
    await until(lambda: recorded("discord.commands"))
    assert [(one.operation, one.outcome) for one in recorded("discord.commands")] == [("reload", Outcome.OK)]
    assert len(recorder.running) == 0


async def test_a_press_that_nobody_claims_is_not_recorded_as_never_finished(
    discord_server, ready_bot, watching, recorded
):
    channel = ready_bot.get_channel(int(discord_server.world.channel["id"]))
    view = ui.View()
    view.add_item(ui.Button(label="Old", custom_id="old"))
    sent = await channel.send("panel", view=view)
    view.stop()
    message = discord_server.world.messages[str(channel.id)][str(sent.id)]
    async with watching(ready_bot, *SURFACES) as surfaces:
        await discord_server.interact(discord_server.owner.button(message, "old"))
        await asyncio.sleep(0.05)
        surfaces[0].context.tracker.give_up(but=None)
    assert NEVER_FINISHED not in {one.error for one in recorded()}
