"""Arrivals: stamps interactions and messages as the gateway hands them over, before any of the host's code runs."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cogmeter import tracing
from cogmeter.timing import now_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Callable

    import discord

    from cogmeter.settings import Settings

# When the message that is being handled arrived, by time.perf_counter_ns; None outside of a message.
message_arrived_ns: ContextVar[int | None] = ContextVar("cogmeter_message_arrived_ns", default=None)


class Arrivals(Surface):
    """The start of every duration. Without its hooks durations begin with the public event, after the host's code."""

    name = "arrivals"
    setting = "watch_commands"

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """All that is timed from the arrival on needs it."""
        return settings.watch_commands or settings.watch_components or settings.watch_acknowledgement

    def prepare(self) -> None:
        """The parsers' dictionary is shared by all gateway connections: its entries are replaced in place."""
        parsers = self.ground.bot._connection.parsers  # noqa: SLF001 - no public event comes before the command's task
        self.hooks += [
            Hook("interaction arrivals", parsers, "INTERACTION_CREATE", self._interactions, expects=["data"]),
            Hook("message arrivals", parsers, "MESSAGE_CREATE", self._messages, expects=["data"]),
        ]

    def fall_back(self, failed: list[Hook]) -> None:
        """Stamp interactions when their public event is dispatched."""
        if any(hook.name == "interaction arrivals" for hook in failed):
            self.listeners.append(("on_interaction", self._on_interaction))

    def _interactions(self, original: Callable[[Any], None], hook: Hook) -> Callable[[Any], None]:
        receipts = self.ground.receipts

        def received(data: Any) -> None:
            token = None
            if hook.active:
                try:
                    token = tracing.begin(receipts.arrive(data))
                except Exception as error:  # noqa: BLE001 - our fault must not lose the host's interaction
                    hook.fault(error)
            try:
                original(data)
            finally:
                if token is not None:
                    tracing.end(token)

        return received

    def _messages(self, original: Callable[[Any], None], hook: Hook) -> Callable[[Any], None]:
        def received(data: Any) -> None:
            if not hook.active:
                original(data)
                return
            token = message_arrived_ns.set(now_ns())
            try:
                original(data)
            finally:
                message_arrived_ns.reset(token)

        return received

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        try:
            if self.ground.receipts.get(interaction.id) is None:
                payload = {"id": interaction.id, "type": interaction.type.value, "data": interaction.data}
                self.ground.receipts.arrive(payload)
        except Exception as error:  # noqa: BLE001 - see above
            self.hooks[0].fault(error)
