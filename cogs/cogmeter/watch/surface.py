"""The base class of surfaces: one kind of activity of a bot, watched by hooks, with public events as the fallback."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cogmeter.diagnosis import Finding
from cogmeter.watch.client import ClientEvents
from cogmeter.watch.garbage import Pauses
from cogmeter.watch.hook import HookState
from cogmeter.watch.rest.clock_skew import ClockSkew

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    import discord

    from cogmeter.alerts.model import LoopState
    from cogmeter.recording.recorder import Recorder
    from cogmeter.settings import Settings
    from cogmeter.watch.background.replies import Replies
    from cogmeter.watch.hook import Hook
    from cogmeter.watch.interactions.tracker import InteractionTracker

IN_PLACE: Final = "in place"

_logger = logging.getLogger("cogmeter.watch")


@dataclass(slots=True)
class WatchContext:
    """The objects that every surface uses."""

    bot: discord.Client  # a Bot or a plain Client; see client.py
    settings: Settings
    recorder: Recorder
    tracker: InteractionTracker  # the interactions and messages in progress
    skew: ClockSkew = field(default_factory=ClockSkew)  # updated with the Date header of each response of Discord
    replies: Replies | None = None  # of message listeners, while listeners are watched
    pauses: Pauses = field(default_factory=Pauses)  # of the garbage collector
    sees_requests: bool | None = None  # whether the hook that makes replies known is in place; None: not yet installed
    events: ClientEvents = field(init=False)

    def __post_init__(self) -> None:
        self.events = ClientEvents(self.bot)


@dataclass(slots=True)
class Surface:
    """One kind of activity of a bot: its hooks, listeners and findings.

    A surface sets ``setting`` (the settings field that enables it), builds ``hooks`` in ``prepare``, and may add public
    ``listeners`` (event name, coroutine function) in place of failed hooks. Its work inside the host's calls is O(1),
    synchronous where possible, and never raises.
    """

    context: WatchContext
    hooks: list[Hook] = field(default_factory=list)
    listeners: list[tuple[str, Callable[..., Coroutine[Any, Any, None]]]] = field(default_factory=list)

    name: ClassVar[str]
    setting: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()  # other settings that it reads when it is created or installed
    needs_bot: ClassVar[bool] = False  # watches parts of discord.ext.commands, which a plain client does not have

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Return whether the settings enable this surface."""
        return bool(getattr(settings, cls.setting))

    def prepare(self) -> None:
        """Build the hooks; ``install`` calls this once."""
        raise NotImplementedError

    def fall_back(self, failed: list[Hook]) -> None:
        """Add public listeners in place of these hooks."""

    async def install(self) -> None:
        """Install every hook, and the fallback for hooks that fail."""
        self.prepare()
        failed = [hook for hook in self.hooks if not hook.install()]
        if failed:
            self.fall_back(failed)
        for event, listener in self.listeners:
            self.context.events.add(event, listener)

    async def remove(self) -> None:
        """Remove listeners and hooks in reverse order."""
        for event, listener in reversed(self.listeners):
            self.context.events.remove(event, listener)
        for hook in reversed(self.hooks):
            hook.remove()

    def findings(self) -> list[Finding]:
        """Return the findings for ``/perf doctor``: one for each failed hook, or one if all work."""
        return hook_findings(self.name, self.hooks) or [Finding(self.name, well=True, text=IN_PLACE)]

    def sample(self) -> dict[str, float]:
        """Return gauges by metric name, with the unit in the name; called every PERFORMANCE_SAMPLE_INTERVAL."""
        return {}

    def loops(self) -> list[LoopState]:
        """Return background loops and jobs that should run and do not; called whenever samples are taken."""
        return []


def hook_findings(name: str, hooks: Iterable[Hook]) -> list[Finding]:
    """Return a finding for each hook that is not in place or had faults."""
    return [_finding(name, hook) for hook in hooks if hook.state is not HookState.ON or hook.faults]


def _finding(name: str, hook: Hook) -> Finding:
    if hook.state is HookState.ON:
        text = f"{hook.name}: {hook.faults} faults of cogmeter"
        return Finding(name, well=False, text=text, advice="Report the first one from the log")
    advice = "Public events are recorded instead where they exist; update cogmeter or discord.py"
    return Finding(name, well=False, text=f"{hook.name}: {hook.state.value} ({hook.reason})", advice=advice)


def own_module(value: Any) -> bool:
    """Return whether a function, object or class belongs to cogmeter, whose own work is not recorded."""
    module = getattr(value, "__module__", "") or ""
    return module == "cogmeter" or module.startswith("cogmeter.")
