"""Changes of the running bot: extensions and cogs that are loaded, reloaded or unloaded after start-up."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from typing import TYPE_CHECKING, Any, Final

from discord.ext import commands

from cogmeter.recording.markers import EXTENSION
from cogmeter.watch.hook import Hook
from cogmeter.watch.surface import Surface, WatchContext, own_module

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    Change = Callable[..., Coroutine[Any, Any, Any]]
    Named = Callable[[Any], str | None]  # from the call's argument to what is marked; None: nothing is

EXTENSIONS: Final = (("load_extension", "loaded"), ("reload_extension", "reloaded"), ("unload_extension", "unloaded"))
COGS: Final = (("add_cog", "added"), ("remove_cog", "removed"))


class Changes(Surface):
    """One marker for each change: the cogs of an extension are part of it, a reload is one, what is done before the bot
    is ready is its start, and what is done while it closes is its end. Our own extension is no change of the bot.

    Without the hooks, what is loaded is compared whenever samples are taken.
    """

    name = "changes"
    setting = "watch_changes"

    def __init__(self, ground: WatchContext) -> None:
        super().__init__(ground)
        self._busy: set[asyncio.Task[Any] | None] = set()  # tasks inside a change: what they do is part of it
        self._closing = False
        self._comparing = False
        self._extensions: Mapping[str, object] = {}
        self._cogs: Mapping[str, object] = {}

    def prepare(self) -> None:
        """The bot's own methods, which hosts and tools call; a subclass may have its own."""
        bot = self.ground.bot
        for method, verb in EXTENSIONS:
            self.hooks.append(Hook(f"{method} calls", bot, method, self._changes(verb, _extension)))
        for method, verb in COGS:
            self.hooks.append(Hook(f"{method} calls", bot, method, self._changes(verb, self._cog)))
        self.hooks.append(Hook("close calls", bot, "close", self._closes))

    def fall_back(self, failed: list[Hook]) -> None:  # noqa: ARG002 - half of the hooks would tell half of the changes
        """Compare what is loaded, which needs no hook, in place of all of them."""
        self._comparing = True
        self._note()

    def sample(self) -> dict[str, float]:
        """No gauges: the moment to compare."""
        if self._comparing:
            if self.ground.bot.is_ready():
                self._compare()
            self._note()
        return {}

    def _changes(self, verb: str, named: Named) -> Callable[[Change, Hook], Change]:
        """A wrapper's maker, for a method whose first argument ``named`` makes words of."""

        def wrap(original: Change, hook: Hook) -> Change:
            inspect.signature(original).bind(None)  # a host may override it and call its parameters as it likes

            async def change(*args: Any, **kwargs: Any) -> Any:
                task = asyncio.current_task()
                if not hook.active or self._comparing or task in self._busy:
                    return await original(*args, **kwargs)
                what = self._what(hook, named, args, kwargs)
                self._busy.add(task)
                try:
                    result = await original(*args, **kwargs)
                except Exception as error:
                    if verb == "reloaded" and not isinstance(error, commands.ExtensionNotLoaded):
                        self._mark("could not reload", what)  # discord.py has set the old one up anew
                    raise
                else:
                    self._mark(verb, what)
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

    def _what(self, hook: Hook, named: Named, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """What this call changes, in words; None if it is not to be marked."""
        try:
            given = args[0] if args else kwargs["name"]
            if isinstance(given, str) and given.startswith("."):
                given = importlib.util.resolve_name(given, kwargs.get("package"))
            return named(given)
        except Exception as error:  # noqa: BLE001 - our fault must not keep the host's extension from loading
            hook.fault(error)
            return None

    def _cog(self, given: Any) -> str | None:
        """A cog by itself or by its name; None for ours, and for one that is not there."""
        cog = self.ground.bot.cogs.get(given) if isinstance(given, str) else given
        return None if cog is None or own_module(type(cog)) else f"cog {cog.qualified_name}"

    def _mark(self, verb: str, what: str | None) -> None:
        if what is not None and self.ground.bot.is_ready() and not self._closing:
            self.ground.recorder.markers.add(EXTENSION, what, verb=verb)

    def _note(self) -> None:
        """Remember what is loaded now: extensions by their modules, and cogs that belong to none of them."""
        bot = self.ground.bot
        self._extensions = {name: module for name, module in bot.extensions.items() if _extension(name)}
        self._cogs = {
            name: cog
            for name, cog in bot.cogs.items()
            if self._cog(cog) and not any(_inside(type(cog).__module__, one) for one in bot.extensions)
        }

    def _compare(self) -> None:
        """Mark how what is loaded differs from what was."""
        before = self._extensions, self._cogs
        self._note()
        for kind, old, new, (came, changed, went) in (
            ("", before[0], self._extensions, ("loaded", "reloaded", "unloaded")),
            ("cog ", before[1], self._cogs, ("added", "replaced", "removed")),
        ):
            for name in {**old, **new}:
                if old.get(name) is not new.get(name):
                    self._mark(came if name not in old else changed if name in new else went, f"{kind}{name}")


def _extension(name: Any) -> str | None:
    """An extension's name; None for ours."""
    return None if _inside(str(name), "cogmeter") else str(name)


def _inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
