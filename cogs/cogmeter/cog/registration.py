"""Adds the command group to the client's tree and registers it with Discord. If that fails, monitoring continues.

The host's commands have priority: without a free place in the tree the group is left out. When the host later adds a
command that needs its place, the group is removed again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import discord
from discord import app_commands

from cogmeter.diagnosis import Finding
from cogmeter.recording.background import detached
from cogmeter.recording.operation import error_text
from cogmeter.settings import env_name
from cogmeter.watch.client import tree_of
from cogmeter.watch.hook import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    Tree: TypeAlias = app_commands.CommandTree[Any]

MISSING_ACCESS: Final = 50001
TOO_MANY_COMMANDS: Final = 30032
TOO_MANY_A_DAY: Final = 30034

ABSENT: Final = "commands"  # the finding about a group that is not in the tree
UNKNOWN: Final = "registration"  # the finding about a group that Discord does not know

_logger = logging.getLogger("cogmeter.cog")


class Registration:
    """The command group's place in the client's tree and its registration with Discord. No method raises."""

    def __init__(
        self,
        bot: discord.Client,
        group: app_commands.Group,
        guild: discord.Object | None,
        *,
        sync: bool,
        tree: Tree | None = None,
    ) -> None:
        """Without ``tree``, use the client's own."""
        self._bot = bot
        self._tree = tree
        self._group = group
        self._guild = guild
        self._sync = sync
        self._task: asyncio.Task[None] | None = None
        self._left_out: Finding | None = None
        self._problem: Finding | None = None  # of registering the group with Discord
        self._registered = False
        self._hooks: list[Hook] = []

    @property
    def offered(self) -> bool:
        """Return whether the group is in the client's tree."""
        return self._left_out is None and self._in_tree()

    def offer(self) -> None:
        """Add the group to the tree, once there is one; if the tree refuses it, log the reason and leave it out."""
        if self._tree is None:
            self._tree = tree_of(self._bot)
        tree = self._tree
        if tree is None or self._hooks or self._left_out is not None:
            return
        try:
            tree.add_command(self._group, guild=self._guild)
            if not self._in_tree():
                raise LookupError("the tree does not contain the command")
        except Exception as error:  # noqa: BLE001 - a host's tree may raise anything; monitoring continues
            self._withdraw()
            self._leave_out(error)
            return
        # Hooks on the tree object, because the host calls its methods; the commands of a cog pass add_command, too.
        self._hooks = [
            Hook(f"command tree's {name}", tree, name, self._yielding) for name in ("add_command", "copy_global_to")
        ]
        for hook in self._hooks:
            hook.install()

    def begin(self) -> None:
        """Register the commands in the background, or check that they are registered; once per load."""
        self.offer()  # in case a plain client created its tree after the start
        if self._task is None and self.offered:
            self._task = detached(self._run(), name="cogmeter-registration")

    async def end(self) -> None:
        """Cancel the registration and remove the group from the tree."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        for hook in reversed(self._hooks):
            hook.remove()
        self._hooks = []
        self._withdraw()

    def findings(self) -> list[Finding]:
        """Return the doctor's findings about the group."""
        if self._left_out is not None:
            return [self._left_out]
        if self._tree is None:
            return [Finding(ABSENT, well=True, text=f"no /{self._group.name}: the client has no command tree")]
        if not self._in_tree():
            text = f"/{self._group.name} is not in the bot's command tree any more: it was replaced or removed"
            return [_finding(text, f"Set {env_name('command_group')} to another name, or load the extension last")]
        if self._problem is not None:
            return [self._problem]
        known = "registered with Discord" if self._registered else "in the command tree"
        return [Finding(ABSENT, well=True, text=f"/{self._group.name} is {known}")]

    def _in_tree(self) -> bool:
        try:
            tree = self._tree
            return tree is not None and tree.get_command(self._group.name, guild=self._guild) is self._group
        except Exception:  # noqa: BLE001 - a host's tree may be anything
            return False

    def _withdraw(self) -> None:
        if self._tree is not None and self._in_tree():
            try:
                self._tree.remove_command(self._group.name, guild=self._guild)
            except Exception:
                _logger.exception("The command tree did not remove /%s", self._group.name)

    def _leave_out(self, error: Exception) -> None:
        self._left_out = finding = self._why(error)
        _logger.warning("%s. Monitoring runs without it. %s", finding.text, finding.advice)

    def _why(self, error: Exception) -> Finding:
        name, guild, group = self._group.name, env_name("guild_id"), env_name("command_group")
        if isinstance(error, app_commands.CommandLimitReached):
            where = "the bot has" if error.guild_id is None else f"{guild}={error.guild_id}: the server has"
            advice = f"Set {guild} to a server's id: it has a limit of its own"
            if error.guild_id is not None:
                advice = f"Choose another server in {guild}, or none for all"
            text = f"/{name} is left out: {where} {error.limit} slash commands, which is Discord's limit"
            return _finding(text, f"{advice}. Or remove one command")
        if isinstance(error, app_commands.CommandAlreadyRegistered):
            text = f"/{name} is left out: {group}={name}, and the bot has a /{name} of its own"
            return _finding(text, f"Set {group} to another name")
        text = f"/{name} is left out: the bot's command tree ({type(self._tree).__name__}) refused it: {_line(error)}"
        return _finding(text, "See why its add_command refuses a group; until then use the dashboard or `cogmeter`")

    def _yielding(self, original: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
        """Wrap a method of the tree: if the host's call fails because of our group, remove it and call again."""

        def call(*arguments: Any, **options: Any) -> Any:
            try:
                return original(*arguments, **options)
            except (app_commands.CommandLimitReached, app_commands.CommandAlreadyRegistered) as error:
                if not hook.active or not self.offered:
                    raise
                self._withdraw()
                try:
                    result = original(*arguments, **options)
                except Exception:
                    self._put_back(hook)  # the group was not the reason
                    raise
                self._leave_out(error)
                return result

        return call

    def _put_back(self, hook: Hook) -> None:
        try:
            if self._tree is not None:
                self._tree.add_command(self._group, guild=self._guild)
        except Exception as error:  # noqa: BLE001 - the caller raises the host's own error
            hook.fault(error)

    async def _run(self) -> None:
        tree, name = self._tree, self._group.name
        if tree is None:
            return
        try:
            if self._sync:
                registered = await tree.sync(guild=self._guild)
                _logger.info("Registered %d commands with Discord", len(registered))
                self._registered = True
                return
            names = {command.name for command in await tree.fetch_commands(guild=self._guild)}
        except Exception as error:  # noqa: BLE001 - a host's tree, its translator, or the network
            self._problem = problem = self._failed(error)
            _logger.warning("%s. %s", problem.text, problem.advice)
            return
        self._registered = name in names
        if not self._registered:
            where = "" if self._guild is None else f"guild=discord.Object({self._guild.id})"
            advice = f"call `await bot.tree.sync({where})` once, or set PERFORMANCE_SYNC_COMMANDS=true"
            self._problem = _finding(
                f"/{name} is not registered with Discord yet", f"{advice[0].upper()}{advice[1:]}", name=UNKNOWN
            )
            _logger.warning("/%s is not registered with Discord yet: %s", name, advice)

    def _failed(self, error: Exception) -> Finding:
        done = "registered" if self._sync else "looked up"
        text = f"/{self._group.name} could not be {done} with Discord: {_line(error)}"
        return _finding(text, self._advice(error), name=UNKNOWN)

    def _advice(self, error: Exception) -> str:
        code = getattr(error, "code", 0)
        if isinstance(error, discord.Forbidden) or code == MISSING_ACCESS:
            where = "" if self._guild is None else f" to the server {env_name('guild_id')}={self._guild.id}"
            return f"Invite the bot{where} again with the scope `applications.commands`"
        if code == TOO_MANY_COMMANDS:
            return f"Remove one command, or set {env_name('guild_id')} to a server's id: it has a limit of its own"
        if code == TOO_MANY_A_DAY:
            return "Discord allows 200 new commands a day: sync again tomorrow"
        if isinstance(error, discord.HTTPException) and 400 <= error.status < 500 and error.status != 429:
            return "Correct what Discord names, then reload the extension or call `await bot.tree.sync()`"
        return "Reload the extension to try again, or call `await bot.tree.sync()`"


def _finding(text: str, advice: str, *, name: str = ABSENT) -> Finding:
    return Finding(name, well=False, text=text, advice=advice)


def _line(error: Exception) -> str:
    """Return the text of an exception in one line."""
    return " ".join(error_text(error).split())
