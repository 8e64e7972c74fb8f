"""An example: how its client is made, the events of its script, and what a monitor records of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import discord
from loopback import Loopback

COMMANDS, COMPONENTS, LISTENERS, TASKS = "discord.commands", "discord.components", "discord.listeners", "discord.tasks"
SENT = "POST /channels/{channel_id}/messages"


class Example(NamedTuple):
    """`make(server)` builds the client as the module of a bot does; `play(server, client)` is its script."""

    make: Callable[[Loopback], discord.Client]
    play: Callable[[Loopback, Any], Awaitable[None]]
    recorded: frozenset[tuple[str, str]]  # service and operation


def custom_id(components: list[dict[str, Any]], label: str) -> str:
    """The custom id of the button, select or text input with that label or placeholder, wherever it is."""
    for component in components:
        if label in (component.get("label"), component.get("placeholder")) and "custom_id" in component:
            return str(component["custom_id"])
        inner = [*component.get("components", []), component.get("accessory"), component.get("component")]
        if component.get("label") == label and component.get("component"):
            return str(component["component"]["custom_id"])
        found = custom_id([part for part in inner if part], label)
        if found:
            return found
    return ""


def button_row(server: Loopback) -> dict[str, Any]:
    """The last message of the channel."""
    return list(server.world.messages[server.world.channel["id"]].values())[-1]
