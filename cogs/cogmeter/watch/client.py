"""The client of discord.py that is watched: its events and command tree, for a plain ``Client`` as for a ``Bot``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.watch.hook import Hook

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Listener: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]

AnyBot: TypeAlias = commands.Bot | commands.AutoShardedBot


def bot_of(client: discord.Client) -> AnyBot | None:
    """Return the client if it has extensions, cogs and prefix commands; None for a plain client."""
    return client if isinstance(client, AnyBot) else None


def tree_of(client: discord.Client) -> app_commands.CommandTree[Any] | None:
    """Return the client's command tree; None if none was created yet. A client has at most one."""
    bot = bot_of(client)
    if bot is not None:
        return bot.tree
    # discord.py passes interactions to this one; there is no public attribute.
    tree = getattr(client._connection, "_command_tree", None)  # noqa: SLF001 - see above
    return tree if isinstance(tree, app_commands.CommandTree) else None


class ClientEvents:
    """cogmeter's listeners to a client's events, in addition to the host's own.

    A bot has ``add_listener``. A plain client has one method for each event, which belongs to the host: its
    ``dispatch`` is hooked while there are listeners. discord.py calls it as a method of the client, and as an attribute
    of the connection's state and of each shard.
    """

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._listeners: dict[str, list[Listener]] = {}  # by the event's name without "on_"; of a plain client
        self.hooks: list[Hook] = []

    def add(self, event: str, listener: Listener) -> None:
        """Call ``listener`` at each event, such as ``on_ready``."""
        bot = bot_of(self._client)
        if bot is not None:
            bot.add_listener(listener, event)
            return
        if not self._listeners:
            self._hook()
        self._listeners.setdefault(event.removeprefix("on_"), []).append(listener)

    def remove(self, event: str, listener: Listener) -> None:
        """Call ``listener`` no more."""
        bot, name = bot_of(self._client), event.removeprefix("on_")
        if bot is not None:
            bot.remove_listener(listener, event)
        elif listener in self._listeners.get(name, []):
            self._listeners[name].remove(listener)
            if not self._listeners[name]:
                del self._listeners[name]
            if not self._listeners:
                self._unhook()

    def _hook(self) -> None:
        owners = {
            "client's events": (self._client, "dispatch"),
            "connection's events": (self._client._connection, "dispatch"),  # noqa: SLF001 - no public event names a lost shard
            **{f"events of shard {number}": (shard, "_dispatch") for number, shard in _shards(self._client).items()},
        }
        self.hooks = [Hook(name, owner, method, self._dispatching) for name, (owner, method) in owners.items()]
        for hook in self.hooks:
            hook.install()

    def _unhook(self) -> None:
        for hook in reversed(self.hooks):
            hook.remove()
        self.hooks = []

    def _dispatching(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        def dispatch(event: str, /, *args: Any, **kwargs: Any) -> Any:
            result = original(event, *args, **kwargs)
            if hook.active and event in self._listeners:
                try:
                    for listener in tuple(self._listeners[event]):
                        self._client._schedule_event(listener, f"on_{event}", *args, **kwargs)  # noqa: SLF001 - what Bot.dispatch calls
                except Exception as error:  # noqa: BLE001 - our fault must not lose the host's event
                    hook.fault(error)
            return result

        return dispatch


def _shards(client: discord.Client) -> dict[int, Any]:
    """Return the connected shards, which keep a reference to the client's ``dispatch``."""
    if not isinstance(client, discord.AutoShardedClient):
        return {}
    return {number: info._parent for number, info in client.shards.items()}  # noqa: SLF001 - see gateway.py
