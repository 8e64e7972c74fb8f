"""Markers for extensions and cogs that are loaded, reloaded or unloaded after start-up."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from typing import TYPE_CHECKING, Any, Final

from discord.ext import commands

from cogmeter.recording.markers import EXTENSION
from cogmeter.watch.client import AnyBot, bot_of
from cogmeter.watch.hook import Hook
from cogmeter.watch.surface import Surface, WatchContext, own_module

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    Change = Callable[..., Coroutine[Any, Any, Any]]
    Label = Callable[[Any], str | None]  # from the call's argument to the marker's name; None: no marker

EXTENSIONS: Final = (("load_extension", "loaded"), ("reload_extension", "reloaded"), ("unload_extension", "unloaded"))
COGS: Final = (("add_cog", "added"), ("remove_cog", "removed"))


class Changes(Surface):
    """One marker for each change of extensions and cogs.

    Cogs that an extension adds belong to its marker, and a reload is one change. Changes before the bot is ready or
    while it closes, and of cogmeter's own extension, are not marked. Without the hooks, the loaded extensions and cogs
    are compared whenever samples are taken.
    """

    name = "changes"
    setting = "watch_changes"
    needs_bot = True

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._busy: set[asyncio.Task[Any] | None] = set()  # tasks inside a change: their calls belong to it
        self._closing = False
        self._comparing = False
        self._extensions: Mapping[str, object] = {}
        self._cogs: Mapping[str, object] = {}

    def prepare(self) -> None:
        """Hook the methods of the bot object, which hosts and tools call; a subclass may override them."""
        bot = self.context.bot
        for method, verb in EXTENSIONS:
            self.hooks.append(Hook(f"{method} calls", bot, method, self._changes(verb, _extension)))
        for method, verb in COGS:
            self.hooks.append(Hook(f"{method} calls", bot, method, self._changes(verb, self._cog)))
        self.hooks.append(Hook("close calls", bot, "close", self._closes))

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - some of the hooks would mark some of the changes
        """Compare the loaded extensions and cogs instead of using any hook."""
        self._comparing = True
        self._note()

    def sample(self) -> dict[str, float]:
        """Compare the loaded extensions and cogs if the hooks failed. There are no gauges."""
        if self._comparing:
            if self.context.bot.is_ready():
                self._compare()
            self._note()
        return {}

    @property
    def _bot(self) -> AnyBot:
        bot = bot_of(self.context.bot)
        assert bot is not None, "this surface needs a bot"
        return bot

    def _changes(self, verb: str, label: Label) -> Callable[[Change, Hook], Change]:
        """Return the ``wrap`` of a method; ``label`` names its first argument."""

        def wrap(original: Change, hook: Hook) -> Change:
            inspect.signature(original).bind(None)  # a host may override it with other parameter names

            async def change(*args: Any, **kwargs: Any) -> Any:
                task = asyncio.current_task()
                if not hook.active or self._comparing or task in self._busy:
                    return await original(*args, **kwargs)
                name = self._changed(hook, label, args, kwargs)
                self._busy.add(task)
                try:
                    result = await original(*args, **kwargs)
                except Exception as error:
                    if verb == "reloaded" and not isinstance(error, commands.ExtensionNotLoaded):
                        self._mark("could not reload", name)  # discord.py has set up the old one again
                    raise
                else:
                    self._mark(verb, name)
                    return result
                finally:
                    self._busy.discard(task)

            return change

        return wrap

    def _closes(self, original: Change, hook: Hook) -> Change:
        async def close(*args: Any, **kwargs: Any) -> Any:
            self._closing = self._closing or hook.active
            return await original(*args, **kwargs)

        return close

    def _changed(self, hook: Hook, label: Label, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Return the name of what this call changes; None if the change is not marked."""
        try:
            argument = args[0] if args else kwargs["name"]
            if isinstance(argument, str) and argument.startswith("."):
                argument = importlib.util.resolve_name(argument, kwargs.get("package"))
            return label(argument)
        except Exception as error:  # noqa: BLE001 - our fault must not keep the host's extension from loading
            hook.fault(error)
            return None

    def _cog(self, argument: Any) -> str | None:
        """Return the label of a cog or of a cog's name; None for cogmeter's own and for an unknown one."""
        cog = self._bot.cogs.get(argument) if isinstance(argument, str) else argument
        return None if cog is None or own_module(type(cog)) else f"cog {cog.qualified_name}"

    def _mark(self, verb: str, name: str | None) -> None:
        if name is not None and self.context.bot.is_ready() and not self._closing:
            self.context.recorder.markers.add(EXTENSION, name, verb=verb)

    def _note(self) -> None:
        """Remember the loaded extensions with their modules, and the cogs outside of extensions."""
        bot = self._bot
        self._extensions = {name: module for name, module in bot.extensions.items() if _extension(name)}
        self._cogs = {
            name: cog
            for name, cog in bot.cogs.items()
            if self._cog(cog) and not any(_inside(type(cog).__module__, extension) for extension in bot.extensions)
        }

    def _compare(self) -> None:
        """Mark the differences between the loaded extensions and cogs and the remembered ones."""
        before = self._extensions, self._cogs
        self._note()
        for kind, old, new, (added, changed, removed) in (
            ("", before[0], self._extensions, ("loaded", "reloaded", "unloaded")),
            ("cog ", before[1], self._cogs, ("added", "replaced", "removed")),
        ):
            for name in {**old, **new}:
                if old.get(name) is not new.get(name):
                    self._mark(added if name not in old else changed if name in new else removed, f"{kind}{name}")


def _extension(name: Any) -> str | None:
    """Return an extension's name; None for cogmeter's own."""
    return None if _inside(str(name), "cogmeter") else str(name)


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
