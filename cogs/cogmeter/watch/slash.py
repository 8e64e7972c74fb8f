"""Slash commands, context menus and autocomplete: each from its arrival to its end, whoever handles its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from discord import InteractionType, app_commands
from discord.ext import commands

from cogmeter import services
from cogmeter.timing import now_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.receipts import Receipt, label_of
from cogmeter.watch.surface import Surface, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import discord

    Invoke = Callable[..., Coroutine[Any, Any, Any]]

REFUSED: Final = "refused by interaction_check"
UNSEEN: Final = "it failed; the exception was not seen"


class SlashCommands(Surface):
    """Hooks on the classes see exceptions before any error handler, and even when another replaces the handlers.

    They serve every bot of the process, so each asks first whether the interaction is this bot's.
    """

    name = "commands"
    setting = "watch_commands"

    def prepare(self) -> None:
        """Where a command is invoked; the tree's own call sees what fails before a command is found."""
        hybrid = commands.hybrid.HybridAppCommand
        invoke, menu = ["interaction", "namespace"], ["interaction", "arg"]
        complete = ["interaction", "name", "namespace"]
        self.hooks += [
            Hook("slash commands", app_commands.Command, "_invoke_with_namespace", self._invoked, expects=invoke),
            Hook("hybrid slash commands", hybrid, "_invoke_with_namespace", self._invoked, expects=invoke),
            Hook("context menus", app_commands.ContextMenu, "_invoke", self._invoked, expects=menu),
            Hook("autocomplete", app_commands.Command, "_invoke_autocomplete", self._completed, expects=complete),
            Hook("command tree", self.ground.bot.tree, "_call", self._called, expects=["interaction"]),
        ]

    def fall_back(self, failed: list[Hook]) -> None:
        """Completions have a public event; failures are then seen by the tree's hook alone, without their exception."""
        if any(hook.name != "command tree" for hook in failed):
            self.listeners.append(("on_app_command_completion", self._on_completion))

    def receipt_of(self, interaction: discord.Interaction) -> Receipt:
        """The interaction's receipt; one that begins now where its arrival was not seen."""
        receipt = self.ground.receipts.get(interaction.id)
        if receipt is not None:
            return receipt
        payload = {"id": interaction.id, "type": interaction.type.value, "data": interaction.data}
        return Receipt(interaction.id, interaction.type.value, label_of(payload), now_ns())

    def _invoked(self, original: Invoke, hook: Hook) -> Invoke:
        async def invoke(command: Any, interaction: discord.Interaction, argument: Any) -> Any:
            receipt = self._begun(command, interaction, hook)
            if receipt is None:
                return await original(command, interaction, argument)
            error: BaseException | None = None
            try:
                return await original(command, interaction, argument)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._ended(receipt, command.qualified_name, error, hook)

        return invoke

    def _completed(self, original: Invoke, hook: Hook) -> Invoke:
        async def complete(command: Any, interaction: discord.Interaction, name: str, namespace: Any) -> Any:
            receipt = self._begun(command, interaction, hook)
            if receipt is None:
                return await original(command, interaction, name, namespace)
            error: BaseException | None = None
            try:
                return await original(command, interaction, name, namespace)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._ended(receipt, f"{command.qualified_name} {name}", error, hook)

        return complete

    def _called(self, original: Invoke, hook: Hook) -> Invoke:
        async def call(interaction: discord.Interaction) -> None:
            error: BaseException | None = None
            try:
                await original(interaction)
            except BaseException as raised:
                error = raised
                raise
            finally:
                if hook.active:
                    self._outside(interaction, error, hook)

        return call

    def _begun(self, command: Any, interaction: discord.Interaction, hook: Hook) -> Receipt | None:
        """The receipt of an invocation that is to be recorded."""
        if not hook.active or interaction.client is not self.ground.bot:
            return None
        try:
            receipt = self.receipt_of(interaction)
            receipt.label = fitted(command.qualified_name)
            # Looked at here, not at the end: whatever the command does meanwhile is already known to be ours.
            receipt.own = own_module(command.callback)
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's command from running
            hook.fault(fault)
            return None
        return receipt

    def _ended(self, receipt: Receipt, name: str, error: BaseException | None, hook: Hook) -> None:
        try:
            cause = error if error is not None else receipt.failure
            outcome = outcome_of(cause, age_ns=receipt.sent_age_ns)
            completing = receipt.kind == InteractionType.autocomplete.value
            service = services.AUTOCOMPLETE if completing else services.COMMANDS
            text = None if cause is None else cause_of(cause)
            self.ground.receipts.finish(receipt, service, fitted(name), outcome=outcome, error=text)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _outside(self, interaction: discord.Interaction, error: BaseException | None, hook: Hook) -> None:
        """What ended before a command was invoked: refused by the tree's check, or not found in the code."""
        try:
            receipt = self.ground.receipts.get(interaction.id)
            if receipt is None or receipt.finished or interaction.type is not InteractionType.application_command:
                return
            outcome = outcome_of(error, age_ns=receipt.sent_age_ns)
            text: object = None if error is None else cause_of(error)
            if error is None and interaction.command_failed:
                # The command's slot is filled once one was found: without it, the tree's own check refused.
                found = hasattr(interaction, "_cs_command")
                outcome, text = (Outcome.ERROR, UNSEEN) if found else (Outcome.USER, REFUSED)
            self.ground.receipts.finish(receipt, services.COMMANDS, receipt.label, outcome=outcome, error=text)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)

    async def _on_completion(self, interaction: discord.Interaction, command: Any) -> None:
        try:
            receipt = self.receipt_of(interaction)
            receipt.own = own_module(command.callback)
            self.ground.receipts.finish(receipt, services.COMMANDS, fitted(command.qualified_name))
        except Exception as fault:  # noqa: BLE001 - see above
            self.hooks[0].fault(fault)
