"""The names of the commands that a bot has now, as its operations are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from cogmeter.watch.client import bot_of, tree_of
from cogmeter.watch.names import fitted
from cogmeter.watch.surface import own_module

if TYPE_CHECKING:
    from collections.abc import Iterator


def command_names(bot: discord.Client) -> set[str]:
    """Return the names of slash, context-menu, prefix and hybrid commands, without cogmeter's own and hidden ones."""
    found: list[Any] = []
    prefixed, tree = bot_of(bot), tree_of(bot)
    if prefixed is not None:
        found += [command for command in prefixed.walk_commands() if not command.hidden and not _only_groups(command)]
    if tree is not None:
        found += _of_tree(tree)
    return {fitted(command.qualified_name) for command in found if not own_module(getattr(command, "callback", None))}


def _only_groups(command: commands.Command[Any, ..., Any]) -> bool:
    """Return whether a command is a group that is meant to be used with a subcommand."""
    if isinstance(command, commands.HybridGroup):
        return True
    return isinstance(command, commands.Group) and not command.invoke_without_command


def _of_tree(tree: app_commands.CommandTree[Any]) -> Iterator[Any]:
    """Yield the commands of a tree, global ones and those of single guilds."""
    guilds = [None, *getattr(tree, "_guild_commands", {})]  # no public name
    for guild in guilds:
        place = None if guild is None else discord.Object(guild)
        for command in tree.walk_commands(guild=place):
            if not isinstance(command, app_commands.Group):
                yield command
        for kind in (discord.AppCommandType.message, discord.AppCommandType.user):
            yield from tree.walk_commands(guild=place, type=kind)
