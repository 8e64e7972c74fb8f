"""All slash commands of cogmeter, found without a bot: for the pictures and the test of docs/commands.md."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from discord import app_commands

from cogmeter.cog.perf import FAMILIES


def all_commands() -> dict[str, app_commands.Command[Any, ..., Any]]:
    """Return each command by its full name, such as ``perf thresholds set``, in the order of registration."""
    group = app_commands.Group(name="perf", description="How this bot performs")
    # A family uses the responder only in its commands, and to register its answers.
    responder: Any = SimpleNamespace(answers={})
    for add in FAMILIES:
        add(group, responder)
    return {
        command.qualified_name: command
        for command in group.walk_commands()
        if isinstance(command, app_commands.Command)
    }


def picture_of(name: str) -> str:
    """Return the file name of the picture of a command: ``perf-thresholds-set.png``."""
    return f"{name.replace(' ', '-')}.png"
