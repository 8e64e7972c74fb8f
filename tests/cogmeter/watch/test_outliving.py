"""What outlives its interaction inherits neither its person, guild nor command from it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

import discord
import pytest
from discord import app_commands, ui
from discord.ext import commands

from cogmeter.recording import tracing
from cogmeter.watch.event_loop.stalls import StallWatch
from cogmeter.watch.interactions import tracker as receipts_module
from cogmeter.watch.interactions.acknowledgement import Acknowledgement
from cogmeter.watch.interactions.arrivals import Arrivals
from cogmeter.watch.interactions.components import Components
from cogmeter.watch.interactions.prefix import PrefixCommands
from cogmeter.watch.interactions.slash import SlashCommands
from cogmeter.watch.rest.rest import Rest

SURFACES = (Arrivals, SlashCommands, PrefixCommands, Components, Acknowledgement)
WHOSE = {"user", "guild", "command", "parent"}


class Worker:
    """Works off a queue, one failing operation for each item, in the task that the first caller started."""

    def __init__(self, recorder):
        self._recorder = recorder
        self._queue = asyncio.Queue()
        self.task = None

    async def _work(self):
        while True:
            await self._queue.get()
            with contextlib.suppress(OSError), self._recorder.operation("music", "download"):
                raise OSError("no route")

    def put(self):
        if self.task is None:
            self.task = asyncio.create_task(self._work())
        self._queue.put_nowait(1)


@pytest.fixture
async def worker(recorder):
    one = Worker(recorder)
    yield one
    if one.task is not None:
        one.task.cancel()


@pytest.fixture
def surfaces(watching):
    """The surfaces of interactions, with a key for people."""

    @contextlib.asynccontextmanager
    async def install(bot, *more):
        async with watching(bot, *SURFACES, *more) as installed:
            installed[0].context.tracker.people.key = b"k" * 16
            yield installed

    return install


@pytest.fixture
def whose(recorded):
    """``whose(service)``: for each operation of it, what its metadata says of an interaction."""

    def read(service="music"):
        return [{name: one.metadata[name] for name in WHOSE & set(one.metadata)} for one in recorded(service)]

    return read


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


class Play(ui.View):
    def __init__(self, worker):
        super().__init__(timeout=None)
        self.worker = worker

    @ui.button(label="play", custom_id="play")
    async def play(self, interaction, button):
        self.worker.put()
        await interaction.response.defer()


async def start_by_slash(server, bot, worker):
    @bot.tree.command()
    async def play(interaction: discord.Interaction):
        """Play."""
        worker.put()
        await interaction.response.send_message("queued")

    await (await server.interact(server.owner.slash("play"))).answered()


async def start_by_prefix(server, bot, worker):
    @bot.command()
    async def play(ctx):
        worker.put()
        await ctx.send("queued")

    await server.say("!play")
    await server.requested("POST /channels/{channel_id}/messages")


async def start_by_button(server, bot, worker):
    message = await bot.get_channel(int(server.world.channel["id"])).send("panel", view=Play(worker))
    payload = server.world.messages[str(message.channel.id)][str(message.id)]
    await (await server.interact(server.owner.button(payload, "play"))).acknowledged()


async def start_by_autocomplete(server, bot, worker):
    @bot.tree.command()
    async def play(interaction: discord.Interaction, song: str):
        """Play."""

    @play.autocomplete("song")
    async def songs(interaction: discord.Interaction, current: str):
        worker.put()
        return []

    await (await server.interact(server.owner.autocomplete("play", "song", "a"))).acknowledged()


async def start_by_listener(server, bot, worker):
    @bot.listen()
    async def on_interaction(interaction):
        worker.put()
        await interaction.response.defer()

    message = server.world.new_message(server.world.channel["id"], server.world.bot)
    await (await server.interact(server.owner.button(message, "old"))).acknowledged()


@pytest.mark.parametrize(
    "start", [start_by_slash, start_by_prefix, start_by_button, start_by_autocomplete, start_by_listener]
)
async def test_a_worker_belongs_to_the_interaction_that_started_it_only_while_that_lasts(
    discord_server, ready_bot, surfaces, worker, whose, start
):
    async with surfaces(ready_bot):
        await start(discord_server, ready_bot, worker)
        await until(whose)
        await asyncio.sleep(0.05)
        worker.put()
        await until(lambda: len(whose()) == 2)
    first, second = whose()
    assert set(first) == WHOSE
    assert second == {}


async def test_a_command_that_fails_before_it_is_found_closes_what_its_handlers_start(
    discord_server, ready_bot, surfaces, worker, whose
):
    @ready_bot.tree.error
    async def on_error(interaction, error):
        assert isinstance(error, app_commands.CommandNotFound)
        worker.put()
        await asyncio.sleep(0)
        await interaction.response.send_message("unknown")

    async with surfaces(ready_bot):
        await (await discord_server.interact(discord_server.owner.slash("gone"))).answered()
        await discord_server.settled()
        worker.put()
        await until(lambda: len(whose()) == 2)
    assert [set(one) for one in whose()] == [WHOSE, set()]


async def test_after_fifteen_minutes_even_a_command_under_way_gives_nothing_on(
    discord_server, ready_bot, surfaces, worker, whose, monkeypatch
):
    over = asyncio.Event()

    @ready_bot.tree.command()
    async def radio(interaction: discord.Interaction):
        """Play on."""
        worker.put()
        await interaction.response.send_message("playing")
        await over.wait()

    async with surfaces(ready_bot):
        await (await discord_server.interact(discord_server.owner.slash("radio"))).answered()
        await until(whose)
        monkeypatch.setattr(receipts_module, "LIFE_NS", 0)
        worker.put()
        await until(lambda: len(whose()) == 2)
        over.set()
    assert [set(one) for one in whose()] == [WHOSE, set()]


async def test_an_operation_that_ends_after_its_interaction_is_nobodys(
    discord_server, ready_bot, surfaces, recorder, whose
):
    go, jobs = asyncio.Event(), []

    @recorder.track("music", "decorated")
    async def decorated():
        await go.wait()
        raise OSError("no route")

    async def block():
        with recorder.operation("music", "block"):
            await go.wait()
            raise OSError("no route")

    async def say():
        await go.wait()
        recorder.record("music", "said", duration_ms=60_000, error="no route")

    @ready_bot.tree.command()
    async def play(interaction: discord.Interaction):
        """Play."""
        jobs.extend(asyncio.create_task(one()) for one in (decorated, block, say))
        await interaction.response.send_message("queued")

    async with surfaces(ready_bot):
        await (await discord_server.interact(discord_server.owner.slash("play"))).answered()
        await discord_server.settled()
        go.set()
        await asyncio.gather(*jobs, return_exceptions=True)
    assert whose() == [{}, {}, {}]


async def test_a_timer_a_thread_and_the_timeout_of_a_view_are_nobodys_when_they_come(
    discord_server, ready_bot, surfaces, recorder, whose
):
    go, threads = threading.Event(), []

    def late(name):
        recorder.record("music", name, duration_ms=1.0, error="no route")

    def wait():
        go.wait(5)
        late("thread")

    class Short(ui.View):
        async def on_timeout(self):
            late("timeout")

        @ui.button(label="x")
        async def x(self, interaction, button): ...

    @ready_bot.tree.command()
    async def play(interaction: discord.Interaction):
        """Play."""
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, late, "timer")
        threads.append(asyncio.create_task(asyncio.to_thread(wait)))
        await interaction.response.send_message("queued", view=Short(timeout=0.2))

    async with surfaces(ready_bot):
        await (await discord_server.interact(discord_server.owner.slash("play"))).answered()
        await discord_server.settled()
        go.set()
        await until(lambda: len(whose()) == 3)
        await threads[0]
    assert whose() == [{}, {}, {}]


async def test_requests_and_stalls_of_a_task_that_outlasts_its_interaction_belong_to_none(
    discord_server, ready_bot, surfaces, recorded, whose
):
    go, jobs = asyncio.Event(), []

    async def refresh():
        await go.wait()
        await ready_bot.fetch_channel(int(discord_server.world.channel["id"]))
        time.sleep(0.3)

    @ready_bot.tree.command()
    async def start(interaction: discord.Interaction):
        """Start."""
        jobs.append(asyncio.create_task(refresh()))
        await interaction.response.send_message("started")

    async with surfaces(ready_bot, Rest, StallWatch):
        await (await discord_server.interact(discord_server.owner.slash("start"))).answered()
        await discord_server.settled()
        go.set()
        await jobs[0]
        await until(lambda: recorded("discord.stalls"))
    sent, fetched = recorded("discord.rest")
    assert sent.metadata["command"] == "start"
    assert fetched.operation.startswith("GET ")
    assert not WHOSE & set(fetched.metadata)
    (stall,) = recorded("discord.stalls")
    assert stall.metadata["during"].endswith("refresh")
    assert not WHOSE & set(stall.metadata)


async def test_a_task_inherits_from_the_interaction_that_it_runs_now_not_from_the_one_that_started_it(
    discord_server, ready_bot, surfaces, recorder, whose
):
    class Tree(app_commands.CommandTree):
        queue = asyncio.Queue()
        task = None

        def _from_interaction(self, interaction):
            self.task = self.task or asyncio.create_task(self.work())
            self.queue.put_nowait(interaction)

        async def work(self):
            while True:
                await self._call(await self.queue.get())

    bot = commands.Bot("!", intents=discord.Intents.all(), tree_cls=Tree)
    for name in ("one", "two"):

        async def callback(interaction: discord.Interaction):
            recorder.record("music", "x", duration_ms=1.0, error="no route")
            await interaction.response.send_message("done")

        bot.tree.add_command(app_commands.Command(name=name, description="x", callback=callback))
    async with discord_server.running(bot), surfaces(bot):
        for name in ("one", "two"):
            await (await discord_server.interact(discord_server.owner.slash(name))).answered()
        bot.tree.task.cancel()
    assert [one["command"] for one in whose()] == ["one", "two"]


async def test_a_continuing_task_records_at_full_speed_and_keeps_nothing_of_the_interaction():
    trace = tracing.Trace("play", 0)
    token = tracing.begin(trace)
    assert tracing.current().trace is trace
    trace.ended = True
    assert tracing.current() is None
    assert tracing.inherited() is None
    tracing.end(token)


async def test_a_command_of_our_own_stays_recognizable_when_it_is_over():
    trace = tracing.Trace("perf", 0)
    trace.own = trace.ended = True
    token = tracing.begin(trace)
    assert tracing.current() is None
    assert tracing.inherited().trace is trace
    tracing.end(token)
