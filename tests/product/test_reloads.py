"""Every surface is on: a hundred reloads, and an unload below other tools' wrappers, leave all of Python as it was."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import types

import aiohttp
import discord
import httpx
import pytest
from discord.ext import commands

import cogmeter
from cogmeter.settings import Settings, env_name

EXTENSION = "cogmeter.cog"
PACKAGES = ("aiohttp", "apscheduler", "asyncio", "discord", "httpcore", "httpx", "logging", "threading")
CODE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, classmethod, staticmethod, property)
RELOADS = 100


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for field in Settings.model_fields:
        monkeypatch.delenv(env_name(field), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bot():
    bot = commands.Bot("!", intents=discord.Intents.all(), help_command=None)

    @bot.tree.command()
    async def ask(interaction: discord.Interaction):
        """Logs an error, and loses a task."""
        logging.getLogger("host").error("no answer")
        asyncio.create_task(fail())  # noqa: RUF006 - nobody keeps it, nobody awaits it
        await interaction.response.send_message("sorry")

    async def fail():
        raise LookupError("lost")

    return bot


def code_of(owner):
    """The functions and descriptors of a class or module, by name."""
    return {name: value for name, value in vars(owner).items() if isinstance(value, CODE)}


def classes_of(modules):
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    return {kind for kind in found if kind.__module__.partition(".")[0] in PACKAGES}


def everything(bot):
    """Every function that anything of the process could have replaced, and every handler."""
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in PACKAGES]
    loop = asyncio.get_running_loop()
    loggers = [logging.root, *(one for one in logging.root.manager.loggerDict.values() if hasattr(one, "handlers"))]
    return {
        **{(owner.__name__, name): value for owner in modules for name, value in code_of(owner).items()},
        **{
            (kind.__module__, kind.__qualname__, name): value
            for kind in classes_of(modules)
            for name, value in code_of(kind).items()
        },
        **{("handlers", one.name): (tuple(one.handlers), tuple(one.filters)) for one in loggers},
        "loop handler": loop.get_exception_handler(),
        "task factory": loop.get_task_factory(),
        "loop": frozenset(getattr(loop, "__dict__", {})),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.gettrace(), threading.gettrace()),
        **{
            (type(part).__name__, "attributes"): frozenset(vars(part))
            for part in (bot, bot.tree, bot.http, bot._connection)
            if hasattr(part, "__dict__")
        },
        "listeners": {name: tuple(listeners) for name, listeners in bot.extra_events.items() if listeners},
    }


def changed(before, after):
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.timeout(300)
async def test_a_hundred_reloads_leave_everything_as_it_was(discord_server, bot):
    async with discord_server.running(bot):
        await bot.load_extension(EXTENSION)  # imports what it needs
        watched = {surface.name for surface in bot.get_cog("cogmeter").monitor.watcher.surfaces}
        hooks = sum(len(surface.hooks) for surface in bot.get_cog("cogmeter").monitor.watcher.surfaces)
        await bot.unload_extension(EXTENSION)
        before = everything(bot)
        await bot.load_extension(EXTENSION)
        loaded = everything(bot)
        for _ in range(RELOADS):
            await bot.reload_extension(EXTENSION)
        await bot.unload_extension(EXTENSION)
        after = everything(bot)
    assert {"http", "logged errors", "unhandled errors", "rest", "listeners"} <= watched
    assert len(changed(before, loaded)) > hooks / 2  # the comparison sees hooks
    assert changed(before, after) == set()


class Foreign:
    """The hooks of another tool, on top of cogmeter's; each calls what it found."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.monkeypatch = monkeypatch

    def wrap(self, owner, name):
        original = getattr(owner, name)

        def wrapper(*arguments, **options):
            self.calls.append(name)
            return original(*arguments, **options)

        self.monkeypatch.setattr(owner, name, wrapper)
        return owner, name, wrapper


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_wrappers_of_other_tools_stay_and_work_after_an_unload(discord_server, bot, monkeypatch):
    server, foreign, seen = discord_server, Foreign(monkeypatch), []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))
    loop.set_exception_handler(lambda loop, report: seen.append(type(report.get("exception"))))
    async with server.running(bot):
        await bot.load_extension(EXTENSION)
        await bot.tree.sync()
        wrappers = [
            foreign.wrap(owner, name)
            for owner, name in (
                (logging.Logger, "callHandlers"),
                (threading, "excepthook"),
                (sys, "unraisablehook"),
                (aiohttp.ClientSession, "_request"),
                (httpx.AsyncClient, "send"),
                (httpx.Client, "send"),
            )
        ]
        handler = loop.get_exception_handler()
        await bot.unload_extension(EXTENSION)
        assert [vars(owner)[name] is wrapper for owner, name, wrapper in wrappers] == [True] * len(wrappers)
        assert loop.get_exception_handler() is handler
        cogmeter.default_recorder.errors.take()
        cogmeter.default_recorder.buffer.forked()
        await use(server, seen)
        assert {"callHandlers", "excepthook", "_request", "send"} <= set(foreign.calls)
        assert cogmeter.default_recorder.errors.take() == []
        assert len(cogmeter.default_recorder.buffer) == 0
        await bot.load_extension(EXTENSION)
        monitor = bot.get_cog("cogmeter").monitor
        await use(server, seen)
        await monitor.flusher.flush()
        groups = {(one.kind.value, one.type): one.total for one in await monitor.store.errors.groups(0, 2**62)}
        requests = (await monitor.service("http.localhost")).total_operations
        await bot.unload_extension(EXTENSION)
    loop.set_exception_handler(None)
    assert groups == {("logged", "logging.ERROR"): 1, ("unhandled", "LookupError"): 1, ("unhandled", "OSError"): 1}
    assert requests == 3


async def use(server, seen):
    """A command that logs and loses a task, a thread that dies, and a request of each client to another host."""
    seen.clear()
    await (await server.interact(server.owner.slash("ask"))).answered()

    def die():
        raise OSError("dead")

    thread = threading.Thread(target=die)
    thread.start()
    await asyncio.to_thread(thread.join)
    address = f"{server.url}/nothing".replace("127.0.0.1", "localhost")  # another host than Discord
    async with aiohttp.ClientSession() as session, session.get(address):
        pass
    async with httpx.AsyncClient() as client:
        await client.get(address)
    with httpx.Client() as client:
        await asyncio.to_thread(client.get, address)
    assert sorted(kind.__name__ for kind in seen) == ["LookupError", "OSError"]
