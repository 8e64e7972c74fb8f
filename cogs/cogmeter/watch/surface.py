"""What a surface is: one kind of thing that a bot does, watched by hooks, with public events to fall back to."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cogmeter.diagnosis import Finding
from cogmeter.watch.hook import HookState
from cogmeter.watch.rest.clock_skew import ClockSkew

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from discord.ext import commands

    from cogmeter.alerts.model import LoopState
    from cogmeter.recording.recorder import Recorder
    from cogmeter.settings import Settings
    from cogmeter.watch.hook import Hook
    from cogmeter.watch.interactions.tracker import InteractionTracker

IN_PLACE: Final = "in place"

_logger = logging.getLogger("cogmeter.watch")


@dataclass(slots=True)
class WatchContext:
    """What every surface stands on."""

    bot: commands.Bot
    settings: Settings
    recorder: Recorder
    receipts: InteractionTracker  # the interactions and messages that are under way
    skew: ClockSkew = field(default_factory=ClockSkew)  # fed with the Date header of each of Discord's answers


@dataclass(slots=True)
class Surface:
    """Installs its hooks and listeners, takes them out again, and says how it is.

    A surface sets ``setting`` (the settings' field that switches it), builds ``hooks`` in ``prepare`` and may add
    public ``listeners`` (event name, coroutine function) that stand in for hooks that failed. Everything that it does
    inside the host's calls is O(1), synchronous where it can be, and never raises.
    """

    ground: WatchContext
    hooks: list[Hook] = field(default_factory=list)
    listeners: list[tuple[str, Callable[..., Coroutine[Any, Any, None]]]] = field(default_factory=list)

    name: ClassVar[str]
    setting: ClassVar[str]

    @classmethod
    def wanted(cls, settings: Settings) -> bool:
        """Whether the settings switch it on."""
        return bool(getattr(settings, cls.setting))

    def prepare(self) -> None:
        """Build the hooks; called once, before install."""
        raise NotImplementedError

    def fall_back(self, failed: list[Hook]) -> None:
        """Add the public listeners that record what they can in place of these hooks."""

    async def install(self) -> None:
        """Put every hook in place, and the fall-back for those that cannot be."""
        self.prepare()
        failed = [hook for hook in self.hooks if not hook.install()]
        if failed:
            self.fall_back(failed)
        for event, listener in self.listeners:
            self.ground.bot.add_listener(listener, event)

    async def remove(self) -> None:
        """Take everything out again, in the opposite order."""
        for event, listener in reversed(self.listeners):
            self.ground.bot.remove_listener(listener, event)
        for hook in reversed(self.hooks):
            hook.remove()

    def findings(self) -> list[Finding]:
        """How this surface is, for ``/perf doctor``: one line for each hook that is not well, one if all are."""
        bad = [hook for hook in self.hooks if hook.state is not HookState.ON or hook.faults]
        if not bad:
            return [Finding(self.name, well=True, text=IN_PLACE)]
        return [_finding(self.name, hook) for hook in bad]

    def sample(self) -> dict[str, float]:
        """Gauges of the moment by metric name, unit in the name; taken every PERFORMANCE_SAMPLE_INTERVAL."""
        return {}

    def loops(self) -> list[LoopState]:
        """Background loops and jobs that should run and do not; asked for whenever samples are taken."""
        return []


def _finding(name: str, hook: Hook) -> Finding:
    if hook.state is HookState.ON:
        text = f"{hook.name}: {hook.faults} faults of our own, swallowed"
        return Finding(name, well=False, text=text, advice="Report them, with the log's first one")
    advice = "Recorded from public events as far as they go; update cogmeter or discord.py"
    return Finding(name, well=False, text=f"{hook.name}: {hook.state.value} ({hook.reason})", advice=advice)


def own_module(thing: Any) -> bool:
    """Whether a function, object or class is ours: what we do is not the host's performance."""
    module = getattr(thing, "__module__", "") or ""
    return module == "cogmeter" or module.startswith("cogmeter.")
