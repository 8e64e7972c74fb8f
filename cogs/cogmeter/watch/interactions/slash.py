"""Records slash commands, context menus and autocomplete, each from its arrival to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from discord import InteractionType, app_commands
from discord.ext import commands

from cogmeter.recording import running, service_names, tracing
from cogmeter.watch.client import tree_of
from cogmeter.watch.hook import Hook, Overrides
from cogmeter.watch.interactions.tracker import AUTOCOMPLETE, COMMAND, PendingInteraction
from cogmeter.watch.surface import Surface, WatchContext, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import discord

    Invoke = Callable[..., Coroutine[Any, Any, Any]]

REFUSED: Final = "refused by the command tree's interaction_check"
UNSEEN: Final = "it failed with an unknown exception"
TREE: Final = "command tree"
COMMAND_ATTRIBUTE: Final = "_cs_command"  # discord.py's attribute of an interaction's command


class SlashCommands(Surface):
    """One operation for each command and autocomplete.

    Hooks on the classes get exceptions before any error handler, even when another tool replaces the handlers. They
    serve every bot of the process, so each checks that the interaction is this bot's. A command ends before its error
    handlers begin; ``PrefixCommands`` gets what a hybrid raises. The label, from the payload, is the qualified name.
    """

    name = "commands"
    setting = "watch_commands"

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._tree = self._tree_hook()
        self._sees_all = True  # every command is hooked: the tree refused an interaction without a command

    def prepare(self) -> None:
        """Hook the calls of commands, and the tree's call, which may fail before a command is found."""
        hybrid = commands.hybrid.HybridAppCommand
        invoke, menu = ["interaction", "namespace"], ["interaction", "arg"]
        complete = ["interaction", "name", "namespace"]
        self.hooks += [
            Hook("slash commands", app_commands.Command, "_invoke_with_namespace", self._invoked, expects=invoke),
            Hook("hybrid slash commands", hybrid, "_invoke_with_namespace", self._invoked, expects=invoke),
            Hook("context menus", app_commands.ContextMenu, "_invoke", self._invoked, expects=menu),
            Hook("autocomplete", app_commands.Command, "_invoke_autocomplete", self._invoked, expects=complete),
        ]
        if tree_of(self.context.bot) is not None:
            self.hooks.append(self._tree)
        owners = (app_commands.Command, hybrid, app_commands.ContextMenu)
        names = ("_invoke_with_namespace", "_invoke", "_invoke_autocomplete")
        self._overrides = Overrides(self.hooks, self._invoked, [(owner, name) for owner in owners for name in names])

    def fall_back(self, failed: list[Hook]) -> None:
        """Use the public event of completions; then only the tree's hook records failures, without their exception."""
        if any(hook.name != TREE for hook in failed):
            self._sees_all = False
            self.listeners.append(("on_app_command_completion", self._on_completion))
        if any(hook.name == TREE for hook in failed):
            self.listeners.append(("on_interaction", self._on_interaction))

    def sample(self) -> dict[str, float]:
        """Hook a tree that a plain client created later. There are no gauges."""
        if self._tree not in self.hooks and tree_of(self.context.bot) is not None:
            self._tree = self._tree_hook()
            self._tree.install()
            self.hooks.append(self._tree)
        return {}

    def _tree_hook(self) -> Hook:
        return Hook(TREE, tree_of(self.context.bot), "_call", self._called, expects=["interaction"])

    def _invoked(self, original: Invoke, hook: Hook) -> Invoke:
        async def invoke(command: Any, interaction: discord.Interaction, *arguments: Any) -> Any:
            pending = self._begun(interaction, hook)
            if pending is None or pending.invoked:  # inside a recorded call: an override's super(), another command
                return await original(command, interaction, *arguments)
            pending.invoked = True
            pending.runs += 1
            # Set at the begin, so that operations inside a command of cogmeter are not recorded either.
            if own_module(getattr(command, "callback", None)):
                self.context.tracker.disown(pending)
            token = self.context.tracker.enter(pending, _service(pending))
            error: BaseException | None = None
            try:
                return await original(command, interaction, *arguments)
            except BaseException as raised:
                error = raised
                raise
            finally:
                running.leave(token)
                # discord.py handled a hybrid's error that no hook noted: the tree's hook records it.
                if error is not None or not interaction.command_failed or _ran_another(interaction, command):
                    self._end(pending, error, hook)
                self._leave(pending, error)

        return invoke

    def _called(self, original: Invoke, hook: Hook) -> Invoke:
        async def call(interaction: discord.Interaction) -> Any:
            pending = self._begun(interaction, hook)
            if pending is None:
                return await original(interaction)
            self._see(interaction)
            pending.runs += 1
            token = tracing.begin(pending)  # again, in case its arrival was not hooked
            outer = self.context.tracker.enter(pending, _service(pending))
            error: BaseException | None = None
            try:
                return await original(interaction)
            except BaseException as raised:
                error = raised
                raise
            finally:
                tracing.end(token)
                running.leave(outer)
                if not pending.finished:
                    self._settle(pending, interaction, error, hook)
                self._leave(pending, error)

        return call

    def _begun(self, interaction: discord.Interaction, hook: Hook) -> PendingInteraction | None:
        """Return the interaction if it is to be recorded; a press whose callback runs a command stays a press."""
        try:
            if hook.active and interaction.client is self.context.bot:
                pending = self.context.tracker.of(interaction)
                return None if pending is None or pending.kind not in {COMMAND, AUTOCOMPLETE} else pending
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's command from running
            hook.fault(fault)
        return None

    def _see(self, interaction: discord.Interaction) -> None:
        """Hook a command whose class overrides how it is invoked."""
        try:
            tree, data = cast("Any", tree_of(self.context.bot)), cast("Any", interaction.data)
            if data.get("type", 1) == 1:
                self._overrides.see(tree._get_app_command_options(data)[0])  # noqa: SLF001 - interaction.command would remember it, and a host's check may still change the data
            else:
                self._overrides.see(tree._get_context_menu(data))  # noqa: SLF001 - see above
        except app_commands.AppCommandError:
            return  # the command does not exist
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's command from running
            self._tree.fault(fault)

    def _leave(self, pending: PendingInteraction, error: BaseException | None) -> None:
        """Close the interaction when its last call has ended: later operations do not belong to it."""
        pending.runs -= 1
        if pending.runs:
            return
        task = asyncio.current_task()
        if task is not None and isinstance(error, app_commands.AppCommandError):
            task.add_done_callback(lambda _: self.context.tracker.close(pending))  # its error handlers run first
        else:
            self.context.tracker.close(pending)

    def _end(self, pending: PendingInteraction, error: BaseException | None, hook: Hook) -> None:
        try:
            self.context.tracker.end(pending, _service(pending), pending.label, error)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _settle(
        self, pending: PendingInteraction, interaction: discord.Interaction, error: BaseException | None, hook: Hook
    ) -> None:
        """Record an interaction without a hooked call: refused, not found, or without a working hook."""
        try:
            invoked = pending.invoked or (not self._sees_all and hasattr(interaction, COMMAND_ATTRIBUTE))
            pending.own = own_module(getattr(interaction.command, "callback", None))
            if error is not None or not invoked:
                self._end_unseen(pending, interaction, error)
            else:  # the event of its completion or error, which explains more, follows
                asyncio.get_running_loop().call_soon(self._give_up, pending, interaction, hook)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)

    def _end_unseen(
        self, pending: PendingInteraction, interaction: discord.Interaction, error: BaseException | None
    ) -> None:
        if error is None and interaction.command_failed:
            tracker, service = self.context.tracker, _service(pending)
            tracker.finish(pending, service, pending.label, outcome=Outcome.USER, error=REFUSED)
        else:
            self.context.tracker.end(pending, _service(pending), pending.label, error)

    def _give_up(self, pending: PendingInteraction, interaction: discord.Interaction, hook: Hook) -> None:
        """Record an interaction without an event of its end: only an autocomplete may have succeeded."""
        try:
            well = pending.kind == AUTOCOMPLETE and interaction.response.is_done()
            outcome, text = (Outcome.OK, None) if well else (Outcome.ERROR, UNSEEN)
            self.context.tracker.finish(pending, _service(pending), pending.label, outcome=outcome, error=text)
        except Exception as fault:  # noqa: BLE001 - it would reach the loop's exception handler
            hook.fault(fault)

    async def _on_completion(self, interaction: discord.Interaction, command: Any) -> None:
        pending = self.context.tracker.get(interaction.id)
        if pending is not None and not pending.finished:  # otherwise it is recorded already
            pending.own = own_module(getattr(command, "callback", None))
            self._end(pending, None, self.hooks[0])

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        """Record a command that was not found. Without the tree's hook a refused one cannot be recorded."""
        try:
            if interaction.type is InteractionType.application_command and interaction.command is None:
                pending = self.context.tracker.of(interaction)
                if pending is not None:
                    self._end(pending, app_commands.CommandNotFound(pending.label, []), self._tree)
        except Exception as fault:  # noqa: BLE001 - it would reach the host's on_error
            self._tree.fault(fault)


def _ran_another(interaction: discord.Interaction, command: Any) -> bool:
    """Return whether a hybrid command ran another command, whose failure its context then contains."""
    context = getattr(interaction, "_baton", None)
    return isinstance(context, commands.Context) and context.command is not getattr(command, "wrapped", None)


def _service(pending: PendingInteraction) -> str:
    return service_names.AUTOCOMPLETE if pending.kind == AUTOCOMPLETE else service_names.COMMANDS
