"""What is recorded, stored and kept, and at which intervals jobs run."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import discord
import httpx
from discord import app_commands, ui
from discord.ext import tasks
from factories import make_errors

import cogmeter
from cogmeter.monitor import jobs
from cogmeter.monitor.monitor import Monitor
from cogmeter.monitor.process_name import process_of
from cogmeter.query.query import now_us
from cogmeter.startup import StartupGuard, open_spool
from cogmeter.watch.memory import memory
from cogmeter_bot.settings import discord_token
from cogmeter_storage.clock import Clock
from cogmeter_storage.model import DAY_US, HOUR_US
from cogmeter_storage.process import Process
from cogmeter_storage.spool import Spool
from setting_effects.place import Place, Watched, flushed, record, until


@app_commands.command(description="Answers")
async def ask(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("42")


class Confirm(ui.View):
    """A persistent view."""

    @ui.button(label="Yes", custom_id="confirm:yes")
    async def yes(self, interaction: discord.Interaction, _button: Any) -> None:
        await interaction.response.defer()


async def commands_recorded(place: Place) -> object:
    one = await place.watched()
    one.bot.tree.add_command(ask)
    await one.pressed("ask")
    return one.recorded("discord.commands")


async def _spool(place: Place) -> Spool | None:
    """The spool of a process that shares its store."""
    store: Any = SimpleNamespace(process=Process("one"))
    spool = await open_spool(store, place.settings(), StartupGuard(Counter()))
    if spool is not None:
        place.stack.push_async_callback(spool.close)
    return spool


async def bytes_of_the_spool(place: Place) -> object:
    spool = await _spool(place)
    return None if spool is None else spool.max_bytes


async def path_of_the_spool(place: Place) -> object:
    spool = await _spool(place)
    return spool is not None and spool.path.as_posix()


async def process_name(place: Place) -> object:
    one = await place.watched()
    return process_of(one.bot, place.settings(), "").name


async def components_recorded(place: Place) -> object:
    one = await place.watched()
    channel = one.bot.guilds[0].text_channels[0]
    shown = await channel.send("Sure?", view=Confirm(timeout=None))
    message = one.server.world.messages[str(channel.id)][str(shown.id)]
    await (await one.server.interact(one.server.owner.button(message, "confirm:yes"))).answered()
    await asyncio.sleep(0)
    return one.recorded("discord.components")


async def acknowledgements_recorded(place: Place) -> object:
    one = await place.watched()
    one.bot.tree.add_command(ask)
    await one.pressed("ask")
    return one.recorded("discord.acknowledgement")


async def listeners_recorded(place: Place) -> object:
    one = await place.watched()
    heard = []

    async def on_message(message: discord.Message) -> None:
        heard.append(message)

    one.bot.add_listener(on_message)
    await one.server.say("hello")
    await until(lambda: heard)
    await asyncio.sleep(0)
    return [name.split()[0] for name in one.recorded("discord.listeners")]


async def loops_recorded(place: Place) -> object:
    one, rounds = await place.watched(), []

    @tasks.loop(count=1)
    async def poll() -> None:
        rounds.append(1)

    poll.start()
    await until(lambda: rounds and not poll.is_running())
    return [name.rpartition(".")[2] for name in one.recorded("discord.tasks")]


async def rest_recorded(place: Place) -> object:
    one = await place.watched()
    await one.bot.guilds[0].text_channels[0].send("hello")
    return one.recorded("discord.rest")


async def http_recorded(place: Place) -> object:
    receiver = await place.receiver()
    one = await place.watched()
    async with aiohttp.ClientSession() as session, session.get(receiver.url("/feed")) as response:
        await response.read()
    return [name for name in one.recorder.names if name[0].startswith("http.")] != []


async def tokens_recorded(place: Place) -> object:
    one = await place.watched()
    answer = {
        "id": "chatcmpl-of-a-setting",
        "model": "gpt-4o",
        "choices": [{"finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3},
    }
    network = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with httpx.AsyncClient(transport=network) as client:
        await client.post("https://api.openai.com/v1/chat/completions")
    found = [extra[1].get("tokens_in") for extra in one.recorder.buffer.rows[4::5] if extra and extra[1]]
    return [tokens for tokens in found if tokens is not None]


async def gateway_sampled(place: Place) -> object:
    one = await place.watched()
    return one.watcher.sample().get("gateway.shards_connected")


async def resources_sampled(place: Place) -> object:
    one = await place.watched()
    return one.watcher.sample().get("resources.memory_bytes", 0) > 0


async def memory_limit(place: Place) -> object:
    one = await place.watched()
    return one.watcher.sample()["resources.memory_limit_bytes"]


async def objects_counted(place: Place) -> object:
    """How often live objects were counted in the first hour, by a clock that is set forward."""
    one = await place.watched()
    place.monkeypatch.setattr(memory, "PAUSE_S", 0.0)
    place.monkeypatch.setattr(memory, "now_ns", lambda: time.perf_counter_ns() + 3_600 * 10**9)
    one.watcher.sample()
    watches = [surface for surface in one.watcher.surfaces if isinstance(surface, memory.MemoryWatch)]
    for watch in watches:
        if watch._task is not None:
            await watch._task
    return sum(len(watch.samples) for watch in watches)


async def changes_marked(place: Place) -> object:
    one = await place.watched()
    (place.folder / "of_a_setting.py").write_text("async def setup(bot):\n    pass\n")
    place.monkeypatch.syspath_prepend(str(place.folder))
    place.monkeypatch.setattr(sys, "dont_write_bytecode", True)
    await one.bot.load_extension("of_a_setting")
    await one.bot.unload_extension("of_a_setting")
    sys.modules.pop("of_a_setting", None)
    return [marker.name for marker in one.recorder.markers.take()]


async def logged_errors_recorded(place: Place) -> object:
    one = await place.watched()
    one.recorder.errors.enabled = True
    logging.getLogger("shop.orders").error("No route")
    return [str(batch.kind) for batch in one.recorder.errors.take()]


async def unhandled_errors_recorded(place: Place) -> object:
    one = await place.watched()
    one.recorder.errors.enabled = True
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    place.stack.callback(loop.set_exception_handler, None)

    async def refresh() -> None:
        raise LookupError("no feed")

    task = asyncio.create_task(refresh())
    await asyncio.wait([task])
    del task
    gc.collect()
    return [batch.type for batch in one.recorder.errors.take()]


async def stalls_recorded(place: Place) -> object:
    one = await place.watched()
    return await _blocked(one) > 0


async def _blocked(one: Watched) -> int:
    """Block the loop for a fifth of a second; return how many stalls were recorded."""
    for _ in range(3):
        await asyncio.sleep(0.02)
    time.sleep(0.2)
    for _ in range(5):
        await asyncio.sleep(0.02)
    return len(one.recorded("discord.stalls"))


async def people_counted(place: Place) -> object:
    """How many users the store knows of a command that two have used."""
    home = await place.home()
    home.bot.tree.add_command(ask)
    await home.bot.tree.sync()
    for person in (home.owner, home.member):
        await person.slash(home.channel, "ask")
    await home.flushed()
    store, now = home.monitor.store, now_us()
    (series,) = await store.series_ids([("discord.commands", "ask")])
    return sum(one.users for one in await store.usage.distinct(now - HOUR_US, now + HOUR_US, groups={series: 0}))


async def traces_stored(place: Place) -> object:
    """The traces of a command that takes a moment."""
    home = await place.home()
    home.bot.tree.add_command(ask)
    await home.bot.tree.sync()
    await home.owner.slash(home.channel, "ask")
    await home.flushed()
    traces = await home.monitor.store.traces(None, None, 0, limit=10)
    return [trace.operation for trace in traces]


async def recorded_when_enabled(place: Place) -> object:
    home = await place.home()
    record()
    return home.cog is not None, len(cogmeter.default_recorder.buffer.rows) > 0


async def lines_logged(place: Place) -> object:
    """The levels of the lines about a start."""
    seen: set[str] = set()

    class Handler(logging.Handler):
        def emit(self, line: logging.LogRecord) -> None:
            seen.add(line.levelname)

    logger, handler = logging.getLogger("cogmeter"), Handler()
    logger.addHandler(handler)
    place.stack.callback(logger.removeHandler, handler)
    await place.monitor()
    return sorted(seen)


async def version_marked(place: Place) -> object:
    monitor = await place.monitor()
    await flushed(monitor)
    await jobs.check_deploys(monitor)
    return [one.name for one in await monitor.store.markers(0, 2**53) if one.kind == "version"]


async def files_of_the_database(place: Place) -> object:
    await place.monitor()
    return sorted(str(path.relative_to(place.folder)) for path in place.folder.rglob("*.db"))


async def _cleaned(place: Place, age_days: int) -> tuple[Monitor, int, int]:
    """A monitor after the clean-up of an operation and an error of this age, in days; the series and the time."""
    monitor, now = await place.monitor(), now_us()
    at_us, store = now - age_days * DAY_US, monitor.store
    (series,) = await store.series_ids([("graph", "query")])
    await store.append([[(series, at_us, 5_000, 0, None, None)]], now_us=now)
    await store.errors.add([make_errors("ask", at_us)])
    await jobs.clean(monitor)
    return monitor, series, at_us


async def operations_kept(place: Place) -> object:
    """How many single operations of two days ago are left."""
    monitor, series, at_us = await _cleaned(place, 2)
    return len(await monitor.store.recent([series], at_us - 1, at_us + 1, limit=10))


async def hours_kept(place: Place) -> object:
    """The hours of the shortest time whose operations are known, three days ago."""
    monitor, series, at_us = await _cleaned(place, 3)
    totals = await monitor.store.totals(at_us, at_us + 1, groups={series: 0})
    return (totals.until_us - totals.since_us) // HOUR_US


async def days_kept(place: Place) -> object:
    """How many operations of the day five days ago are known."""
    monitor, series, at_us = await _cleaned(place, 5)
    return int((await monitor.store.totals(at_us, at_us + 1, groups={series: 0})).counts.sum())


async def errors_kept(place: Place) -> object:
    """How many groups of errors of five days ago are left."""
    monitor, _, at_us = await _cleaned(place, 5)
    return len(await monitor.store.errors.groups(at_us - DAY_US, at_us + DAY_US))


def dropped_of(count: int) -> Callable[[Place], Awaitable[object]]:
    """Return what shows how many operations are dropped of so many that the loop has no time to store."""

    async def observe(place: Place) -> object:
        monitor = await place.monitor()
        record(count)
        return monitor.recorder.buffer.dropped

    return observe


async def some_dropped(place: Place) -> object:
    return await dropped_of(60_000)(place) > 0


def runs(name: str) -> Callable[[Place], Awaitable[object]]:
    """Return what shows how often a job runs in the hour after the start, by the scheduler's own job."""

    async def observe(place: Place) -> object:
        return len(times_of(await place.monitor(), name))

    return observe


