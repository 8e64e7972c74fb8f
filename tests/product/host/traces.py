"""What a loaded extension could leave in a process and in a bot: taken before and after, and compared."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from discord.ext import commands

import cogmeter

OURS = {"cogmeter", "cogmeter_storage", "apscheduler", "aiosqlite"}


@dataclass(frozen=True)
class Traces:
    """Of the process and of the bot; two of them are equal when nothing was left behind."""

    threads: list[str]
    children: list[int]
    files: list[str]
    descriptors: int
    tasks: list[str]
    cogs: list[str]
    extensions: list[str]
    modules: list[str]
    listeners: dict[str, list[Any]]
    commands: list[Any]
    levels: dict[str, int]
    handlers: dict[str, int]

    @classmethod
    def of(cls, bot: commands.Bot, *, connected: bool = False) -> Traces:
        """Now. Of a connected bot only our tasks count, and no descriptors: its connections come and go."""
        process = psutil.Process()
        loggers = {"": logging.root, **named_loggers()}
        return cls(
            threads=sorted(one.name for one in threading.enumerate() if not one.name.startswith("asyncio_")),
            children=sorted(child.pid for child in process.children(recursive=True)),
            files=sorted(file.path for file in process.open_files()),
            descriptors=0 if connected else process.num_fds(),
            tasks=sorted(name_of(task) for task in asyncio.all_tasks() if not connected or is_ours(task)),
            cogs=sorted(bot.cogs),
            extensions=sorted(bot.extensions),
            modules=sorted(name for name in sys.modules if f"{name}.".startswith("cogmeter.cog.")),
            listeners={event: list(found) for event, found in bot.extra_events.items() if found},
            commands=[*bot.tree.walk_commands(), *bot.commands],
            levels={name: logger.level for name, logger in loggers.items() if logger.level},
            handlers={name: len(logger.handlers) for name, logger in loggers.items() if logger.handlers},
        )

    def check(self, bot: commands.Bot, *, connected: bool = False) -> None:
        """Fail, naming what differs, unless everything is as it was."""
        now = type(self).of(bot, connected=connected)
        changed = {
            name: (getattr(self, name), getattr(now, name))
            for name in self.__dataclass_fields__
            if getattr(self, name) != getattr(now, name)
        }
        assert not changed, f"left behind (before, now): {changed}"


def named_loggers() -> dict[str, logging.Logger]:
    """All loggers that somebody asked for, by name."""
    known = logging.root.manager.loggerDict
    return {name: one for name, one in known.items() if isinstance(one, logging.Logger)}


def name_of(task: asyncio.Task[Any]) -> str:
    """The coroutine that a task runs; the task's own name has a running number in it."""
    return getattr(task.get_coro(), "__qualname__", repr(task))


def is_ours(task: asyncio.Task[Any]) -> bool:
    """Whether a task runs code of ours, or of a library that only we use."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and bool(OURS & set(Path(code.co_filename).parts))


def check_origin() -> None:
    """Fail unless cogmeter is the installed wheel's, and ``bot``, ``storage`` and ``cogs`` are the host's."""
    import bot
    import cogs
    import storage

    import cogmeter_storage

    for package in (cogmeter, cogmeter_storage):
        assert Path(sys.prefix) in Path(package.__file__).parents, package.__file__
    for module in (bot, storage, cogs):
        assert Path.cwd() in Path(module.__file__).parents, module.__file__
