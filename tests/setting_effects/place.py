"""A folder with an ``.env`` that has the settings of one observation, and what is built from them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord
from discord.ext import commands
from http_receiver import Receiver, serving
from loopback import Loopback

import cogmeter
from cogmeter.monitor.monitor import Monitor
from cogmeter.recording.recorder import Recorder
from cogmeter.settings import ENV_FILE, Settings, load_settings
from cogmeter.watch.watcher import Watcher
from cogmeter_storage import Store, open_store

# A machine that is busy with other tests blocks the loop: that must not be an operation, or an alert, of a test.
CALM = {
    "PERFORMANCE_WATCH_STALLS": "false",
    "PERFORMANCE_ALERT_THRESHOLD_STALL": "0",
    "PERFORMANCE_ALERT_THRESHOLD_ACKNOWLEDGEMENT": "0",
}


@dataclass
class Home:
    """A bot with the extension in a simulated Discord."""

    env: Any
    bot: commands.Bot
    guild: Any
    channel: Any
    owner: Any
    member: Any  # has the role of ``<role>``

    @property
    def cog(self) -> Any:
        return self.bot.get_cog("cogmeter")

    @property
    def monitor(self) -> Monitor:
        return self.cog.monitor

    async def flushed(self) -> None:
        await flushed(self.monitor)


@dataclass
class Place:
    """``values`` are written to ``.env``; ``<url>``, ``<channel>`` and the like stand for what ``known`` has."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    stack: AsyncExitStack
    values: Mapping[str, str]
    known: dict[str, object] = field(default_factory=dict)

    def settings(self) -> Settings:
        """Write ``.env`` and read the settings from it."""
        text = "".join(f"{name}={value}\n" for name, value in {**CALM, **self.values}.items())
        for word, meant in self.known.items():
            text = text.replace(f"<{word}>", str(meant))
        (self.folder / ENV_FILE).write_text(text, encoding="utf-8")
        return load_settings()

    async def store(self) -> Store:
        """A store of its own."""
        store = await open_store(f"sqlite:///{self.folder / 'own.db'}")
        self.stack.push_async_callback(store.close)
        return store

    async def receiver(self, word: str = "url") -> Receiver:
        """A receiver on this machine; its address is known as ``word``."""
        receiver = await self.stack.enter_async_context(serving())
        self.known[word] = receiver.url("")
        return receiver

    def thread_receiver(self) -> list[str]:
        """The paths that a server gets which needs no event loop; its address is known as ``url``."""
        paths: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                paths.append(self.path)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.stack.callback(thread.join)
        self.stack.callback(server.server_close)
        self.stack.callback(server.shutdown)
        self.known["url"] = f"http://127.0.0.1:{server.server_port}"
        return paths

    async def monitor(self) -> Monitor:
        """A started monitor of a bot that is not logged in; it uses the package's recorder."""
        bot = commands.Bot("!", intents=discord.Intents.default())
        monitor = Monitor(bot, self.settings())
        await monitor.start()
        self.stack.push_async_callback(bot.close)
        self.stack.push_async_callback(monitor.stop)
        return monitor

    async def home(self) -> Home:
        """A bot that has loaded the extension, which read ``.env``; ids are known as ``<guild>``, ``<channel>``..."""
        bot = commands.Bot("!", intents=discord.Intents.default(), owner_id=1)
        env = await self.stack.enter_async_context(simcord.run(bot, settle_timeout=60))
        guild = env.create_guild("home")
        channel, owner = guild.create_text_channel("ops"), env.create_user("owner")
        role, member = guild.create_role("ops"), env.create_user("member")
        home = Home(env, bot, guild, channel, guild.add_member(owner), guild.add_member(member, roles=[role]))
        bot.owner_id = owner.id
        self.known |= {"guild": guild.id, "channel": channel.id, "role": role.id, "user": member.id}
        self.settings()
        await bot.load_extension("cogmeter.cog")
        await env.settle()
        self.stack.push_async_callback(_unloaded, bot)
        return home

    async def watched(self) -> Watched:
        """A bot on the loopback Discord whose activity is watched; what it recorded stays in the buffer."""
        server = await self.stack.enter_async_context(Loopback())
        bot = commands.Bot("!", intents=discord.Intents.all(), help_command=None)
        recorder = Recorder()
        watcher = Watcher(bot, self.settings(), recorder)
        await self.stack.enter_async_context(server.running(bot))
        await watcher.install()
        self.stack.push_async_callback(watcher.remove)
        return Watched(server, bot, watcher, recorder)


@dataclass
class Watched:
    """A watched bot."""

    server: Loopback
    bot: commands.Bot
    watcher: Watcher
    recorder: Recorder

    def recorded(self, service: str) -> list[str]:
        """The names of this service's operations, in order."""
        names = [self.recorder.names[series] for series in self.recorder.buffer.rows[::5]]
        return [operation for of, operation in names if of == service]

    async def pressed(self, command: str) -> None:
        """Let the owner use a slash command, and wait for the answer."""
        await (await self.server.interact(self.server.owner.slash(command))).answered()


async def flushed(monitor: Monitor) -> None:
    """Wait until everything that was recorded is stored."""
    await monitor.flusher.stop()
    monitor.flusher._stopping = False
    monitor.flusher.start()


def record(count: int = 1, service: str = "graph", **more: Any) -> None:
    """Record operations with the package's recorder."""
    for _ in range(count):
        cogmeter.record(service, "query", **{"duration_ms": 5, **more})


async def until(condition: Any) -> Any:
    """Wait for what happens in the background, and return it."""
    async with asyncio.timeout(60):
        while not (found := condition()):
            await asyncio.sleep(0.005)
    return found


async def _unloaded(bot: commands.Bot) -> None:
    for name in list(bot.extensions):
        await bot.unload_extension(name)
