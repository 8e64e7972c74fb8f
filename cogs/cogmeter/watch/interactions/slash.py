"""Slash commands, context menus and autocomplete: each from its arrival to its end, whoever handles its errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from discord import InteractionType, app_commands
from discord.ext import commands

from cogmeter.recording import service_names, tracing
from cogmeter.watch.hook import Hook
from cogmeter.watch.interactions.tracker import AUTOCOMPLETE, COMMAND, PendingInteraction
from cogmeter.watch.overrides import Overrides
from cogmeter.watch.surface import Surface, WatchContext, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import discord

    Invoke = Callable[..., Coroutine[Any, Any, Any]]

REFUSED: Final = "refused by the command tree's interaction_check"
UNSEEN: Final = "it failed; the exception was not seen"
TREE: Final = "command tree"
FOUND: Final = "_cs_command"  # where discord.py keeps an interaction's command, once it was found


class SlashCommands(Surface):
    """Hooks on the classes see exceptions before any error handler, and even when another replaces the handlers.

    They serve every bot of the process, so each asks first whether the interaction is this bot's. A command ends
    before its error handlers begin; what a hybrid raises is seen by ``PrefixCommands``. The receipt's label, from the
    payload, is the command's qualified name.
    """

    name = "commands"
    setting = "watch_commands"

    def __init__(self, ground: WatchContext) -> None:
        super().__init__(ground)
        self._tree = Hook(TREE, ground.bot.tree, "_call", self._called, expects=["interaction"])
        self._sees_all = True  # no command runs unseen: what the tree ends without one was refused

    def prepare(self) -> None:
        """Where a command is invoked; the tree's own call sees what fails before a command is found."""
        hybrid = commands.hybrid.HybridAppCommand
        invoke, menu = ["interaction", "namespace"], ["interaction", "arg"]
        complete = ["interaction", "name", "namespace"]
        self.hooks += [
            Hook("slash commands", app_commands.Command, "_invoke_with_namespace", self._invoked, expects=invoke),
            Hook("hybrid slash commands", hybrid, "_invoke_with_namespace", self._invoked, expects=invoke),
            Hook("context menus", app_commands.ContextMenu, "_invoke", self._invoked, expects=menu),
            Hook("autocomplete", app_commands.Command, "_invoke_autocomplete", self._invoked, expects=complete),
            self._tree,
        ]
        owners = (app_commands.Command, hybrid, app_commands.ContextMenu)
        names = ("_invoke_with_namespace", "_invoke", "_invoke_autocomplete")
        self._overrides = Overrides(self.hooks, self._invoked, [(owner, name) for owner in owners for name in names])

    def fall_back(self, failed: list[Hook]) -> None:
        """Completions have a public event; failures are then seen by the tree's hook alone, without their exception."""
        if any(hook.name != TREE for hook in failed):
            self._sees_all = False
            self.listeners.append(("on_app_command_completion", self._on_completion))
        if any(hook.name == TREE for hook in failed):
            self.listeners.append(("on_interaction", self._on_interaction))

    def _invoked(self, original: Invoke, hook: Hook) -> Invoke:
        async def invoke(command: Any, interaction: discord.Interaction, *arguments: Any) -> Any:
            receipt = self._begun(interaction, hook)
            if receipt is None or receipt.invoked:  # inside of what is recorded: an override's super(), another command
                return await original(command, interaction, *arguments)
            receipt.invoked = True
            receipt.runs += 1
            # Known here, not at the end: so is whatever the command does meanwhile.
            receipt.own = own_module(getattr(command, "callback", None))
            error: BaseException | None = None
            try:
                return await original(command, interaction, *arguments)
            except BaseException as raised:
                error = raised
                raise
            finally:
                # A hybrid whose error nobody noted was handled by discord.py: the tree's hook settles it.
                if error is not None or not interaction.command_failed or _ran_another(interaction, command):
                    self._end(receipt, error, hook)
                self._leave(receipt, error)

        return invoke

    def _called(self, original: Invoke, hook: Hook) -> Invoke:
        async def call(interaction: discord.Interaction) -> Any:
            receipt = self._begun(interaction, hook)
            if receipt is None:
                return await original(interaction)
            self._see(interaction)
            receipt.runs += 1
            token = tracing.begin(receipt)  # again, for the case that its arrival was not seen
            error: BaseException | None = None
            try:
                return await original(interaction)
            except BaseException as raised:
                error = raised
                raise
            finally:
                tracing.end(token)
                if not receipt.finished:
                    self._settle(receipt, interaction, error, hook)
                self._leave(receipt, error)

        return call

    def _begun(self, interaction: discord.Interaction, hook: Hook) -> PendingInteraction | None:
        """The receipt of an interaction that is to be recorded; a press whose callback runs a command stays a press."""
        try:
            if hook.active and interaction.client is self.ground.bot:
                receipt = self.ground.receipts.of(interaction)
                return None if receipt is None or receipt.kind not in {COMMAND, AUTOCOMPLETE} else receipt
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's command from running
            hook.fault(fault)
        return None

    def _see(self, interaction: discord.Interaction) -> None:
        """Let a command whose class has its own way to be invoked be seen, too."""
        try:
            tree, data = self.ground.bot.tree, cast("Any", interaction.data)
            if data.get("type", 1) == 1:
                self._overrides.see(tree._get_app_command_options(data)[0])  # noqa: SLF001 - interaction.command would remember it, and a host's check may still change the data
            else:
                self._overrides.see(tree._get_context_menu(data))  # noqa: SLF001 - see above
        except app_commands.AppCommandError:
            return  # it is not found
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's command from running
            self._tree.fault(fault)

    def _leave(self, receipt: PendingInteraction, error: BaseException | None) -> None:
        """The last of what runs for it has ended; what goes on elsewhere belongs to it no more."""
        receipt.runs -= 1
        if receipt.runs:
            return
        task = asyncio.current_task()
        if task is not None and isinstance(error, app_commands.AppCommandError):
            task.add_done_callback(lambda _: self.ground.receipts.close(receipt))  # its error handlers come now
        else:
            self.ground.receipts.close(receipt)

    def _end(self, receipt: PendingInteraction, error: BaseException | None, hook: Hook) -> None:
        try:
            self.ground.receipts.end(receipt, _service(receipt), receipt.label, error)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _settle(
        self, receipt: PendingInteraction, interaction: discord.Interaction, error: BaseException | None, hook: Hook
    ) -> None:
        """Record what no command hook saw: it was refused, or not found, or its hook could not be installed."""
        try:
            invoked = receipt.invoked or (not self._sees_all and hasattr(interaction, FOUND))
            receipt.own = own_module(getattr(interaction.command, "callback", None))
            if error is not None or not invoked:
                self._end_unseen(receipt, interaction, error)
            else:  # the event of its completion or error, which tells more, is on its way
                asyncio.get_running_loop().call_soon(self._give_up, receipt, interaction, hook)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)

    def _end_unseen(
        self, receipt: PendingInteraction, interaction: discord.Interaction, error: BaseException | None
    ) -> None:
        if error is None and interaction.command_failed:
            receipts, service = self.ground.receipts, _service(receipt)
            receipts.finish(receipt, service, receipt.label, outcome=Outcome.USER, error=REFUSED)
        else:
            self.ground.receipts.end(receipt, _service(receipt), receipt.label, error)

    def _give_up(self, receipt: PendingInteraction, interaction: discord.Interaction, hook: Hook) -> None:
        """No event told of its end: only an autocomplete, which has none, may have ended well."""
        try:
            well = receipt.kind == AUTOCOMPLETE and interaction.response.is_done()
            outcome, text = (Outcome.OK, None) if well else (Outcome.ERROR, UNSEEN)
            self.ground.receipts.finish(receipt, _service(receipt), receipt.label, outcome=outcome, error=text)
        except Exception as fault:  # noqa: BLE001 - it would reach the loop's exception handler
            hook.fault(fault)

    async def _on_completion(self, interaction: discord.Interaction, command: Any) -> None:
        receipt = self.ground.receipts.get(interaction.id)
        if receipt is not None and not receipt.finished:  # otherwise it is recorded, and may be forgotten
            receipt.own = own_module(getattr(command, "callback", None))
            self._end(receipt, None, self.hooks[0])

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        """Without the tree's hook, a command that is not found can still be told; a refused one cannot."""
        try:
            if interaction.type is InteractionType.application_command and interaction.command is None:
                receipt = self.ground.receipts.of(interaction)
                if receipt is not None:
                    self._end(receipt, app_commands.CommandNotFound(receipt.label, []), self._tree)
        except Exception as fault:  # noqa: BLE001 - it would reach the host's on_error
            self._tree.fault(fault)


def _ran_another(interaction: discord.Interaction, command: Any) -> bool:
    """Whether a hybrid has run another command in its context, which then has that one's failure."""
    context = getattr(interaction, "_baton", None)
    return isinstance(context, commands.Context) and context.command is not getattr(command, "wrapped", None)


def _service(receipt: PendingInteraction) -> str:
    return service_names.AUTOCOMPLETE if receipt.kind == AUTOCOMPLETE else service_names.COMMANDS
