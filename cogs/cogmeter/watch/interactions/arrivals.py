"""Notes the arrival of interactions and messages from the gateway, before any code of the host runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cogmeter.recording import message_texts, tracing
from cogmeter.recording.operation import now_ns
from cogmeter.watch.hook import Hook
from cogmeter.watch.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Callable

    import discord

    from cogmeter.settings import Settings


def message_arrived_ns(message_id: int) -> int | None:
    """Return when this message arrived, by time.perf_counter_ns; None if another event started the running code.

    A task that a message started may handle other messages later, whose arrival is unknown.
    """
    source = message_texts.received.get()
    return source[2] if isinstance(source, tuple) and source[1] == str(message_id) else None


class Arrivals(Surface):
    """The start of every duration, and what users wrote. Without these hooks, durations start with the public event."""

    name = "arrivals"
    setting = "watch_commands"

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Return whether any surface is enabled that measures from the arrival, or stores texts of errors."""
        names = ("commands", "components", "acknowledgement", "listeners", "tasks", "logged_errors", "unhandled_errors")
        return any(getattr(settings, f"watch_{name}") for name in names)

    def prepare(self) -> None:
        """Hook entries of the parsers' dictionary, which all gateway connections share."""
        parsers = self.context.bot._connection.parsers  # noqa: SLF001 - no public event comes before the command's task
        self.hooks += [
            Hook("interaction arrivals", parsers, "INTERACTION_CREATE", self._interactions, expects=["data"]),
            Hook("message arrivals", parsers, "MESSAGE_CREATE", self._messages, expects=["data"]),
            Hook("message edits", parsers, "MESSAGE_UPDATE", self._edits, expects=["data"]),
        ]

    def fall_back(self, failed: list[Hook]) -> None:
        """Note the arrival of interactions when their public event is dispatched."""
        if any(hook.name == "interaction arrivals" for hook in failed):
            self.listeners.append(("on_interaction", self._on_interaction))

    def sample(self) -> dict[str, float]:
        """Give up interactions that never end. There are no gauges."""
        self.context.tracker.expire()
        return {}

    def _interactions(self, original: Callable[[Any], None], hook: Hook) -> Callable[[Any], None]:
        tracker = self.context.tracker

        def received(data: Any) -> None:
            token = text = None
            if hook.active:
                try:
                    pending = tracker.arrive(data)
                    token = None if pending is None else tracing.begin(pending)
                    text = message_texts.received.set(data.get("data"))
                except Exception as error:  # noqa: BLE001 - our fault must not lose the host's interaction
                    hook.fault(error)
            try:
                original(data)
            finally:
                if token is not None:
                    tracing.end(token)
                if text is not None:
                    message_texts.received.reset(text)

        return received

    def _messages(self, original: Callable[[Any], None], hook: Hook) -> Callable[[Any], None]:
        def received(data: Any) -> None:
            text = None
            if hook.active:
                try:
                    text = message_texts.received.set((data["content"], data["id"], now_ns()))
                except Exception as error:  # noqa: BLE001 - our fault must not lose the host's message
                    hook.fault(error)
            try:
                original(data)
            finally:
                if text is not None:
                    message_texts.received.reset(text)

        return received

    def _edits(self, original: Callable[[Any], None], hook: Hook) -> Callable[[Any], None]:
        def received(data: Any) -> None:
            text = None
            if hook.active:
                try:
                    text = message_texts.received.set(data.get("content"))  # an edit may be of an embed alone
                except Exception as error:  # noqa: BLE001 - our fault must not lose the host's event
                    hook.fault(error)
            try:
                original(data)
            finally:
                if text is not None:
                    message_texts.received.reset(text)

        return received

    async def _on_interaction(self, interaction: discord.Interaction) -> None:
        try:
            self.context.tracker.of(interaction)
        except Exception as error:  # noqa: BLE001 - see above
            self.hooks[0].fault(error)
