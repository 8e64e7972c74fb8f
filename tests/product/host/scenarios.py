"""What a host does with the extension; ``python scenarios.py NAME [bot | sharded]`` plays one and fails if it must."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import cogs
import discord
import numpy as np  # noqa: F401 - its thread pool stays once it is imported, so it has to be there from the start
from bot import make_bot
from discord import app_commands
from discord.ext import commands
from traces import Traces, check_origin

import cogmeter
import cogmeter.recording.flusher

EXTENSION = "cogmeter.cog"
DATABASE = Path("data/performance.db")
KINDS = {"bot": commands.Bot, "sharded": commands.AutoShardedBot}


async def reloads(kind: type[commands.Bot]) -> None:
    """A hundred reloads, with a thread and decorated functions recording all the while."""
    cogmeter.recording.flusher.POLL_S = (
        0.02  # how soon the flusher sees that it has to stop: a hundred times 0.2 s is long
    )
    async with make_bot(kind) as bot:
        before = Traces.of(bot)
        await bot.load_extension(EXTENSION)
        calls = await record_during(lambda: reload_times(bot, 100))
        await bot.unload_extension(EXTENSION)
        before.check(bot)
    check_database(*calls)


async def online(kind: type[commands.Bot]) -> None:
    """The same on a bot that is logged in, with a chart drawn by the worker process before it is unloaded."""
    from loopback import Loopback

    async with Loopback(shards=2 if kind is commands.AutoShardedBot else 1) as server:
        bot = make_bot(kind)
        async with server.running(bot):
            before = Traces.of(bot, connected=True)
            await bot.load_extension(EXTENSION)
            calls = await record_during(lambda: reload_times(bot, 5))
            await asyncio.sleep(1.5)  # until it is stored
            await bot.tree.sync()
            exchange = await server.interact(server.owner.slash("perf summary"))
            message = await exchange.answered(timeout_s=60)
            assert message["embeds"][0]["image"]["url"] == message["attachments"][0]["url"], message
            assert Traces.of(bot, connected=True).children, "no worker process drew the chart"
            await bot.unload_extension(EXTENSION)
            before.check(bot, connected=True)
        assert not list(server.violations), list(server.violations)
    check_database(*calls)


async def closing(kind: type[commands.Bot]) -> None:
    """A host that closes its bot without unloading anything loses nothing, and is left with nothing."""
    bot = make_bot(kind)
    before = Traces.of(bot)
    async with bot:
        await bot.load_extension(EXTENSION)
        for _ in range(10):
            await cogs.everything()
    left = Traces.of(bot)
    assert (left.threads, left.tasks, left.files) == (before.threads, before.tasks, before.files), left
    check_database(10, 0)


async def own_group(kind: type[commands.Bot]) -> None:
    """A host with its own /perf is monitored, and one line says so; with another name for ours, both are there."""
    async with make_bot(kind) as bot:

        @bot.tree.command(name="perf", description="The host's own")
        async def perf(interaction: discord.Interaction) -> None:
            """Nothing."""

        before = Traces.of(bot)
        lines: list[str] = []
        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: lines.append(record.getMessage())
        logging.getLogger("cogmeter.cog").addHandler(handler)
        await bot.load_extension(EXTENSION)
        assert bot.tree.get_command("perf") is perf
        await cogs.everything()
        await bot.unload_extension(EXTENSION)
        (line,) = lines
        assert "PERFORMANCE_COMMAND_GROUP=perf" in line, line
        assert len(line.splitlines()) == 1, line
        logging.getLogger("cogmeter.cog").removeHandler(handler)
        before.check(bot)
        with settings(PERFORMANCE_COMMAND_GROUP="speed"):
            await bot.load_extension(EXTENSION)
        assert isinstance(bot.tree.get_command("speed"), app_commands.Group)
        assert bot.tree.get_command("perf") is perf
        await bot.unload_extension(EXTENSION)
        assert bot.tree.get_command("perf") is perf
        before.check(bot)


async def switched_off(kind: type[commands.Bot]) -> None:
    """Switched off, there is no cog, thread, task, file or command, and recording costs no memory."""
    async with make_bot(kind) as bot:
        bare = Traces.of(bot)
        with settings(ENABLE_PERFORMANCE_MONITORING="false"):
            await bot.load_extension(EXTENSION)
        loaded = Traces.of(bot)
        assert loaded.extensions == [EXTENSION]
        assert loaded.cogs == bare.cogs
        for name in ("threads", "tasks", "children", "files", "commands", "listeners", "levels"):
            assert getattr(loaded, name) == getattr(bare, name), name
        for _ in range(1000):
            await cogs.everything()
        assert len(cogmeter.default_recorder.buffer) == 0
        assert not DATABASE.exists()
        await bot.unload_extension(EXTENSION)
        bare.check(bot)
        await bot.load_extension(EXTENSION)
        await cogs.everything()
    check_database(1, 0)  # what was dropped while it was switched off was meant to be, and is no longer counted


BAD_SETTINGS = (
    ("PERFORMANCE_LOG_LEVEL", "loud"),
    ("ENABLE_PERFORMANCE_MONITORING", "perhaps"),
    ("PERFORMANCE_RETENTION_HOURS", "soon"),
    ("PERFORMANCE_RETENTION_HOURS", "0"),
    ("PERFORMANCE_MAX_OPERATIONS_IN_MEMORY", "1.5"),
    ("PERFORMANCE_ALERT_THRESHOLD_ERROR_RATE", "5"),
    ("PERFORMANCE_ALERT_RESPONSE_TIME_STATISTIC", "p42"),
    ("PERFORMANCE_GUILD_ID", "home"),
    ("PERFORMANCE_OPS_ROLE_IDS", "admins"),
    ("PERFORMANCE_COMMAND_GROUP", "My Perf"),
    ("PERFORMANCE_EXPORT_FORMAT", "xml"),
    ("PERFORMANCE_DATABASE_URL", "performance.db"),
    ("PERFORMANCE_DATABASE_URL", "sqlite:///"),
    ("PERFORMANCE_DATABASE_URL", "mysql://me:secret@server/performance"),
    ("PERFORMANCE_DATABASE_URL", "postgresql://me:secret@server/performance"),
    ("PERFORMANCE_DATABASE_URL", "sqlite:///cogs"),  # a folder
    ("PERFORMANCE_DATABASE_URL", "sqlite:///bot.py"),  # no database
    ("PERFORMANCE_DATABASE_URL", "sqlite:///bot.py/data/performance.db"),  # a folder that cannot be made
    ("PERFORMANCE_DATABASE_URL", "sqlite:///busy.db"),  # another process writes it
)


async def bad_settings(kind: type[commands.Bot]) -> None:
    """Each bad setting fails the load, in a line that names it, and leaves the bot and the disk as they were."""
    source = Path("bot.py").read_bytes()
    async with make_bot(kind) as bot:
        before = Traces.of(bot)
        with another_writer("busy.db"):
            during = Traces.of(bot)
            for name, value in BAD_SETTINGS:
                with settings(**{name: value}):
                    line = await failure(bot)
                assert line.startswith(name), line
                assert "secret" not in line, line
                during.check(bot)
        Path(".env").write_text("PERFORMANCE_RETENTION_HOUR=1\nPERFORMANCE_ALERT_COOLDOWN=never\n")
        wrong, unknown = (await failure(bot, lines=2)).splitlines()
        assert "PERFORMANCE_RETENTION_HOUR" in unknown
        assert "did you mean PERFORMANCE_RETENTION_HOURS?" in unknown
        assert wrong.startswith("PERFORMANCE_ALERT_COOLDOWN='never'")
        Path(".env").unlink()
        assert Path("bot.py").read_bytes() == source
        assert not DATABASE.exists()
        await bot.load_extension(EXTENSION)
        await cogs.everything()
        await bot.unload_extension(EXTENSION)
        before.check(bot)
    check_database(1, 0)


async def reload_times(bot: commands.Bot, times: int) -> None:
    """Reload, with a moment for others in between."""
    for _ in range(times):
        await bot.reload_extension(EXTENSION)
        await asyncio.sleep(0.01)


async def record_during(work: Callable[[], Awaitable[None]]) -> tuple[int, int]:
    """Record from a thread and from decorated functions while the work goes on; how often each of them did."""
    stop, calls, beats = threading.Event(), 0, itertools.count()

    def beat() -> None:
        while not stop.wait(0.001):
            cogmeter.record("host", "beat", duration_ms=1, metadata={"number": next(beats)})

    async def call() -> None:
        nonlocal calls
        while not stop.is_set():
            await cogs.everything()
            calls += 1
            await asyncio.sleep(0.005)

    thread, task = threading.Thread(target=beat), asyncio.create_task(call())
    thread.start()
    try:
        await work()
    finally:
        stop.set()
        thread.join()
        await task
    return calls, next(beats)


def check_database(calls: int, beats: int) -> None:
    """Fail unless each recorded operation is in the database, once."""
    recorder = cogmeter.default_recorder
    assert (len(recorder.buffer), recorder.buffer.dropped, recorder.refused) == (0, 0, 0)
    with contextlib.closing(sqlite3.connect(DATABASE)) as database:
        rows = database.execute(
            "SELECT operation, metadata, outcome FROM operations WHERE service = 'host' ORDER BY id"
        ).fetchall()
    numbers = [json.loads(metadata)["number"] for name, metadata, _ in rows if name == "beat"]
    assert numbers == list(range(beats))
    found = Counter(name for name, _, _ in rows if name != "beat")
    assert found == Counter(dict.fromkeys(cogs.NAMES, calls)), (found, calls)
    assert {outcome for name, _, outcome in rows if name == "fails"} <= {"error"}
    print(f"{calls} calls of each decorated function and {beats} beats are stored")


async def failure(bot: commands.Bot, *, lines: int = 1) -> str:
    """The text of the error that the load has to fail with."""
    original: BaseException | None = None
    try:
        await bot.load_extension(EXTENSION)
    except commands.ExtensionFailed as error:
        original = error.original
    text = str(original)
    assert type(original).__name__ == "SettingsError", repr(original)
    assert len(text.splitlines()) == lines, text
    return text


@contextlib.contextmanager
def settings(**values: str) -> Iterator[None]:
    """These variables in the environment, for the time of the block."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


@contextlib.contextmanager
def another_writer(name: str) -> Iterator[None]:
    """Another process that has a database open for writing."""
    script = (
        "import asyncio, sys; from cogmeter_storage import open_store\n"
        f"async def main():\n    store = await open_store('sqlite:///{name}')\n"
        "    print('open', flush=True); sys.stdin.read(); await store.close()\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        process.communicate("", timeout=20)


SCENARIOS = (reloads, online, closing, own_group, switched_off, bad_settings)

if __name__ == "__main__":
    check_origin()
    chosen = {scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]]
    asyncio.run(chosen(KINDS[sys.argv[2] if len(sys.argv) > 2 else "bot"]))
