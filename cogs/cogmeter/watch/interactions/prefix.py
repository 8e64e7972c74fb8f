"""Records prefix commands, and the errors of hybrid commands that discord.py handles itself."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from discord.ext import commands

from cogmeter.recording import running, service_names, tracing
from cogmeter.recording.operation import error_text, now_ns
from cogmeter.watch.client import bot_of
from cogmeter.watch.hook import Hook, Overrides
from cogmeter.watch.interactions.arrivals import message_arrived_ns
from cogmeter.watch.interactions.people import Who
from cogmeter.watch.interactions.tracker import COMMAND, PendingInteraction
from cogmeter.watch.names import fitted
from cogmeter.watch.outcomes import cause_of, outcome_of
from cogmeter.watch.surface import Surface, WatchContext, own_module
from cogmeter_storage.model import FAILURES, Outcome
from cogmeter_storage.usage import DM, GUILD

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from cogmeter.watch.interactions.tracker import InteractionTracker

    Call = Callable[..., Coroutine[Any, Any, Any]]
    Context = commands.Context[Any]

UNKNOWN: Final = "(unknown)"  # never the text of the message
DEEPEST: Final = 5  # words of a message that may name subcommands


class PrefixCommands(Surface):
    """One trace for each invocation, from the message's arrival.

    discord.py catches what a prefix or hybrid command raises and passes it to ``dispatch_error``: there the operation
    ends, before any error handler. A bot may override ``invoke`` and catch the exception itself: therefore the last
    exception of the command is kept until its invocation ends.
    """

    name = "prefix commands"
    setting = "watch_commands"
    needs_bot = True

    def __init__(self, context: WatchContext) -> None:
        super().__init__(context)
        self._begun: WeakKeyDictionary[Context, PendingInteraction] = WeakKeyDictionary()  # for the public events alone
        # How the last call of a command ended: outcome, error text, and the metadata that names its error group.
        self._ends: WeakKeyDictionary[Context, tuple[Outcome, str | None, dict[str, str]]] = WeakKeyDictionary()

    def prepare(self) -> None:
        """Hook ``invoke``, which is looked up on the bot at each message, and ``dispatch_error`` of commands."""
        expects = ["ctx", "error"]
        self._invoke = Hook("prefix commands", self.context.bot, "invoke", self._invoked)
        self._errors = Hook("command errors", commands.Command, "dispatch_error", self._raised, expects=expects)
        self.hooks += [
            self._invoke,
            self._errors,
            Hook("command calls", commands.Command, "invoke", self._called, expects=["ctx"]),
            Hook("command group calls", commands.Group, "invoke", self._called, expects=["ctx"]),
        ]
        self._overrides = (
            Overrides(self.hooks, self._raised, [(commands.Command, "dispatch_error")]),
            Overrides(self.hooks, self._called, [(commands.Command, "invoke"), (commands.Group, "invoke")]),
        )

    async def install(self) -> None:
        """Install the hooks, also on overrides of existing commands."""
        await super().install()
        self._see_all()

    def sample(self) -> dict[str, float]:
        """Hook overrides of commands that were added: hybrids may be used without a message. There are no gauges."""
        self._see_all()
        return {}

    def fall_back(self, failed: list[Hook]) -> None:
        """Record public events of begin and end; errors come after the command's own handlers."""
        if self._invoke in failed:
            self.listeners.append(("on_command", self._on_command))
            self.listeners.append(("on_command_completion", self._on_completion))
        self.listeners.append(("on_command_error", self._on_error))

    def _invoked(self, original: Call, hook: Hook) -> Call:
        inspect.signature(original).bind(None)  # a host may override it with another parameter name

        async def invoke(ctx: Context, *args: Any, **kwargs: Any) -> Any:
            pending = self._pending(ctx, hook)
            if pending is None:
                return await original(ctx, *args, **kwargs)
            token = tracing.begin(pending)
            outer = self.context.tracker.enter(pending, service_names.COMMANDS)
            error: BaseException | None = None
            try:
                return await original(ctx, *args, **kwargs)
            except BaseException as raised:
                error = raised
                raise
            finally:
                tracing.end(token)
                running.leave(outer)
                self._end(pending, ctx, error, hook)
                self.context.tracker.close(pending)

        return invoke

    def _raised(self, original: Call, hook: Hook) -> Call:
        async def dispatch_error(command: Any, ctx: Context, error: commands.CommandError) -> Any:
            pending = _running()
            if hook.active and pending is not None and ctx.bot is self.context.bot:
                self._end(pending, ctx, error, hook)
            return await original(command, ctx, error)

        return dispatch_error

    def _called(self, original: Call, hook: Hook) -> Call:
        async def invoke(command: Any, ctx: Context) -> Any:
            if not hook.active:
                return await original(command, ctx)
            failed = getattr(ctx, "command_failed", False)  # in an attempt before this one
            error: BaseException | None = None
            try:
                return await original(command, ctx)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._keep(ctx, error, hook, failed=failed)
                error = None  # the frame and its exception would reference each other

        return invoke

    def _keep(self, ctx: Context, error: BaseException | None, hook: Hook, *, failed: bool) -> None:
        """Remember how a call of a command ended, without the exception: it would keep the context alive."""
        try:
            if ctx.bot is not self.context.bot:
                return
            if error is not None:
                outcome, cause = outcome_of(error), cause_of(error)
                self._ends[ctx] = outcome, error_text(cause), self._count(ctx, outcome, cause)
            elif failed:
                self._ends[ctx] = Outcome.OK, None, {}
            else:  # the context shows it
                self._ends.pop(ctx, None)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _count(self, ctx: Context, outcome: Outcome, cause: BaseException) -> dict[str, str]:
        """Count the failure of a call now: a bot that overrides ``invoke`` may catch the exception.

        Return the metadata that names its error group.
        """
        pending = _running()
        if outcome in FAILURES and pending is not None and not pending.own:
            recorder = self.context.recorder
            series = recorder.series(
                service_names.COMMANDS, fitted(ctx.command.qualified_name) if ctx.command else UNKNOWN
            )
            affected = pending.affected(outcome, 0)
            return recorder.count_failure(cause, series, pending.start_ns, affected=affected)
        return {}

    def _pending(self, ctx: Context, hook: Hook) -> PendingInteraction | None:
        """Begin an invocation; return None for a message that is not a command and does not look like one."""
        try:
            if not hook.active or (ctx.command is None and not ctx.invoked_with):
                return None
            for command in _path(ctx):
                self._see(command)
            return _arrived(ctx, self.context.tracker)
        except Exception as fault:  # noqa: BLE001 - our fault must not keep the host's command from running
            hook.fault(fault)
            return None

    def _end(self, pending: PendingInteraction, ctx: Context, error: BaseException | None, hook: Hook) -> None:
        """Record the invocation once: discord.py catches an error before the invocation ends."""
        try:
            if pending.finished:
                return
            end = self._ends.pop(ctx, None)
            another = _ran_another(ctx, pending.label)
            if not pending.id and ctx.command is not None and not another:  # a group has now found its subcommand
                pending.label = fitted(ctx.command.qualified_name)
            if ctx.command is None and (error is None or isinstance(error, commands.CommandNotFound)):
                self._finish(pending, Outcome.USER)  # without the error's text, which contains the message
            elif error is None and end is not None:  # the bot's own invoke has caught it, or retried
                self._finish(pending, *end)
            elif error is not None or not ctx.command_failed or another:
                self.context.tracker.end(pending, service_names.COMMANDS, pending.label, error)
            elif self._errors.active:  # failed without an error: discord.py swallows a command's cancellation
                self._finish(pending, Outcome.CANCELLED)
            else:  # the event of its error is on its way, if it has one
                asyncio.get_running_loop().call_soon(self._finish, pending, Outcome.CANCELLED)
        except Exception as fault:  # noqa: BLE001 - our fault must not take the place of the host's exception
            hook.fault(fault)

    def _finish(
        self,
        pending: PendingInteraction,
        outcome: Outcome,
        error: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.context.tracker.finish(
            pending, service_names.COMMANDS, pending.label, outcome=outcome, error=error, metadata=metadata
        )

    def _see_all(self) -> None:
        bot = bot_of(self.context.bot)
        for command in [] if bot is None else list(bot.walk_commands()):
            self._see(command)

    def _see(self, command: commands.Command[Any, ..., Any]) -> None:
        for overrides in self._overrides:
            overrides.see(command)

    # The public events, without the hooks. ``SlashCommands`` records hybrids that are used as slash commands.

    async def _on_command(self, ctx: Context) -> None:
        try:
            if self.context.replies is not None:
                self.context.replies.exclude()  # its messages are not a reply of the listener that invoked it
            if ctx.interaction is None:
                self._begun[ctx] = _arrived(ctx, self.context.tracker)
        except Exception as fault:  # noqa: BLE001 - it would reach the host's on_error
            self._invoke.fault(fault)

    async def _on_completion(self, ctx: Context) -> None:
        if ctx.interaction is None:
            self._public_end(ctx, None)

    async def _on_error(self, ctx: Context, error: commands.CommandError) -> None:
        self._public_end(ctx, error)

    def _public_end(self, ctx: Context, error: BaseException | None) -> None:
        try:
            if self._invoke.active or ctx.interaction is not None:
                pending = _running()  # the event was dispatched inside the recorded invocation
            else:
                pending = self._begun.pop(ctx) if ctx in self._begun else _arrived(ctx, self.context.tracker)
            if pending is not None:
                self._end(pending, ctx, error, self._invoke)
        except Exception as fault:  # noqa: BLE001 - see above
            self._invoke.fault(fault)


def _ran_another(ctx: Context, label: str) -> bool:
    """Return whether this command has run another one in its context, which then has that command's failure."""
    if ctx.command is None or label == UNKNOWN:
        return False
    root = ctx.command.root_parent or ctx.command
    return fitted(root.qualified_name) != label.partition(" ")[0]


def _arrived(ctx: Context, tracker: InteractionTracker) -> PendingInteraction:
    """Begin an invocation; one that another command makes begins now, not with the message."""
    arrived_ns = message_arrived_ns(ctx.message.id) if tracing.current() is None else None
    guild, context = (None, DM) if ctx.guild is None else (ctx.guild.id, GUILD)
    who = Who(ctx.author.id, guild, ctx.channel.id, ctx.message.id, context)
    pending = tracker.begin(_label(ctx), arrived_ns or now_ns(), who)
    # Set at the begin, so that operations inside a command of cogmeter are not recorded either.
    pending.own = own_module(getattr(ctx.command, "callback", None))
    return pending


def _running() -> PendingInteraction | None:
    """Return the slash or prefix command that the running code belongs to."""
    scope = tracing.inherited()  # the public events arrive after the invocation
    trace = None if scope is None else scope.trace
    return trace if isinstance(trace, PendingInteraction) and trace.kind in {0, COMMAND} else None


def _label(ctx: Context) -> str:
    """Return the qualified name of a message's command with its subcommands, before the message is parsed."""
    path = _path(ctx)
    return fitted(path[-1].qualified_name) if path else UNKNOWN


def _path(ctx: Context) -> list[commands.Command[Any, ..., Any]]:
    """Return a message's command with its groups, the outermost first."""
    if ctx.command is None:
        return []
    path: list[commands.Command[Any, ..., Any]] = [ctx.command]
    if isinstance(ctx.command, commands.Group):
        for word in ctx.view.buffer[ctx.view.index :].split(maxsplit=DEEPEST)[:DEEPEST]:
            group = path[-1]
            subcommand = group.all_commands.get(word) if isinstance(group, commands.Group) else None
            if subcommand is None:
                break
            path.append(subcommand)
    return path