def times_of(monitor: Monitor, name: str) -> list[datetime]:
    """When the scheduler runs a job in the hour after its start."""
    job = next(job for job in monitor.schedule.jobs if job.id == name)
    times, at = [], job.next_run_time
    end = datetime.now(UTC) + timedelta(seconds=3_605)
    while at is not None and at <= end:
        times.append(at)
        at = job.trigger.get_next_fire_time(at, at)
    return times


async def samples_stored(place: Place) -> object:
    """How many samples the store has after an hour of the job that takes them."""
    monitor = await place.monitor()
    times, start_us = times_of(monitor, "samples"), now_us()
    for at in times:
        place.monkeypatch.setattr(Clock, "now_ns", lambda _, at=at: int(at.timestamp() * 1e9))
        await jobs.sample(monitor)
    name = "resources.memory_bytes"
    found = await monitor.store.samples([name], start_us - HOUR_US, start_us + 2 * HOUR_US)
    return len(found[name])


async def heartbeats(place: Place) -> object:
    """The addresses that the heartbeat's job requests, of a bot without a connection."""
    receiver = await place.receiver()
    home = await place.home()
    found = [job for job in home.monitor.schedule.jobs if job.id == "heartbeat"]
    for job in found:
        for _ in times_of(home.monitor, "heartbeat")[:3]:
            await job.func()
    return sorted({seen.path for seen in receiver.seen})


async def start_of_make_run(place: Place) -> object:
    """What ``make run`` starts."""
    place.known["token"] = "MTIzNDU2Nzg5MDEyMzQ1Njc4.AbCdEf.abcdefghijklmnopqrstuvwxyz0123456789"
    place.settings()
    return "demo" if discord_token() is None else "bot"
