"""Two bots in one process: the second is refused in a sentence, unless the first is over, however it ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import discord
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.monitor.claim import RecorderInUseError
from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import Settings

EXTENSION = "cogmeter.cog"
ENDED_LOOPS = """
import asyncio, cogmeter, discord
from discord.ext import commands

async def main(number):
    bot = commands.Bot("!", intents=discord.Intents.none())
    await bot.load_extension("cogmeter.cog")
    written = bot.get_cog("cogmeter").monitor.flusher
    cogmeter.record("host", f"run {number}", duration_ms=1)
    while not written.written:
        await asyncio.sleep(0.05)
    raise ZeroDivisionError  # and nobody closes the bot

for number in range(3):
    try:
        asyncio.run(main(number))
    except ZeroDivisionError:
        print("run", number)
"""


@pytest.fixture(autouse=True)
def recorder(host_folder, monkeypatch):
    monkeypatch.setenv("PERFORMANCE_WATCH_STALLS", "false")  # a busy machine is no operation of the test
    return cogmeter.default_recorder


@pytest.fixture
def new_bot(monkeypatch):
    """Makes a bot whose database has this name."""

    def make(name, **more):
        monkeypatch.setenv("PERFORMANCE_DATABASE_URL", f"sqlite:///data/{name}.db")
        return commands.Bot("!", intents=discord.Intents.none(), **more)

    return make


def stored(name):
    with contextlib.closing(sqlite3.connect(Path("data") / f"{name}.db")) as database:
        found = database.execute("SELECT operation FROM operations WHERE service = 'host' ORDER BY id").fetchall()
    return [operation for (operation,) in found]


async def recorded(bot, operation):
    flusher = bot.get_cog("cogmeter").monitor.flusher
    written = flusher.written
    cogmeter.record("host", operation, duration_ms=1)
    async with asyncio.timeout(100):
        while flusher.written == written:
            await asyncio.sleep(0.02)


async def test_a_second_bot_is_refused_and_the_first_keeps_every_operation(new_bot):
    async with new_bot("first") as first:
        await first.load_extension(EXTENSION)
        async with new_bot("second") as second:
            with pytest.raises(commands.ExtensionFailed) as refused:
                await second.load_extension(EXTENSION)
            error = refused.value.original
            assert isinstance(error, RecorderInUseError)
            assert str(error) == (
                "cogmeter already monitors another bot in this process (not logged in, database sqlite:///data/first.db)"
                ", and one process can monitor only one bot: run this bot in a process of its own, or unload "
                "cogmeter.cog from the other bot first"
            )
            assert not second.cogs
            assert not second.tree.get_commands()
            assert not Path("data/second.db").exists()
            await recorded(first, "one")
            await first.unload_extension(EXTENSION)
            await second.load_extension(EXTENSION)
            await recorded(second, "two")
    assert (stored("first"), stored("second")) == (["one"], ["two"])


async def test_two_that_load_at_once_are_one(new_bot):
    async with new_bot("one") as first, new_bot("one") as second:
        loads = (one.load_extension(EXTENSION) for one in (first, second))
        results = await asyncio.gather(*loads, return_exceptions=True)
        (failed,) = [one for one in results if one is not None]
        assert isinstance(failed.original, RecorderInUseError)


async def test_the_same_bot_reloads_and_a_failed_load_leaves_the_place_free(new_bot, monkeypatch):
    async with new_bot("same") as bot:
        for _ in range(3):
            await bot.load_extension(EXTENSION)
            await bot.reload_extension(EXTENSION)
            await recorded(bot, "x")
            await bot.unload_extension(EXTENSION)
        monkeypatch.setenv("PERFORMANCE_DATABASE_URL", "sqlite:////dev/null/none.db")
        with pytest.raises(commands.ExtensionFailed, match="PERFORMANCE_DATABASE_URL"):
            await bot.load_extension(EXTENSION)
    async with new_bot("other") as other:
        await other.load_extension(EXTENSION)
        await recorded(other, "y")


async def test_a_bot_that_was_closed_without_unloading_gives_its_place_and_database_to_the_next(new_bot, monkeypatch):
    class Hasty(commands.Bot):
        async def close(self):
            await discord.Client.close(self)  # discord.py's own would unload the extensions

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PERFORMANCE_HTTP_PORT", str(one.getsockname()[1]))
    new_bot("shared")
    first = Hasty("!", intents=discord.Intents.none())
    await first.load_extension(EXTENSION)
    cogmeter.record("host", "last words", duration_ms=1)
    await first.close()
    async with new_bot("shared") as second:
        await second.load_extension(EXTENSION)
        assert second.get_cog("cogmeter").servers.addresses  # its port is free, too
        await recorded(second, "next")
        await first.unload_extension(EXTENSION)  # too late, and harmless
        await recorded(second, "after")
    assert stored("shared") == ["last words", "next", "after"]


async def test_a_bot_may_take_the_place_of_one_that_is_closing(new_bot):
    first = new_bot("shared")
    await first.load_extension(EXTENSION)
    await recorded(first, "one")
    closing = asyncio.create_task(first.close())
    await asyncio.sleep(0)
    while not first.is_closed():
        await asyncio.sleep(0)
    async with new_bot("shared") as second:
        await second.load_extension(EXTENSION)
        await closing
        await recorded(second, "two")
    assert stored("shared") == ["one", "two"]


def test_a_bot_whose_loop_ended_without_closing_it_gives_its_place_and_database_to_the_next(clean_environment):
    done = subprocess.run(
        [sys.executable, "-c", ENDED_LOOPS],
        env=clean_environment(PERFORMANCE_DATABASE_URL="sqlite:///data/loops.db", PERFORMANCE_WATCH_STALLS="false"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.split("\n") == ["run 0", "run 1", "run 2", ""], done.stderr
    assert stored("loops") == ["run 0", "run 1", "run 2"]


async def test_monitors_with_recorders_of_their_own_run_side_by_side(tmp_path):
    bot = commands.Bot("!", intents=discord.Intents.none())
    monitors = [
        Monitor(bot, Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / name}"), recorder=Recorder())
        for name in ("a.db", "b.db")
    ]
    for one in monitors:
        await one.start()
    for one in monitors:
        one.recorder.record("host", "x", duration_ms=1)
        await one.flusher.flush()
        assert one.flusher.written == 1
    for one in monitors:
        await one.stop()
    await bot.close()
