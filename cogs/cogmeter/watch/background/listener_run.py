"""A run of one of the bot's event listeners, and the user whose event it handles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord.user import BaseUser

from cogmeter.recording.operation import now_ns
from cogmeter.recording.running import RunningOperation
from cogmeter.recording.service_names import LISTENERS, REPLIES, label
from cogmeter.recording.tracing import CALLER, Entered, current, inherited
from cogmeter.watch.interactions.people import NO_HASHES, AffectedPeople, Who
from cogmeter_storage.clock import clock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from cogmeter.recording.recorder import Recorder
    from cogmeter.watch.background.replies import MessageReply
    from cogmeter.watch.interactions.people import People

    Ids: TypeAlias = tuple[int, int | None, int, int]  # those of ``Who``, whose constructor would take longer


class WatchedListener:
    """A listener of one event, by its name in ``discord.listeners``."""

    __slots__ = ("add", "name", "of_messages", "people", "series", "service", "span")

    def __init__(self, name: str, recorder: Recorder, people: People, *, of_messages: bool) -> None:
        self.name = name
        self.series = recorder.series(LISTENERS, name)
        self.span = "/".join(recorder.names[self.series])  # the name of its runs in a trace
        self.add = recorder.add
        self.people = people
        self.of_messages = of_messages  # its runs may be replies
        self.service = LISTENERS  # of the errors in its runs; ``discord.replies`` once a run of it has replied


class ListenerRun(RunningOperation):
    """A run of a listener. It is in a variable of the frame that awaits the listener, where it is found on demand."""

    __slots__ = ("_affected", "arguments", "entered", "ids", "listener", "reply")

    def __init__(self, listener: WatchedListener, arguments: tuple[Any, ...]) -> None:
        """Begin the run now."""
        # Not by super(): its call takes as long as the rest, for each event of the bot.
        self.service = listener.service
        self.operation = listener.name
        self.task = self.code = None
        self.logged_errors = 0
        self.metadata = None
        self.ended = False
        self.listener = listener
        self.arguments = arguments  # of the event, until the run ends
        self.ids: Ids | None = None  # after the end of a run for a message: tasks that it started may still reply
        self.reply: MessageReply | None = None  # from its first message or typing
        self._affected: AffectedPeople | None = None
        scope = None if inherited() is None else current()
        self.entered = None if scope is None else Entered(scope, listener.span, self)
        self.start_ns = now_ns()

    def keep_ids(self) -> None:
        """Keep the ids of the message, which is forgotten at the end of the run."""
        message = self.arguments[0] if self.arguments else None
        if message is not None and type(message) is discord.Message:  # not an object that the host dispatches instead
            guild = message.guild
            self.ids = message.author.id, None if guild is None else guild.id, message.channel.id, message.id

    def affected(self) -> Mapping[str, str]:
        """Return the hashes of the user and guild of the event; computed when an error or a slow reply needs them."""
        if self._affected is None:
            who = who_of_event(self.arguments) if self.ids is None else Who(*self.ids)
            if who is None:
                return NO_HASHES
            began_us = (clock.now_ns() - (now_ns() - self.start_ns)) // 1000
            self._affected = AffectedPeople(self.listener.people, who, began_us)
        return self._affected.hashes()

    def payer(self) -> Mapping[str, str]:
        """Return the reply, and the hashes of the user and guild of the event."""
        return {**self.affected(), CALLER: _caller_of(self)}

    def add_metadata(self, metadata: Mapping[str, Any]) -> bool:
        """Store metadata with the run, or with the reply that its tasks still send; return False if it has ended."""
        if self.ended and (self.reply is None or self.reply.tasks is None):
            return False
        self.metadata = {**(self.metadata or {}), **metadata}
        return True


def _caller_of(run: ListenerRun) -> str:
    return label(REPLIES, run.operation) if run.listener.of_messages else ""


def who_of_event(arguments: tuple[Any, ...]) -> Who | None:
    """Return the ids of the user who caused an event, as far as discord.py's objects among its arguments name one.

    Raw events are left out: their user is often unknown.
    """
    first = arguments[0] if arguments else None
    if isinstance(first, discord.Message):
        return who_of_message(first)
    module = type(first).__module__
    if not module.startswith("discord.") or module == "discord.raw_models":
        return None
    candidates = [*arguments, *(getattr(first, name, None) for name in ("author", "user", "member"))]
    user = next((one for one in candidates if isinstance(one, discord.Member | BaseUser)), None)
    if user is None:
        return None
    message = getattr(first, "message", None)  # of a reaction, a command's context, a component's interaction
    if isinstance(message, discord.Message):
        return who_of_message(message)._replace(user=user.id)
    guild = first if isinstance(first, discord.Guild) else getattr(first, "guild", None) or getattr(user, "guild", None)
    return Who(user.id, None if guild is None else guild.id, None, 0)


def who_of_message(message: discord.Message) -> Who:
    """Return the ids of a message and its author."""
    guild = message.guild
    return Who(message.author.id, None if guild is None else guild.id, message.channel.id, message.id)
