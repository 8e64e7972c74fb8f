"""Prefix commands, and what hybrid commands hand to discord.py's own error handling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from discord.ext import commands

from cogmeter import services, tracing
from cogmeter.timing import now_ns
from cogmeter.watch.arrivals import message_arrived_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.names import fitted
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.receipts import Receipt
from cogmeter.watch.surface import Surface, own_module
from cogmeter_storage.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Call = Callable[..., Coroutine[Any, Any, Any]]
    Context = commands.Context[Any]

UNKNOWN: Final = "(unknown)"  # never the text that was typed


class PrefixCommands(Surface):
    """Each invocation is a trace of its own, from the message's arrival on.

    discord.py catches what a prefix or hybrid command raises and passes it to ``dispatch_error``: there it is noted,
    into the operation that is under way.
    """

    name = "prefix commands"
    setting = "watch_commands"

    def prepare(self) -> None:
        """``invoke`` is looked up on the bot at each message; ``dispatch_error`` has no override in the library."""
        bot = self.ground.bot
        self.hooks += [
            Hook("prefix commands", bot, "invoke", self._invoked, expects=["ctx"]),
            Hook("command errors", commands.Command, "dispatch_error", self._noted, expects=["ctx", "error"]),
        ]

    def fall_back(self, failed: list[Hook]) -> None:
        """The public events tell of each end."""
        if any(hook.name == "prefix commands" for hook in failed):
            self.listeners.append(("on_command_completion", self._on_completion))
            self.listeners.append(("on_command_error", self._on_error))

    def _invoked(self, original: Call, hook: Hook) -> Call:
        async def invoke(ctx: Context) -> None:
            receipt = self._begun(ctx, hook)
            if receipt is None:
                await original(ctx)
                return
            token = tracing.begin(receipt)
            error: BaseException | None = None
            try:
                await original(ctx)
            except BaseException as raised:
                error = raised
                raise
            finally:
                tracing.end(token)
                self._ended(receipt, ctx, error, hook)

        return invoke

    def _noted(self, original: Call, hook: Hook) -> Call:
        async def dispatch_error(command: Any, ctx: Context, error: commands.CommandError) -> None:
            if hook.active and ctx.bot is self.ground.bot:
                try:
                    self._note(ctx, error)
                except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's handlers from running
                    hook.fault(fault)
            await original(command, ctx, error)

        return dispatch_error

    def _begun(self, ctx: Context, hook: Hook) -> Receipt | None:
        """The receipt of a message that is a command, or looks like one."""
        if not hook.active or (ctx.command is None and not ctx.invoked_with):
            return None
        try:
            receipt = Receipt(0, 0, UNKNOWN, message_arrived_ns.get() or now_ns())
            if ctx.command is not None:
                receipt.label = fitted(ctx.command.qualified_name)
                receipt.own = own_module(ctx.command.callback)
        except Exception as fault:  # noqa: BLE001 - see above
            hook.fault(fault)
            return None
        return receipt

    def _note(self, ctx: Context, error: BaseException) -> None:
        if ctx.interaction is not None:
            receipt = self.ground.receipts.get(ctx.interaction.id)
        else:
            scope = tracing.current()
            receipt = scope.trace if scope is not None and isinstance(scope.trace, Receipt) else None
        if receipt is not None:
            receipt.failure = error

    def _ended(self, receipt: Receipt, ctx: Context, error: BaseException | None, hook: Hook) -> None:
        try:
            if ctx.command is not None:  # a group has found the subcommand meanwhile
                receipt.label = fitted(ctx.command.qualified_name)
            cause = error if error is not None else receipt.failure
            outcome = outcome_of(cause)
            if ctx.command is None and cause is None:
                outcome = Outcome.USER  # no such command
            elif cause is None and ctx.command_failed:
                outcome = Outcome.CANCELLED  # discord.py swallows a command's cancellation
            text = None if cause is None else cause_of(cause)
            self.ground.receipts.finish(receipt, services.COMMANDS, receipt.label, outcome=outcome, error=text)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    async def _on_completion(self, ctx: Context) -> None:
        self._public(ctx, None)

    async def _on_error(self, ctx: Context, error: commands.CommandError) -> None:
        self._public(ctx, error)

    def _public(self, ctx: Context, error: BaseException | None) -> None:
        if ctx.interaction is not None:
            return  # a hybrid's slash half is seen by the other surface
        try:
            receipt = Receipt(0, 0, UNKNOWN, message_arrived_ns.get() or now_ns())
            receipt.failure = error
            if ctx.command is not None:
                receipt.own = own_module(ctx.command.callback)
            self._ended(receipt, ctx, None, self.hooks[0])
        except Exception as fault:  # noqa: BLE001 - see above
            self.hooks[0].fault(fault)
